"""How chips are varied."""

from __future__ import annotations

from pydantic import Field

from nubila.recipe.section import Section

__all__ = ["Augment"]


class Augment(Section):
    """How chips are varied; chances are between 0 and 1, spreads are standard deviations.

    Attributes:
        turn: one of the eight flips and right-angle rotations.
        zoom: a chip covers up to this many times its size, or as many times less.
        full_bands: chance that all bands of a sample stay; else some optional ones are dropped.
        gain: relative brightness, all bands together.
        band_gain: relative brightness, each band.
        band_offset: reflectance, each band.
        haze: chance of an even haze.
        saturate: chance that values above 0.4 are cut, as in 8-bit quick-looks.
        noise: greatest noise in reflectance.
        tear: chance of an edge without data.
    """

    turn: bool = True
    zoom: float = Field(default=1.5, ge=1, le=4)
    full_bands: float = Field(default=0.4, ge=0, le=1)
    gain: float = Field(default=0.08, ge=0, le=1)
    band_gain: float = Field(default=0.03, ge=0, le=1)
    band_offset: float = Field(default=0.006, ge=0, le=0.1)
    haze: float = Field(default=0.15, ge=0, le=1)
    saturate: float = Field(default=0.15, ge=0, le=1)
    noise: float = Field(default=0.008, ge=0, le=0.1)
    tear: float = Field(default=0.1, ge=0, le=1)
