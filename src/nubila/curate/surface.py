"""Snow, water and bare ground by the indices that the field uses, where the sky is clear.

Each index has a band of doubt: a class is certain above it, ruled out below it, and stays open in
between, so that a label made of it teaches only what the index can tell.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import class_set
from nubila.detect import View

__all__ = ["SURFACE", "surface_sets"]

_CLEAR: Final = class_set(["clear"])
_SNOW: Final = class_set(["snow"])
_WATER: Final = class_set(["water"])
# What the ground can be where there is neither cloud nor shadow.
SURFACE: Final = _CLEAR | _SNOW | _WATER

# Normalised difference snow index. Snow is usually asked to be above 0.4 and brighter than 0.11 in
# the near infrared (Hall et al. 1995, doi:10.1016/0034-4257(95)00137-P; MODIS snow algorithm).
_SNOW_INDEX: Final = (0.2, 0.5)
_SNOW_NIR: Final = (0.11, 0.2)
# Normalised difference water index (McFeeters 1996, doi:10.1080/01431169608948714): water is above
# 0. The near infrared keeps haze, roofs and shadowed snow out of it.
_WATER_INDEX: Final = (-0.1, 0.2)
_WATER_NIR: Final = (0.10, 0.16)
# Roads and roofs through haze look like water in both, but not in the short-wave infrared.
_WATER_SWIR: Final = (0.05, 0.12)


def surface_sets(view: View) -> NDArray[np.uint8]:
    """Return which of clear, snow and water each pixel can be if it is no cloud and no shadow.

    Without a band of an index its class stays open.

    Returns:
        (rows, columns) uint8 sets of classes; all of `SURFACE` where there are no data.
    """
    green, nir, swir = (view.band(name) for name in ("green", "nir", "swir16"))
    shape = view.image.shape[1:]
    no = np.zeros(shape, bool)
    snow, snow_possible = no, ~no
    water, water_possible = no, ~no
    if green is not None and nir is not None and swir is not None:
        index = _normalised(green, swir)
        snow = (index > _SNOW_INDEX[1]) & (nir > _SNOW_NIR[1])
        snow_possible = (index > _SNOW_INDEX[0]) & (nir > _SNOW_NIR[0])
    if green is not None and nir is not None:
        index = _normalised(green, nir)
        water = (index > _WATER_INDEX[1]) & (nir < _WATER_NIR[0])
        water_possible = (index > _WATER_INDEX[0]) & (nir < _WATER_NIR[1])
    if swir is not None:
        water = water & (swir < _WATER_SWIR[0])
        water_possible = water_possible & (swir < _WATER_SWIR[1])
    sets = np.where(snow | water, 0, _CLEAR)
    sets = sets | np.where(snow_possible & ~water, _SNOW, 0)
    sets = sets | np.where(water_possible & ~snow, _WATER, 0)
    missing = np.isnan(view.image).all(axis=0)
    return np.where(missing, SURFACE, sets).astype(np.uint8)


def _normalised(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    total = one + other
    safe = np.where(np.abs(total) > 1e-6, total, np.float32(1e-6))
    found: NDArray[np.float32] = np.divide(one - other, safe, dtype=np.float32)
    return found
