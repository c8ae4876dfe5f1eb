"""From a recipe's sections to a network."""

from __future__ import annotations

from nubila.errors import RecipeError
from nubila.nn.compact import CompactUNet
from nubila.nn.segmenter import Segmenter
from nubila.recipe import Recipe
from nubila.recipe.model import Compact

__all__ = ["build_network"]


def build_network(recipe: Recipe) -> Segmenter:
    """Return a new network as a recipe says; its weights depend on PyTorch's generator alone.

    Raises:
        RecipeError: the network does not exist for these bands or classes.
    """
    spec = recipe.model
    if not isinstance(spec, Compact):
        raise RecipeError(f"model {spec.name!r} cannot be built yet")
    body = CompactUNet(spec.widths, inputs=len(recipe.bands), outputs=len(recipe.classes))
    return Segmenter(body, None, bands=recipe.bands, classes=tuple(recipe.classes))
