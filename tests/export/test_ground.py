from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nubila.errors import RecipeError
from nubila.export.ground import check_data, drawn_sets, training_sources
from nubila.recipe import Recipe, load_recipe
from nubila.train.data import Labelled, load_split
from nubila.train.folder import describe_data
from tests.toy_run import write_toy_recipe


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_toy_recipe(tmp_path)


def _splits(recipe: Recipe) -> tuple[object, object]:
    return load_split(recipe, "train"), load_split(recipe, "validation")


def test_a_source_that_is_never_drawn_is_no_training_data() -> None:
    image, label = np.zeros((7, 4, 4), np.float16), np.ones((4, 4), np.uint8)
    samples = [Labelled(image, label, folder) for folder in ("a", "a", "b", "c")]
    data = {"manifest": "m.csv", "root": ".", "weights": {"a": 2.0, "b": 0.0}}
    recipe = Recipe.model_validate({"steps": 1, "data": data, "synth": {"share": 0.0}})
    told = [(source.name, source.images) for source in training_sources(recipe, samples)]
    assert told == [("a", 2), ("c", 1)]
    named = Recipe.model_validate({**recipe.model_dump(), "data": data | {"weights": {"a/x": 0}}})
    samples[0] = Labelled(image, label, "a", id="a/x_1")
    told = [(source.name, source.images) for source in training_sources(named, samples)]
    assert told == [("a", 1), ("b", 1), ("c", 1)]
    views = {"chips": 40, "share": 0.5, "detectors": ["all-cloud", "brightness"]}
    (*_, last) = training_sources(
        Recipe.model_validate({**recipe.model_dump(), "views": views}), []
    )
    assert (last.name, last.images) == ("views, labelled by all-cloud and brightness", 40)


def test_a_run_is_held_to_what_it_was_trained_on(toy: Path, tmp_path: Path) -> None:
    recipe, run = load_recipe(toy), tmp_path / "run"
    run.mkdir()
    describe_data(run, *_splits(recipe), {}, {})
    check_data(run, *_splits(recipe))
    manifest = tmp_path / "toy.csv"
    remade = manifest.read_text().replace("1=cloud,train", "1=thin cloud,train")
    manifest.write_text(remade)
    with pytest.raises(RecipeError, match=r"data\.json tells of other .*\(to train\).* put the"):
        check_data(run, *_splits(recipe))
    (run / "data.json").unlink()  # an older run does not tell
    check_data(run, *_splits(recipe))


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("judged", "", {0b100001, 0b10, 0b1000}),
        ("judged", "0.9800", {0b100001, 0b1000}),
        ("synthetic", "1", {0b100001, 0b1000}),
        ("synthetic", "0", {0b100001, 0b10, 0b1000}),
    ],
)
def test_labels_that_nubila_made_measure_nothing(
    toy: Path, tmp_path: Path, column: str, value: str, expected: set[int], stored: bool
) -> None:
    manifest = tmp_path / "toy.csv"
    header, first, second, third = manifest.read_text().splitlines()
    drawn = second.replace("1=cloud,train", "1=cloud shadow,validation")
    rows = [f"{header},{column},sure", f"{first},1,0.9", f"{drawn},,", f"{third},{value},{value}"]
    manifest.write_text("\n".join(rows) + "\n")
    recipe = load_recipe(toy, ["data.tiles=made", "tiling.size=48"] if stored else [])
    assert drawn_sets(recipe, load_split(recipe, "validation")) == expected
