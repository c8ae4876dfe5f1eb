from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

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
    left = load_recipe(recipe, [script.without("a", weights)]).data.weights
    assert left == {"a": 0, "a/S2.v1_x=5": 0, "ab": 4, "ab/one": 5}
    other = load_recipe(recipe, [script.without("c", weights)]).data.weights
    assert other == {**weights, "c": 0}
