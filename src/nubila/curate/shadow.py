"""Where shadows of clouds can lie, by the place of the sun and the heights that clouds have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES, class_set
from nubila.datasets.sample import unseen
from nubila.detect import View
from nubila.errors import InputError

__all__ = ["Sun", "lit", "reach", "shadow_sets"]

_CLOUD: Final = class_set(["cloud", "thin cloud"])
_SHADOW: Final = class_set(["cloud shadow"])
_WATER: Final = class_set(["water"])
_ALL: Final = class_set(CLASS_NAMES.values())

# Metres above the ground between which bases and tops of clouds are looked for (Zhu and Woodcock
# 2012, doi:10.1016/j.rse.2011.10.028: Fmask).
_HEIGHTS: Final = (200.0, 12000.0)
# Reflectance in the near infrared below which ground that is no water is dark enough for a shadow
# (the threshold of Sentinel Hub's and Earth Engine's recipes for s2cloudless).
_DARK: Final = 0.15
# Reflectance of the darkest of blue, green, red and near infrared above which nothing lies in the
# shadow of a cloud: 999 of 1000 pixels of shadow that people drew in four images of L8 Biome and
# three dates of Calgary are below.
_LIT: Final = 0.4
# Pixels between two heights that are tried: less than one, so that no pixel is stepped over.
_STEP: Final = 0.5


@dataclass(frozen=True)
class Sun:
    """Where the sun stands.

    Attributes:
        elevation: degrees above the horizon, more than 0 and up to 90.
        azimuth: degrees clockwise from north.
    """

    elevation: float
    azimuth: float

    def __post_init__(self) -> None:
        """Check the angles.

        Raises:
            InputError: the sun is not above the horizon, or an angle is no number.
        """
        if not (0 < self.elevation <= 90 and math.isfinite(self.azimuth)):
            raise InputError(
                f"the sun's elevation is {self.elevation:g} and its azimuth {self.azimuth:g} "
                f"degrees: expected 0 to 90 above the horizon, and a number"
            )


def lit(view: View) -> NDArray[np.bool_]:
    """Return where it is too bright for a shadow: (rows, columns), nowhere without the bands.

    Detectors call wide smooth snow shadow, having seen none so bright.
    """
    bands = [view.band(name) for name in ("blue", "green", "red", "nir")]
    there = [band for band in bands if band is not None]
    if len(there) < len(bands):
        return np.zeros(view.image.shape[1:], bool)
    return np.asarray(np.min(there, axis=0) > _LIT)


def reach(
    mask: NDArray[np.bool_], sun: Sun, resolution: float, *, outside: bool
) -> NDArray[np.bool_]:
    """Return where a shadow of what is in a mask may lie, on flat ground seen from above.

    Args:
        mask: (rows, columns), rows going south.
        sun: its place.
        resolution: metres a pixel.
        outside: whether what is not in the image counts as in the mask.
    """
    rows, columns = mask.shape
    found = np.zeros_like(mask)
    for down, right in _moves(sun, resolution):
        if abs(down) >= rows or abs(right) >= columns:
            if outside:
                return np.ones_like(mask)
            break  # the moves that follow are longer
        to = _part(down, rows), _part(right, columns)
        of = _part(-down, rows), _part(-right, columns)
        found[to] |= mask[of]
        if outside:
            inside = np.zeros_like(mask)
            inside[to] = True
            found |= ~inside
    return found


def _moves(sun: Sun, resolution: float) -> list[tuple[int, int]]:
    """Return by how many rows and columns a shadow is away from its cloud, the nearest first."""
    pixels = [height / math.tan(math.radians(sun.elevation)) / resolution for height in _HEIGHTS]
    south = math.cos(math.radians(sun.azimuth))  # away from the sun: north of a sun in the south
    east = -math.sin(math.radians(sun.azimuth))
    count = math.ceil((pixels[1] - pixels[0]) / _STEP) + 1
    away = np.linspace(pixels[0], pixels[1], count)
    moves = zip(np.rint(away * south).astype(int), np.rint(away * east).astype(int), strict=True)
    return list(dict.fromkeys((int(down), int(right)) for down, right in moves))


def _part(move: int, length: int) -> slice:
    return slice(max(move, 0), length + min(move, 0))


def shadow_sets(
    view: View, told: NDArray[np.uint8], surface: NDArray[np.uint8], sun: Sun
) -> NDArray[np.uint8]:
    """Return which classes the sun's place leaves possible.

    Shadow is ruled out where none can fall: neither of a pixel that may be cloud, nor of what is
    not in the image. It is certain where one of a certain cloud may fall, the near infrared is
    dark, and the ground is no water.

    Args:
        view: with a resolution.
        told: (rows, columns) sets of classes that detectors leave possible.
        surface: (rows, columns) sets that the ground can be, as `surface_sets` gives them.
        sun: its place.

    Returns:
        (rows, columns) uint8 sets of classes.
    """
    resolution = view.resolution
    assert resolution is not None  # the caller asks only then
    missing = unseen(view.image, view.bands)
    maybe = missing | (told & _CLOUD != 0)
    certain = ~missing & (told & ~np.uint8(_CLOUD) == 0)
    sets = np.full(told.shape, _ALL, np.uint8)
    sets[~reach(maybe, sun, resolution, outside=True)] = _ALL & ~_SHADOW
    nir = view.band("nir")
    if nir is not None:
        dark = (nir < _DARK) & (surface & _WATER == 0)
        sets[dark & reach(certain, sun, resolution, outside=False)] = _SHADOW
    return sets
