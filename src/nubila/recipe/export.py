"""What the exported model takes and gives, and says of itself."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, field_validator

from nubila.classes import DecisionRule
from nubila.recipe.section import Section, known_band

__all__ = ["Export"]


class Export(Section):
    """What the exported model takes and gives, and says of itself.

    Attributes:
        name: of the model and of its file in the run folder; `load_recipe` takes the recipe file's
            name where there is none.
        version: of the weights.
        summary: a sentence for people.
        licence: of the weights; empty where their owner has not said.
        output: what the graph gives; see `nubila.models_io.card`.
        decision: ``kind`` asks first whether a pixel is cloud, shadow or ground, by the sums of
            their classes, as a network should that learnt much from labels which leave open what
            cloud or what ground it is; ``class`` takes the most probable class.
        size: height and width that the graph takes; null = any, if the network allows it.
        batch: images that the graph takes at once; null = any number.
        without: optional band -> what a mask suffers where a scene lacks it; users are told so. Of
            a band that the network does not take, nothing is told.
        biases: class name -> what is added to its calibrated logit: the logarithm of how much rarer
            the class is on Earth than in the training mixture.
    """

    name: str = Field(default="model", pattern=r"^[a-z0-9][a-z0-9-]*$")
    version: str = "1"
    summary: str = ""
    licence: str = ""
    output: Literal["probabilities", "logits", "classes", "mask"] = "probabilities"
    decision: DecisionRule = "class"
    size: int | None = Field(default=None, ge=1)
    batch: int | None = Field(default=None, ge=1)
    resolution: tuple[float, float] = (10.0, 60.0)
    limits: tuple[str, ...] = ()
    licences: dict[str, str] = {}
    without: dict[str, str] = {}
    biases: dict[
        Literal["clear", "cloud", "thin cloud", "cloud shadow", "snow", "water"], float
    ] = {}

    @field_validator("resolution")
    @classmethod
    def _finest_first(cls, resolution: tuple[float, float]) -> tuple[float, float]:
        if not 0 < resolution[0] <= resolution[1] < math.inf:
            raise ValueError("expected the finest and the coarsest in metres, such as [10, 60]")
        return resolution

    @field_validator("without")
    @classmethod
    def _common_names(cls, without: dict[str, str]) -> dict[str, str]:
        return {known_band(name): told for name, told in without.items()}
