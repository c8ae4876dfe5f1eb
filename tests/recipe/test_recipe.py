from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from nubila.errors import RecipeError
from nubila.recipe import Recipe, load_recipe

_GOOD = """\
seed: 3
steps: 10
data:
  manifest: samples.csv
  root: .
optim:
  lr: 1.0e-3
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def test_reads_values_and_places_paths(tmp_path: Path) -> None:
    recipe = load_recipe(_write(tmp_path, _GOOD), ["optim.lr=2e-4", "model.widths=[16, 32]"])
    assert (recipe.seed, recipe.steps, recipe.batch) == (3, 10, 12)
    assert recipe.optim.lr == pytest.approx(2e-4)
    assert recipe.model.widths == (16, 32)
    assert recipe.data.manifest == tmp_path.resolve() / "samples.csv"


def test_written_recipe_reads_back_the_same(tmp_path: Path) -> None:
    recipe = load_recipe(_write(tmp_path, _GOOD))
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    assert load_recipe(_write(folder, recipe.to_yaml())) == recipe


@pytest.mark.parametrize(
    ("file", "name"), [("My Clouds_2.yaml", "my-clouds-2"), ("-é-.yaml", "model")]
)
def test_what_is_trained_calls_itself_no_model_that_ships(
    tmp_path: Path, file: str, name: str
) -> None:
    path = tmp_path / file
    path.write_text(_GOOD, encoding="utf-8")
    export = load_recipe(path, ["export.summary=Mine."]).export
    assert (export.name, export.summary, export.licence) == (name, "Mine.", "")
    assert load_recipe(path, ["export.name=mine"]).export.name == "mine"


@pytest.mark.parametrize(("given", "now"), [("true", "any cloud"), ("false", "thin cloud")])
def test_a_key_of_before_is_read_as_what_it_is_called_now(
    tmp_path: Path, given: str, now: str
) -> None:
    text = _GOOD + f"synth:\n  open_over_snow: {given}\n"
    assert load_recipe(_write(tmp_path, text)).synth.like_snow == now


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (_GOOD + "  wieght_decay: 0.1\n", 8, ["optim.wieght_decay", "did you mean 'weight_decay'"]),
        (_GOOD + "bacth: 4\n", 8, ["'bacth'", "did you mean 'batch'"]),
        (_GOOD.replace("steps: 10", "steps: none"), 2, ["steps", "'none'"]),
        (_GOOD.replace("steps: 10", "steps: -1"), 2, ["steps", "greater than 0", "-1"]),
        (_GOOD.replace("steps: 10\n", ""), 1, ["'steps' is missing"]),
        (_GOOD.replace("1.0e-3", ".nan"), 7, ["optim.lr", "finite"]),
        (_GOOD.replace("root: .", "root: .\n  gains: {a: [0]}"), 6, ["gains", "'a'", "above 0"]),
        (_GOOD + "export:\n  without: {swri16: x}\n", 9, ["'swri16'", "did you mean 'swir16'"]),
        (_GOOD + "bands: [blue, gren, red]\n", 8, ["bands", "'gren'", "did you mean 'green'"]),
        (_GOOD + "chip: 100\n", 8, ["chip", "multiple of 16"]),
        (_GOOD + "precision: bf16\n", 8, ["precision", "bf16-mixed", "'bf16'"]),
        (_GOOD + "class_weights:\n  shadows: 2\n", 8, ["shadows", "cloud shadow"]),
        (_GOOD + "synth:\n  share: 0.5\n", 8, ["share is 0.5 but chips is 0"]),
        (_GOOD + "model:\n  widths:\n    - 16\n    - wide\n", 11, ["model.widths.1", "wide"]),
        (_GOOD + "model:\n  name: unett\n", 9, ["no 'unett'", "did you mean 'unet'"]),
        (_GOOD + "loss:\n  - name: dise\n", 9, ["no 'dise'", "did you mean 'dice'"]),
        (_GOOD + "seed: 4\n", 8, ["'seed' stands on line 1 already"]),
        (_GOOD + "loss:\n  - name: dice\n    weight: 1\n    weight: 5\n", 11, ["on line 10"]),
        (_GOOD + "export:\n  resolution: [60, 10]\n", 9, ["the finest and the coarsest"]),
        (_GOOD + "tiling:\n  dates: 2020-01-01\n", 9, ["tiling.dates"]),
        (_GOOD + "optim: [\n", 9, []),
    ],
)
def test_an_error_names_key_line_and_the_nearest(
    tmp_path: Path, text: str, line: int, words: list[str]
) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(_write(tmp_path, text))
    message = str(caught.value)
    assert f"line {line}" in message
    assert "recipe.yaml" in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("optim.lrr=1", ["--set", "optim.lrr", "did you mean 'lr'"]),
        ("optim.lr", ["expected key=value"]),
        ("steps.x=1", ["steps", "not a section"]),
        ("optim.lr=fast", ["--set", "optim.lr", "'fast'"]),
    ],
)
def test_an_error_in_a_change_says_so(tmp_path: Path, change: str, words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(_write(tmp_path, _GOOD), [change])
    for word in words:
        assert word in str(caught.value)


def test_a_path_of_a_change_that_is_meant_from_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths are taken from the recipe's folder; what is only in the working folder is told."""
    there = tmp_path / "there"
    (there / "images").mkdir(parents=True)
    (there / "kept").mkdir()
    monkeypatch.chdir(there)
    path = _write(tmp_path, _GOOD)
    told = rf"data\.root=images: .* recipe's folder.* no {tmp_path / 'images'}; give {there}/images"
    with pytest.raises(RecipeError, match=told):
        load_recipe(path, ["data.root=images"])
    assert load_recipe(path, ["synth.cache=kept"]).synth.cache == tmp_path / "kept"
    assert load_recipe(path, ["data.root=nowhere"]).data.root == tmp_path / "nowhere"
    (tmp_path / "images").mkdir()
    assert load_recipe(path, ["data.root=images"]).data.root == tmp_path / "images"


def test_no_file_and_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"absent.yaml: cannot be read: No such file"):
        load_recipe(tmp_path / "absent.yaml")
    with pytest.raises(RecipeError, match="keys and values"):
        load_recipe(_write(tmp_path, "- 1\n"))


def test_a_wrong_recipe_is_found_without_torch(tmp_path: Path) -> None:
    """In a process where importing PyTorch would fail, the recipe's error still comes first."""
    path = _write(tmp_path, _GOOD + "bacth: 4\n")
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from nubila.train import load_recipe\n"
        "from nubila.errors import RecipeError\n"
        f"try: load_recipe({str(path)!r})\n"
        "except RecipeError: print('found')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "found", done.stderr


def test_without_torch_the_extra_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path, _GOOD)
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from nubila.train import fit, load_recipe\n"
        "from nubila.errors import MissingExtraError\n"
        # With a tile store there is no list of samples to be checked before.
        f"recipe = load_recipe({str(path)!r}, ['data.tiles=tiles.zarr'])\n"
        "try: fit(recipe, 'run', report=print)\n"
        "except MissingExtraError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert 'pip install "nubila[train]"' in done.stdout, done.stderr


@pytest.mark.parametrize("name", ["default", "small"])
def test_the_recipes_of_the_shipped_weights_hold(name: str) -> None:
    path = Path(__file__).parents[2] / "recipes" / f"{name}.yaml"
    recipe = load_recipe(path)
    # Their manifest is what the step of automatic labels leaves; what that rests on is committed.
    images = [m for step in recipe.labels.steps for m in getattr(step, "manifests", ())]
    assert all(manifest.is_file() for manifest in images)
    assert bool(images) == (name != "small")
    known = set(Recipe.model_fields)
    assert set(yaml.safe_load(path.read_text())) <= known


@pytest.mark.parametrize(
    "cutting",
    [
        "resolution=20",
        "overlap=8",
        "windows=5",
        "dates=[2020-01-01]",
        "least_valid=0.5",
        "least_share={snow: 0.1}",
    ],
)
def test_how_tiles_are_cut_is_an_error_where_none_are(tmp_path: Path, cutting: str) -> None:
    path, key = _write(tmp_path, _GOOD), cutting.partition("=")[0]
    with pytest.raises(RecipeError, match=rf"tiling\.{key}: .* data\.tiles names no tile store"):
        load_recipe(path, [f"tiling.{cutting}"])
    load_recipe(path, [f"tiling.{cutting}", "data.tiles=tiles"])
    load_recipe(path, ["tiling.splits={train: 1}", "tiling.seed=3", "tiling.size=64"])
    (tmp_path / "environment.json").write_text("{}")  # what a run has written is taken as it is
    load_recipe(path, [f"tiling.{cutting}"])


@pytest.mark.parametrize("section", ["class_weights={thin cloud: 5}", "export.biases={snow: -4}"])
def test_weights_of_classes_that_the_network_does_not_tell_are_an_error(
    tmp_path: Path, section: str
) -> None:
    classes = "classes={clear: [clear, cloud shadow, snow, water], cloud: [cloud, thin cloud]}"
    with pytest.raises(RecipeError, match="is no class of this network"):
        load_recipe(_write(tmp_path, _GOOD), [classes, section])
