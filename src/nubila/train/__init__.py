"""Recipes and the fit loop. Recipes are checked before PyTorch is imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nubila.recipe import Recipe, load_recipe

__all__ = ["Recipe", "fit", "load_recipe"]


def fit(
    recipe: Recipe, folder: str | Path, *, resume: bool = True, report: Callable[[str], None]
) -> Path:
    """Train as a recipe says; see `nubila.train.loop.fit`.

    Raises:
        MissingExtraError: PyTorch or Lightning is not installed.
    """
    import nubila.nn  # noqa: F401 (first, because it names the extra where PyTorch is missing)
    from nubila.train.loop import fit as run

    return run(recipe, Path(folder), resume=resume, report=report)
