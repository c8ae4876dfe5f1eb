from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from nubila.recipe import load_recipe


def test_a_source_is_left_out_with_the_images_that_are_named(
    tmp_path: Path, load_script: Callable[[str], ModuleType]
) -> None:
    script = load_script("leave_one_out")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("""
steps: 1
data:
  manifest: a.csv
  root: .
  weights: {a: 2, a/S2.v1_x=5: 3, ab: 4, ab/one: 5}
""")
    weights = load_recipe(recipe).data.weights
    left = load_recipe(recipe, [script.without(["a"], weights)]).data.weights
    assert left == {"a": 0, "a/S2.v1_x=5": 0, "ab": 4, "ab/one": 5}
    other = load_recipe(recipe, [script.without(["c"], weights)]).data.weights
    assert other == {**weights, "c": 0}
    both = load_recipe(recipe, [script.without(["a", "ab"], weights)]).data.weights
    assert set(both.values()) == {0}


def test_each_of_several_runs_goes_on_from_the_one_before(
    tmp_path: Path,
    load_script: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = load_script("leave_one_out")
    recipes = [tmp_path / "first.yaml", tmp_path / "second.yaml"]
    for steps, recipe in zip((50, 20), recipes, strict=True):
        data = f"{{manifest: a.csv, root: ., weights: {{a: {steps}, b: 1}}}}"
        recipe.write_text(f"steps: {steps}\ndata: {data}\n")
    asked = []

    def trained(recipe: Path, run: Path, settings: list[str], *, start_from: Path | None) -> Path:
        told = load_recipe(recipe, settings)
        asked.append((run.name, told.steps, dict(told.data.weights), start_from))
        return run.with_name(f"{run.name}.onnx")

    monkeypatch.setattr(script, "trained", trained)
    monkeypatch.setattr(script, "open_detectors", lambda paths: {path: path for path in paths})
    given = Namespace(recipes=recipes, output=tmp_path, steps=None)
    last = script.network("without b", partial(script.left_out, ["b"]), given)
    assert last == str(tmp_path / "without-b.onnx")
    first = tmp_path / "without-b-run1"
    assert asked == [
        (first.name, 50, {"a": 50, "b": 0}, None),
        ("without-b", 20, {"a": 20, "b": 0}, first),
    ]
