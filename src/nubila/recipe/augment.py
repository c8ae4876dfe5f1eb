"""How chips are varied."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from nubila.recipe.section import Section

__all__ = ["Augment"]


class Augment(Section):
    """How training chips are varied; validation sees images as they are.

    Chances are between 0 and 1, spreads are standard deviations; 0 turns any of them off. See
    `nubila.train.augment` for what each does.

    Attributes:
        turn: one of the eight flips and right-angle rotations.
        zoom: resized crop: a chip covers up to this many times its size, or as many times less.
        rotate: chance of a rotation by any angle.
        scale: spread of the logarithm of the size, rows and columns each by itself.
        elastic: greatest spread of a smooth random displacement, in pixels.
        grid: greatest share by which the cells of a grid are made wider or narrower.
        optical: greatest radial distortion, as a share of the distance at the middle of an edge.
        full_bands: chance that all bands of a sample stay; else some that are not required are
            dropped, as a sensor or a collection lacks them.
        nir_odds: how often RGB and near infrared are what stays of a sample, against each other
            usual set of bands.
        rgb_gains: brightnesses, one of which a chip is shown at of which dropping leaves red, green
            and blue alone: quick-looks are often darker than the reflectance they are read as.
        drop_band: chance that a single band that is not required is lost.
        gamma: spread of the logarithm of the exponent of reflectance.
        gain: relative brightness, all bands together.
        band_gain: relative brightness, each band.
        band_offset: reflectance, each band.
        haze: chance of an even haze.
        cirrus: chance of synthetic cirrus, which the label and the cirrus band show too.
        saturate: chance that values above 0.4 are cut, as in 8-bit quick-looks.
        noise: greatest noise in reflectance.
        blur: greatest width of a Gaussian blur in pixels.
        sharpen: greatest share of detail that is added.
        tear: chance of an edge without data.
        erase: chance that a rectangle loses its data.
        cutmix: chance that a rectangle of another chip is put in.
        chessmix: chance of a chessboard of pieces of other chips.
        mosaic: chance that the chip is made of quarters of four.
        paste_clouds: chance that real clouds of another chip are put in, with their opacity.
    """

    turn: bool = True
    zoom: float = Field(default=1.5, ge=1, le=4)
    rotate: float = Field(default=0.0, ge=0, le=1)
    scale: float = Field(default=0.0, ge=0, le=0.3)
    elastic: float = Field(default=0.0, ge=0, le=8)
    grid: float = Field(default=0.0, ge=0, le=0.5)
    optical: float = Field(default=0.0, ge=0, le=0.1)
    full_bands: float = Field(default=0.4, ge=0, le=1)
    nir_odds: float = Field(default=1.0, gt=0)
    rgb_gains: tuple[Annotated[float, Field(gt=0, le=4)], ...] = ()
    drop_band: float = Field(default=0.0, ge=0, le=1)
    gamma: float = Field(default=0.0, ge=0, le=0.5)
    gain: float = Field(default=0.08, ge=0, le=1)
    band_gain: float = Field(default=0.03, ge=0, le=1)
    band_offset: float = Field(default=0.006, ge=0, le=0.1)
    haze: float = Field(default=0.15, ge=0, le=1)
    cirrus: float = Field(default=0.0, ge=0, le=1)
    saturate: float = Field(default=0.15, ge=0, le=1)
    noise: float = Field(default=0.008, ge=0, le=0.1)
    blur: float = Field(default=0.0, ge=0, le=4)
    sharpen: float = Field(default=0.0, ge=0, le=2)
    tear: float = Field(default=0.1, ge=0, le=1)
    erase: float = Field(default=0.0, ge=0, le=1)
    cutmix: float = Field(default=0.0, ge=0, le=1)
    chessmix: float = Field(default=0.0, ge=0, le=1)
    mosaic: float = Field(default=0.0, ge=0, le=1)
    paste_clouds: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _one_mixture(self) -> Augment:
        if self.cutmix + self.chessmix + self.mosaic > 1:
            raise ValueError(
                "cutmix, chessmix and mosaic are chances of one or another; expected a sum up to 1"
            )
        return self
