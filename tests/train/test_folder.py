from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from nubila.errors import InputError, RecipeError
from nubila.train.folder import changed_since, check_finished, write_json


@pytest.mark.parametrize("text", ['{"train": ', "[]", ""])
def test_a_damaged_record_is_named_with_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.json").write_text(text)
    with pytest.raises(InputError, match=r"data.json: is damaged .*start anew with nubila train"):
        changed_since(tmp_path, {"train": 1})


def test_what_a_run_does_not_tell_of_does_not_count(tmp_path: Path) -> None:
    assert changed_since(tmp_path, {"train": 1}) == []
    write_json(tmp_path / "data.json", {"train": 1, "validation": 2})
    assert changed_since(tmp_path, {"train": 1, "validation": 3, "views": 4}) == ["validation"]


def test_a_training_is_finished_once_it_tells_its_result(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no best.ckpt; do the stage train first"):
        check_finished(tmp_path)
    (tmp_path / "best.ckpt").write_bytes(b"1")
    with pytest.raises(RecipeError, match=r"broken off .*do the stage train first"):
        check_finished(tmp_path)
    write_json(tmp_path / "result.json", {"step": 1})
    check_finished(tmp_path)
