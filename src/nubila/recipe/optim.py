"""Optimiser, schedule and when a run ends."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nubila.recipe.section import Section

__all__ = ["Optimiser"]


class Optimiser(Section):
    """The optimiser and its learning rate.

    Attributes:
        name: ``adamw``, with a linear warm-up and a cosine decay to zero.
        lr: highest learning rate.
        weight_decay: decoupled weight decay.
        warmup: part of the steps over which the rate rises.
        clip: greatest norm of the gradient.
        ema: decay of the exponential moving average of the weights; the average is shipped.
    """

    name: Literal["adamw"] = "adamw"
    lr: float = Field(default=3e-3, gt=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0, le=1)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    clip: float = Field(default=1.0, gt=0)
    ema: float = Field(default=0.998, ge=0, lt=1)
