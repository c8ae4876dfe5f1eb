"""Chips that are labelled by detectors while they are made."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from nubila.recipe.section import ImageWeights, Section

__all__ = ["Views"]


class Views(Section):
    """Views of the training images, varied far beyond what sensors see, and judged by detectors.

    A network that gives a detector's answers on them has learnt what the detector does and not
    only what it said of the few images that there are. See `nubila.train.views`.

    Attributes:
        chips: how many are made, of 1 MB each with seven bands.
        share: part of the training chips that are views; with 0, none are made.
        detectors: whose answers are learnt, one drawn for each view; as ``--clouds`` of ``nubila
            auto-mask``. Views have no resolution and no product's mask, so that detectors which
            need these cannot be taken.
        weights: how often an image of a folder is drawn, relative to the others, as
            `data.weights`; what is not named gets 1, what has weight 0 there 0. Images that no
            detector can judge are passed over.
        cache: folder where they are kept, relative to the recipe; default ``views`` beside
            `synth.cache`.
    """

    chips: int = Field(default=0, ge=0)
    share: float = Field(default=0.0, ge=0, le=1)
    detectors: tuple[str, ...] = ("ukis-csmask",)
    weights: ImageWeights = {}
    cache: Path | None = None

    @model_validator(mode="after")
    def _complete(self) -> Views:
        if self.share > 0 and self.chips == 0:
            raise ValueError(f"share is {self.share} but chips is 0")
        if not self.detectors:
            raise ValueError("no detectors")
        return self
