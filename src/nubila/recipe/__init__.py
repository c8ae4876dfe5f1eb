"""What a run is, as validated text: one module a section. Nothing heavy is imported here."""

from nubila.recipe.load import load_recipe
from nubila.recipe.recipe import Recipe

__all__ = ["Recipe", "load_recipe"]
