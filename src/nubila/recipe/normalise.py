"""How reflectance is brought to what a network likes, inside the graph."""

from __future__ import annotations

from typing import Literal

from nubila.recipe.section import Section

__all__ = ["Normalise"]


class Normalise(Section):
    """A normalisation of reflectance.

    Attributes:
        name: see `nubila.nn.normalise`; ``reflectance`` leaves it as it is.
    """

    name: Literal["reflectance"] = "reflectance"
