from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import Result
from typer.testing import CliRunner

from nubila.cli import app
from nubila.curate.review import Review, apply_decisions, export_decisions
from nubila.curate.review.export import COLUMNS as DECISION_COLUMNS
from nubila.curate.review.export import set_codes
from nubila.datasets import load_sample, parse_codes, read_manifest
from nubila.datasets.tables import read_table
from nubila.errors import InputError, ManifestError, OutputError
from tests.curate.review.conftest import COLUMNS, ROWS, Folder

DRAWN = np.random.default_rng(1).integers(0, 64, (ROWS, COLUMNS)).astype(np.uint8)


def _decide_all(review: Review) -> None:
    review.decide(0, "prediction")
    review.decide(1, "drop", why="haze, all of it")
    review.decide(2, "fix", mask=DRAWN)


def _contents(folder: Path) -> dict[str, str]:
    files = (path for path in (folder / "set").rglob("*") if path.is_file())
    found = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    manifest = folder / "manifest.csv"
    return found | {str(manifest): manifest.read_text()}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_is_decided_is_what_is_read_afterwards(
    folder: Folder, review: Review, suffix: str
) -> None:
    _decide_all(review)
    before = _contents(folder.path)
    seen = review.prediction(0)
    table, output = folder.path / f"d{suffix}", folder.path / f"new{suffix}"
    assert export_decisions(review.store, table) == 3
    applied = apply_decisions(folder.manifest, table, output)
    assert applied.counts == {"prediction": 1, "drop": 1, "fix": 1, "undecided": 1}
    assert (applied.rows, applied.absent) == (3, 0)
    old = {spec.id: spec for spec in read_manifest(folder.manifest)}
    new = {spec.id: spec for spec in read_manifest(output)}
    assert list(new) == ["set/s000", "set/s002", "set/s003"]
    assert np.array_equal(load_sample(new["set/s000"]).label, seen)
    assert np.array_equal(load_sample(new["set/s002"]).label, DRAWN)
    untouched = load_sample(old["set/s003"]).label
    assert np.array_equal(load_sample(new["set/s003"]).label, untouched)
    assert new["set/s003"].mask == old["set/s003"].mask
    assert _contents(folder.path) == before


def test_the_export_says_who_when_and_why(folder: Folder, review: Review) -> None:
    _decide_all(review)
    review.decide(1, "keep", why="on second thought")
    export_decisions(review.store, folder.path / "d.csv")
    columns, rows = read_table(folder.path / "d.csv")
    found = {cells[0]: dict(zip(columns, cells, strict=True)) for _, cells in rows}
    assert found["set/s001"]["action"] == "keep"
    assert found["set/s001"]["why"] == "on second thought"
    assert found["set/s001"]["who"] == "anna" and found["set/s001"]["when"] > "2020"
    assert found["set/s001"]["mask"] == "" and found["set/s002"]["mask"].startswith("d_masks/")


def test_a_reviewed_manifest_is_not_open_again(folder: Folder, review: Review) -> None:
    _decide_all(review)
    review.decide(3, "keep")
    export_decisions(review.store, folder.path / "d.csv")
    review.store.close()
    apply_decisions(folder.manifest, folder.path / "d.csv", folder.path / "new.csv")
    (folder.path / "new.csv").replace(folder.manifest)
    assert [state.open for state in folder.review().states()] == [False] * 3


def test_applying_twice_gives_the_same(folder: Folder, review: Review) -> None:
    _decide_all(review)
    export_decisions(review.store, folder.path / "d.csv")
    texts = []
    for _ in range(2):
        apply_decisions(folder.manifest, folder.path / "d.csv", folder.path / "new.csv")
        texts.append((folder.path / "new.csv").read_text())
    assert texts[0] == texts[1]
    assert len(list((folder.path / "new_masks").iterdir())) == 2
    again = apply_decisions(folder.path / "new.csv", folder.path / "d.csv", folder.path / "x.csv")
    assert again.rows == 3


def test_a_georeference_is_kept(folder: Folder, review: Review) -> None:
    place = Affine(10, 0, 5e5, 0, -10, 5e6)
    image = np.full((4, ROWS, COLUMNS), 0.2, np.float32)
    profile = {"driver": "GTiff", "count": 4, "height": ROWS, "width": COLUMNS, "dtype": "float32"}
    path = folder.path / "set" / "g.tif"
    with rasterio.open(path, "w", crs="EPSG:32632", transform=place, **profile) as data:
        data.write(image)
    text = folder.manifest.read_text().replace("set/s000.npy", "set/g.tif")
    folder.manifest.write_text(text)
    found = folder.review()
    found.decide(0, "fix", mask=DRAWN)
    export_decisions(found.store, folder.path / "d.csv")
    apply_decisions(folder.manifest, folder.path / "d.csv", folder.path / "new.csv")
    with rasterio.open(read_manifest(folder.path / "new.csv")[0].mask) as data:
        assert data.crs.to_epsg() == 32632 and data.transform == place


def test_a_label_changed_since_is_not_overwritten(folder: Folder, review: Review) -> None:
    _decide_all(review)
    export_decisions(review.store, folder.path / "d.csv")
    np.save(folder.path / "set/s002_mask.npy", np.ones((ROWS, COLUMNS), np.uint8))
    with pytest.raises(ManifestError, match=r"line 4.*has changed since anna decided on it"):
        apply_decisions(folder.manifest, folder.path / "d.csv", folder.path / "new.csv")
    assert not (folder.path / "new.csv").exists()


def test_a_label_mended_since_is_not_dropped(folder: Folder, review: Review) -> None:
    review.decide(1, "drop")
    export_decisions(review.store, folder.path / "d.csv")
    mask = next(s.label_file for s in read_manifest(folder.manifest) if s.id == "set/s001")
    np.save(mask, np.ones((ROWS, COLUMNS), np.uint8))
    with pytest.raises(ManifestError, match="has changed since anna decided on it"):
        apply_decisions(folder.manifest, folder.path / "d.csv", folder.path / "new.csv")


def test_a_label_changed_since_is_not_kept_unseen(folder: Folder, review: Review) -> None:
    review.decide(1, "keep")
    export_decisions(review.store, folder.path / "d.csv")
    mask = next(s.label_file for s in read_manifest(folder.manifest) if s.id == "set/s001")
    np.save(mask, np.ones((ROWS, COLUMNS), np.uint8))
    with pytest.raises(ManifestError, match="has changed since anna decided on it"):
        apply_decisions(folder.manifest, folder.path / "d.csv", folder.path / "new.csv")


def test_a_mask_that_was_tampered_with_is_refused(folder: Folder, review: Review) -> None:
    review.decide(2, "fix", mask=DRAWN)
    export_decisions(review.store, folder.path / "d.csv")
    (mask,) = (folder.path / "d_masks").iterdir()
    with rasterio.open(mask, "r+") as data:
        data.write(np.zeros((ROWS, COLUMNS), np.uint8), 1)
    with pytest.raises(ManifestError, match="not the mask that was decided on"):
        apply_decisions(folder.manifest, folder.path / "d.csv", folder.path / "new.csv")


def test_originals_cannot_be_named_as_output(folder: Folder, review: Review) -> None:
    review.decide(2, "fix", mask=DRAWN)
    export_decisions(review.store, folder.path / "d.csv")
    with pytest.raises(InputError, match="is the manifest itself"):
        apply_decisions(folder.manifest, folder.path / "d.csv", folder.manifest)
    with pytest.raises(InputError, match="own masks lie there"):
        apply_decisions(
            folder.manifest, folder.path / "d.csv", folder.path / "n.csv", masks=folder.path / "set"
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sample,action\n", "column 'label' is missing"),
        ("sample,action,label,result,mask\na,paint,,,\n", "line 2: action 'paint'"),
        ("sample,action,label,result,mask\na,fix,,,\n", "without a mask"),
        ("sample,action,label,result,mask\na,keep,,,\na,keep,,,\n", "line 3: .*stands twice"),
        ("sample,action,label,result,mask\na,keep,,,\n", "none of its 1 samples"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(folder: Folder, text: str, message: str) -> None:
    (folder.path / "d.csv").write_text(text)
    with pytest.raises(ManifestError, match=message):
        apply_decisions(folder.manifest, folder.path / "d.csv", folder.path / "new.csv")


def test_the_command_line_exports(folder: Folder, review: Review) -> None:
    _decide_all(review)
    table = folder.path / "d.csv"
    found = CliRunner().invoke(app, ["review", str(folder.manifest), "--export", str(table)])
    assert found.output.startswith("3 decisions in") and table.is_file()
    other = CliRunner().invoke(app, ["review", "other.csv", "--export", str(table)])
    assert isinstance(other.exception, InputError) and "no decisions" in str(other.exception)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".geojson"])
def test_no_decisions_are_a_table_without_rows(folder: Folder, review: Review, suffix: str) -> None:
    table = folder.path / f"d{suffix}"
    assert export_decisions(review.store, table) == 0
    if suffix == ".csv":
        assert table.read_text().splitlines() == [",".join(DECISION_COLUMNS)]
    done = _apply(folder.manifest, table, "-o", folder.path / "new.csv")
    assert isinstance(done.exception, ManifestError)
    assert "no decisions yet" in str(done.exception)
    assert not (folder.path / "new.csv").exists()


def _apply(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", "apply", *map(str, arguments)])


@pytest.mark.parametrize("name", ["new.xyz", "new"])
def test_a_suffix_that_says_nothing_is_refused_before_anything_is_written(
    folder: Folder, review: Review, name: str
) -> None:
    _decide_all(review)
    table = folder.path / "d.csv"
    export_decisions(review.store, table)
    there = set(folder.path.iterdir())
    done = _apply(folder.manifest, table, "-o", folder.path / name)
    assert isinstance(done.exception, OutputError)
    assert ".csv, .parquet, .pq, .geojson" in str(done.exception)
    assert set(folder.path.iterdir()) == there


def test_the_root_that_is_told_reads_the_new_manifest_from_anywhere(
    folder: Folder, review: Review, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _decide_all(review)
    export_decisions(review.store, folder.path / "d.csv")
    (elsewhere := tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(folder.path)
    done = _apply("manifest.csv", "d.csv", "-o", elsewhere / "new.csv")
    assert done.exit_code == 0, done.output
    (told,) = (line for line in done.output.splitlines() if "--root" in line)
    monkeypatch.chdir(elsewhere)
    (root,) = shlex.split(told.partition("--root ")[2])
    assert len(read_manifest("new.csv", root=root)) == 3


def test_codes_of_sets_read_back_as_themselves() -> None:
    every = np.arange(64, dtype=np.uint8)
    assert np.array_equal(parse_codes(set_codes(every)).apply(every), every)
    nothing = np.zeros(4, np.uint8)
    assert not parse_codes(set_codes(nothing)).apply(nothing).any()
