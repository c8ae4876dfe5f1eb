from __future__ import annotations

from pathlib import Path

import pytest

from nubila.curate.review import read_items
from nubila.datasets import read_manifest
from nubila.errors import ManifestError
from tests.curate.review.conftest import Folder


def _ranked(folder: Folder, text: str) -> tuple:
    path = folder.path / "ranking.csv"
    path.write_text(text)
    return read_items(read_manifest(folder.manifest), path)


def test_without_a_ranking_the_manifest_is_looked_through(folder: Folder) -> None:
    items = read_items(read_manifest(folder.manifest))
    assert [item.spec.id for item in items] == [f"set/s00{n}" for n in range(4)]
    assert items[0].score is None and items[0].reason == ""


def test_a_ranking_gives_order_and_reasons(folder: Folder) -> None:
    rows = "set/s002,0.9,flipped\nset/s000,,\nset/s002,0.4,duplicate\nset/s002,0.3,flipped\n"
    items = _ranked(folder, "id,score,reason\n" + rows)
    assert [(i.spec.id, i.score, i.reason) for i in items] == [
        ("set/s002", 0.9, "flipped; duplicate"),
        ("set/s000", None, ""),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,score\nset/s009,1\n", "line 2: sample 'set/s009' is not in the manifest; did you"),
        ("id,score\nset/s000,high\n", "line 2: score 'high' is no number"),
        ("name,score\nset/s000,1\n", "expected a table with a column id or sample"),
        ("id,score\n", "at least one row"),
    ],
)
def test_what_is_wrong_with_a_ranking_is_said(folder: Folder, text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        _ranked(folder, text)


def test_a_ranking_that_is_not_there_is_said(folder: Folder) -> None:
    with pytest.raises(ManifestError, match="absent"):
        read_items(read_manifest(folder.manifest), Path("absent.csv"))
