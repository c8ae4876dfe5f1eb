from __future__ import annotations

from pathlib import Path

import pytest

from nubila.errors import RecipeError
from nubila.recipe import Recipe, load_recipe

_TEXT = "steps: 4\ndata: {manifest: some/labels.csv, root: .}\nlabels:\n  steps: %s\n"


def _load(folder: Path, steps: str) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(_TEXT % steps)
    return load_recipe(path)


def test_a_name_alone_is_the_step_with_its_defaults(tmp_path: Path) -> None:
    short = _load(tmp_path, "[folds, train, audit, drop, pseudo_label, pseudo_label, ensemble]")
    names = ("folds", "train", "audit", "drop", "pseudo_label", "pseudo_label", "ensemble")
    long = _load(tmp_path, f"[{', '.join(f'{{name: {name}}}' for name in names)}]")
    assert short.labels == long.labels
    assert tuple(step.name for step in short.labels.steps) == names
    assert short.labels.makes_model
    assert not _load(tmp_path, "[folds, train]").labels.makes_model


def test_paths_are_taken_from_the_recipe(tmp_path: Path) -> None:
    made = _load(tmp_path, "[{name: auto_mask, manifests: [a.csv], water: w.tif, snow_line: 900}]")
    (step,) = made.labels.steps
    assert step.name == "auto_mask"
    assert (step.manifests, step.water) == ((tmp_path / "a.csv",), tmp_path / "w.tif")
    assert step.snow_line == (900,)
    (folds,) = _load(tmp_path, "[{name: folds, pool: [b.csv]}]").labels.steps
    assert folds.name == "folds" and folds.pool == (tmp_path / "b.csv",)


def test_a_recipe_written_out_reads_back(tmp_path: Path) -> None:
    recipe = _load(tmp_path, "[{name: folds, count: 3}, train, audit, {name: drop, share: 0.2}]")
    (tmp_path / "again.yaml").write_text(recipe.to_yaml())
    assert load_recipe(tmp_path / "again.yaml") == recipe


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("[train]", "'train' needs 'folds' before it"),
        ("[folds, audit]", "'audit' needs 'train' before it"),
        ("[folds, train, drop]", "'drop' needs 'audit' before it"),
        ("[folds, train, train]", "'train' stands twice"),
        ("[folds, train, pseudo_label, audit]", "'audit' has to stand before 'pseudo_label'"),
        ("[folds, {name: auto_mask, manifests: [a.csv]}]", "'auto_mask' has to stand before"),
        ("[folds, train, ensemble, pseudo_label]", "'ensemble' is the last one"),
        ("[{name: auto_mask}]", "line 4: key 'labels.steps.0.manifests' is missing"),
        ("[{name: auto_mask, manifests: [a.csv], snow_line: [1, 2]}]", "one number of metres or"),
        ("[{name: drop, shard: 0.1}]", "did you mean 'share'"),
        ("[{name: drop, flags: [blnk]}]", "no flag 'blnk'; did you mean 'blank'? (known: dup"),
        ("[{name: drop, flags: [3]}]", "no flag 3 (known: duplicate"),
        ("[{name: drop, flags: blank}]", "labels.steps.0.flags: "),
        ("[{name: pseudo_label, low: 0.95, high: 0.1}]", "low 0.95 is above high 0.1"),
        ("[{name: pseudo_label, low: 0.95}]", "low 0.95 is above high 0.9"),
        ("[psuedo_label]", "did you mean 'pseudo_label'"),
    ],
)
def test_steps_out_of_order_are_named(tmp_path: Path, steps: str, message: str) -> None:
    with pytest.raises(RecipeError) as raised:
        _load(tmp_path, steps)
    assert message in str(raised.value)


def test_masks_need_a_manifest_to_be_written_to(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    text = _TEXT % "[{name: auto_mask, manifests: [a.csv]}]"
    path.write_text(text.replace("manifest: some/labels.csv", "dataset: oncloudn"))
    with pytest.raises(RecipeError, match=r"auto_mask writes data\.manifest"):
        load_recipe(path)
