from __future__ import annotations

from pathlib import Path

import pytest

from nubila.errors import RecipeError
from nubila.recipe import load_recipe
from nubila.recipe.loss import Bce, Dice
from nubila.recipe.normalise import Percentiles

_START = """\
steps: 10
data:
  manifest: samples.csv
  root: .
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(_START + text, encoding="utf-8")
    return path


def test_names_alone_and_with_options(tmp_path: Path) -> None:
    text = "normalise: percentiles\nloss:\n  - dice\n  - {name: bce, pos_weight: auto, weight: 2}\n"
    recipe = load_recipe(_write(tmp_path, text))
    assert recipe.normalise == Percentiles(name="percentiles")
    assert recipe.loss == (Dice(name="dice"), Bce(name="bce", pos_weight="auto", weight=2))
    again = tmp_path / "again.yaml"
    again.write_text(recipe.to_yaml(), encoding="utf-8")
    assert load_recipe(again) == recipe


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("normalise: percentile\n", 5, ["normalise", "'percentiles'"]),
        ("normalise:\n  name: min_max\n  ovr: chip\n", 7, ["did you mean 'over'"]),
        ("loss:\n  - dice\n  - focall\n", 7, ["loss.1", "'focal'"]),
        ("loss:\n  - name: focal\n    gama: 2\n", 7, ["loss.0.gama", "did you mean 'gamma'"]),
        ("loss:\n  - name: bce\n    pos_weight: -1\n", 7, ["loss.0.pos_weight", "greater than 0"]),
    ],
)
def test_wrong_names_and_options(tmp_path: Path, text: str, line: int, words: list[str]) -> None:
    with pytest.raises(RecipeError) as raised:
        load_recipe(_write(tmp_path, text))
    for word in (f"line {line}:", *words):
        assert word in str(raised.value)
