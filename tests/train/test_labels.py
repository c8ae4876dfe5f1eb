from __future__ import annotations

from pathlib import Path

import pytest

from nubila.errors import ManifestError
from nubila.train import fit, load_recipe

_CODES = "0=clear|water;1=cloud"


def _fit(recipe: Path, *changes: str) -> list[str]:
    lines: list[str] = []
    made = load_recipe(recipe, ["steps=1", "validate_every=1", *changes])
    fit(made, recipe.parent / "run", resume=False, report=lines.append)
    return [line for line in lines if line.startswith("warning")]


def _name(recipe: Path, codes: str, split: str = "") -> None:
    """Give the rows of a split, or all, other codes."""
    table = recipe.with_name("toy.csv")
    rows = table.read_text().splitlines()
    changed = [row.replace(_CODES, codes) if f",{split}" in row else row for row in rows]
    table.write_text("\n".join(changed) + "\n")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_split_without_a_label_is_an_error(toy: Path, split: str) -> None:
    _name(toy, "128=clear;255=cloud", split)
    with pytest.raises(ManifestError, match=f"no pixel of split '{split}' has data and a") as told:
        _fit(toy)
    count = {"train": "2 of 2", "validation": "1 of 1"}[split]
    assert f"{count} masks hold values that codes does not name" in str(told.value)
    assert "0 (" in str(told.value) and "1 (" in str(told.value)
    assert not (toy.parent / "run/best.ckpt").exists()


def test_a_tile_store_without_a_label_is_an_error(toy: Path) -> None:
    _name(toy, "128=clear;255=cloud")
    tiles = ("data.tiles=" + str(toy.with_name("tiles")), "tiling.size=48")
    with pytest.raises(
        ManifestError, match="tiles: no pixel of split 'train' has data and a label"
    ):
        _fit(toy, *tiles)


def test_labels_of_classes_that_are_not_trained_are_none(toy: Path) -> None:
    _name(toy, "0=snow;1=snow", "train")
    classes = "classes={clear: [clear, water, cloud shadow], cloud: [cloud, thin cloud]}"
    with pytest.raises(ManifestError, match="no pixel of split 'train'"):
        _fit(toy, classes, "export.biases={}")


def test_training_images_that_no_chip_is_cut_from_need_no_label(toy: Path) -> None:
    _name(toy, "128=clear", "train")
    synth = "synth={share: 1, chips: 2, cache: " + str(toy.with_name("synth")) + "}"
    (told,) = _fit(toy, synth)[:1]
    assert "split 'train': 2 of 2 masks hold values" in told


def test_a_class_in_no_label_is_told(toy: Path) -> None:
    (told,) = _fit(toy)
    assert told == (
        "warning: no training label has thin cloud, cloud shadow, snow, so that nothing teaches it"
    )
    _name(toy, "0=clear;128=cloud", "train")
    unnamed, untaught = _fit(toy)
    assert "split 'train': 2 of 2 masks hold values" in unnamed
    assert "no training label has cloud, thin cloud" in untaught


def test_values_that_are_ignored_on_purpose_are_not_told(toy: Path) -> None:
    _name(toy, "0=clear|snow|water|thin cloud|cloud shadow;1=cloud;*=ignored")
    assert _fit(toy) == []
