from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from nubila.recipe import load_recipe


def test_a_source_is_left_out_of_both_splits_and_of_the_odds(
    tmp_path: Path, load_script: Callable[[str], ModuleType]
) -> None:
    script = load_script("leave_one_out")
    rows = ["a/1.tif,train", "a/2.tif,validation", "ab/3.tif,validation", "c/4.tif,train"]
    (tmp_path / "labels.csv").write_text("\n".join(["image,split", *rows]) + "\n")
    recipe = tmp_path / "recipe.yaml"
    weights = "{a: 2, a/S2.v1_x=5: 3, ab: 4, ab/one: 5, c: 1}"
    recipe.write_text(f"steps: 1\ndata: {{manifest: labels.csv, root: ., weights: {weights}}}\n")
    data = load_recipe(recipe, script.left_out(["a"], tmp_path, recipe)).data
    assert data.weights == {"ab": 4, "ab/one": 5, "c": 1}
    assert data.manifest is not None
    assert data.manifest.read_text().split() == ["image,split", *rows[2:]]
    data = load_recipe(recipe, script.left_out(["a", "ab"], tmp_path, recipe)).data
    assert data.weights == {"c": 1}
    assert data.manifest is not None
    assert data.manifest.read_text().split() == ["image,split", rows[3]]


def test_each_of_several_runs_goes_on_from_the_one_before(
    tmp_path: Path,
    load_script: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = load_script("leave_one_out")
    recipes = [tmp_path / "first.yaml", tmp_path / "second.yaml"]
    (tmp_path / "a.csv").write_text("image\na/1.tif\nb/2.tif\n")
    for steps, recipe in zip((50, 20), recipes, strict=True):
        data = f"{{manifest: a.csv, root: ., weights: {{a: {steps}, b: 1}}}}"
        recipe.write_text(f"steps: {steps}\ndata: {data}\n")
    asked = []

    def trained(recipe: Path, run: Path, settings: list[str], *, start_from: Path | None) -> Path:
        told = load_recipe(recipe, settings)
        assert told.data.manifest is not None
        rows = told.data.manifest.read_text().split()
        asked.append((run.name, told.steps, dict(told.data.weights), rows[1:], start_from))
        return run.with_name(f"{run.name}.onnx")

    monkeypatch.setattr(script, "trained", trained)
    monkeypatch.setattr(script, "open_detectors", lambda paths: {path: path for path in paths})
    given = Namespace(recipes=recipes, output=tmp_path, steps=None)
    last = script.network("without b", partial(script.left_out, ["b"], tmp_path), given)
    assert last == str(tmp_path / "without-b.onnx")
    first = tmp_path / "without-b-run1"
    assert asked == [
        (first.name, 50, {"a": 50}, ["a/1.tif"], None),
        ("without-b", 20, {"a": 20}, ["a/1.tif"], first),
    ]
