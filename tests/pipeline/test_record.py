from __future__ import annotations

from pathlib import Path

import pytest

from nubila.errors import InputError
from nubila.pipeline.record import Record, stage_key
from nubila.recipe import Recipe, load_recipe
from nubila.recipe.stages import STAGES
from tests.toy_run import write_toy_recipe


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_toy_recipe(tmp_path)


def _changed(toy: Path, *changes: str) -> set[str]:
    """Return the stages that a change of the recipe makes due again."""
    before, after = load_recipe(toy), load_recipe(toy, changes)
    return {stage for stage in STAGES if stage_key(before, stage) != stage_key(after, stage)}


@pytest.mark.parametrize(
    ("change", "due"),
    [
        ("optim.lr=0.5", {"train", "export", "evaluate", "mask"}),
        ("tiling.size=32", {"tile", "train", "export", "evaluate", "mask"}),
        ("export.summary=Other", {"export", "evaluate", "mask"}),
        ("evaluation.split=train", {"evaluate"}),
        ("mask.resolution=30", {"mask"}),
    ],
)
def test_a_change_makes_due_what_rests_on_it(toy: Path, change: str, due: set[str]) -> None:
    assert _changed(toy, change) == due


def test_another_manifest_makes_everything_due(toy: Path) -> None:
    recipe = load_recipe(toy)
    before = [stage_key(recipe, stage) for stage in STAGES]
    manifest = toy.parent / "toy.csv"
    manifest.write_text(manifest.read_text() + "\n")
    assert all(stage_key(recipe, s) != k for s, k in zip(STAGES, before, strict=True))


def test_a_stage_is_done_while_key_and_outputs_are_there(toy: Path, tmp_path: Path) -> None:
    recipe: Recipe = load_recipe(toy)
    key = stage_key(recipe, "export")
    output = tmp_path / "model.onnx"
    output.write_bytes(b"1")
    Record.load(tmp_path).finish("export", key, [output])
    assert Record.load(tmp_path).outputs("export", key) == (output,)
    assert Record.load(tmp_path).outputs("export", "another") is None
    output.unlink()
    assert Record.load(tmp_path).outputs("export", key) is None


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "stages.json").write_text('{"train": 3}')
    with pytest.raises(InputError, match=r"stages.json.*remove it"):
        Record.load(tmp_path)
