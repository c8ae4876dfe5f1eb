"""Recipes and the fit loop. Recipes are checked before PyTorch is imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nubila.recipe import Recipe, load_recipe

__all__ = ["Recipe", "check_splits", "fit", "load_recipe"]


def fit(
    recipe: Recipe, folder: str | Path, *, resume: bool = True, report: Callable[[str], None]
) -> Path:
    """Train as a recipe says; see `nubila.train.loop.fit`.

    Raises:
        ManifestError: as `check_splits`, before anything is imported or written.
        MissingExtraError: PyTorch or Lightning is not installed.
    """
    check_splits(recipe)
    import nubila.nn  # noqa: F401 (first, because it names the extra where PyTorch is missing)
    from nubila.train.loop import fit as run

    return run(recipe, Path(folder), resume=resume, report=report)


def check_splits(recipe: Recipe) -> None:
    """Hold the list of samples to what training needs; no pixel is read, and no PyTorch needed.

    Where a tile store is named, that is what is trained from, and nothing is checked.

    Raises:
        ManifestError: the manifest or collection is absent or wrong, or has none of a split.
    """
    from nubila.train.samples import read_specs

    if recipe.data.tiles is None:
        for split in (recipe.data.train, recipe.data.validation):
            read_specs(recipe, split)
