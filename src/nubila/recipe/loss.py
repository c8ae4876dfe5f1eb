"""The loss of a run: a weighted sum of terms, each told by its `name`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nubila.recipe.section import Section

__all__ = ["CrossEntropy", "LossTerm"]


class _Term(Section):
    """What every term has. `weight` is its factor in the sum."""

    weight: float = Field(default=1.0, ge=0)


class CrossEntropy(_Term):
    """Partial cross-entropy: -log of the probability of the classes that the label allows."""

    name: Literal["cross_entropy"] = "cross_entropy"


class Dice(_Term):
    """Soft Dice loss."""

    name: Literal["dice"]


LossTerm = Annotated[CrossEntropy | Dice, Field(discriminator="name")]
