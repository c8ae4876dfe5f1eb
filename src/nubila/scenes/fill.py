"""Pixels of 0 in every band: no data, wherever nothing says what means no data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.scenes.band import Band

__all__ = ["FILL_NOTE", "FILL_SWITCH", "filled_with_0", "is_told", "leave_out_fill"]

FILL_NOTE: Final = (
    "pixels of exactly 0 in every band are taken as no data, for nothing says what means no data"
)
# How to say otherwise, where that can be said.
FILL_SWITCH: Final = "(--nodata nan, nodata=nan in Python: they are data)"


def is_told(stated: float | None, *, given: float | None = None, masked: bool = False) -> bool:
    """Tell whether something says which values of a band mean no data.

    NaN that is given does: all other values are data. NaN that a file, an item or an attribute
    states does not: writers state it of all floating-point values, and it is no data anyway.

    Args:
        stated: the value that file, item or attribute have for no data, if any.
        given: the caller's, if any.
        masked: whether a mask or an alpha band goes with the values.
    """
    return given is not None or masked or not (stated is None or math.isnan(stated))


def filled_with_0(bands: Mapping[str, Band]) -> dict[str, Band]:
    """Return the bands of a scene, `zero_fill` kept only where it is so of all of several.

    Where a value for no data is known of one band, its edge is told by that; and a single band
    tells nothing: cirrus may well be 0 under a dry sky.
    """
    every = len(bands) > 1 and all(band.zero_fill for band in bands.values())
    return {name: replace(band, zero_fill=every) for name, band in bands.items()}


def leave_out_fill(bands: Mapping[int, Band], reflectance: NDArray[np.float32]) -> bool:
    """Set pixels to NaN whose count is exactly 0 in every band read that is filled so.

    Args:
        bands: by their places in `reflectance`.
        reflectance: (bands, rows, columns), changed in place.

    Returns:
        Whether there were such pixels.
    """
    filled = {place: band for place, band in bands.items() if band.zero_fill}
    if len(filled) < 2:
        return False
    empty = np.ones(reflectance.shape[1:], bool)
    for place, band in filled.items():
        # `read_band` adds the offset last, so that a count of 0 becomes just this.
        empty &= reflectance[place] == np.float32(band.offset)
        if not empty.any():
            return False
    for place in filled:
        reflectance[place][empty] = np.nan
    return True
