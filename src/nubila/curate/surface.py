"""Snow, water and bare ground by the indices that the field uses, where the sky is clear.

A snow line rules snow out below it, and a map of water takes the place of the water index.
Each index has a band of doubt: a class is certain above it, ruled out below it, and stays open in
between, so that a label made of it teaches only what the index can tell.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import class_set
from nubila.datasets.sample import unseen
from nubila.detect import View

__all__ = ["SURFACE", "UNKNOWN", "snow_line", "surface_sets"]

_CLEAR: Final = class_set(["clear"])
_SNOW: Final = class_set(["snow"])
_WATER: Final = class_set(["water"])
# What the ground can be where there is neither cloud nor shadow.
SURFACE: Final = _CLEAR | _SNOW | _WATER

# Normalised difference snow index. Snow is usually asked to be above 0.4 and brighter than 0.11 in
# the near infrared (Hall et al. 1995, doi:10.1016/0034-4257(95)00137-P; MODIS snow algorithm).
_SNOW_INDEX: Final = (0.2, 0.5)
_SNOW_NIR: Final = (0.11, 0.2)
# Without a short-wave infrared the MODIS algorithm's limit on green is left (Hall et al. 2002,
# doi:10.1016/S0034-4257(02)00095-0: less than 0.10 is no snow), and that what has leaves is no
# snow: the near infrared of snow is no brighter than its red (Wiscombe and Warren 1980,
# doi:10.1175/1520-0469(1980)037<2712:AMFTSA>2.0.CO;2), so that its vegetation index is 0 or less.
_SNOW_GREEN: Final = 0.10
_SNOW_LEAVES: Final = 0.25
# Normalised difference water index (McFeeters 1996, doi:10.1080/01431169608948714): water is above
# 0. The near infrared keeps haze, roofs and shadowed snow out of it.
_WATER_INDEX: Final = (-0.1, 0.2)
_WATER_NIR: Final = (0.10, 0.16)
# Roads and roofs through haze look like water in both, but not in the short-wave infrared.
_WATER_SWIR: Final = (0.05, 0.12)
# Without a near infrared, the modified index (Xu 2006, doi:10.1080/01431160600589179) takes the
# short-wave infrared instead. It is the snow index by another name: brightness tells them apart.
_WATER_GREEN: Final = (0.10, 0.25)
# The snow line of the Theia snow product (Gascoin et al. 2019, doi:10.5194/essd-11-493-2019): of
# bands of 100 m, two below the lowest with more than a tenth of its clear pixels certain snow
# (index above 0.4, red above 0.2), if more than a thousandth of all of them are. Newer versions
# of its program, Let-it-snow, skip bands of which no more than a tenth is clear (fclear_lim): a few
# pixels in a gap between clouds, or the edge of one, would set the line.
_LINE_BAND: Final = 100.0
_LINE_BELOW: Final = 2
_LINE_SHARE: Final = 0.1
_LINE_CLEAR: Final = 0.1
_LINE_TOTAL: Final = 0.001
_LINE_INDEX: Final = 0.4
_LINE_RED: Final = 0.2

UNKNOWN: Final = 255  # where a map of water does not say


def surface_sets(
    view: View,
    *,
    below: NDArray[np.bool_] | None = None,
    water_map: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Return which of clear, snow and water each pixel can be if it is no cloud and no shadow.

    Without the bands of an index its class stays open, but for snow where there are leaves or the
    ground is dark. It stays open too where one of the bands has no data.

    Args:
        view: the image.
        below: (rows, columns) where there can be no snow, being below the snow line.
        water_map: (rows, columns) 1 = water, 0 = none, `UNKNOWN` = the index has to tell. Water of
            the map may be frozen, where the snow index allows it; where the index is certain of
            water that the map does not know, both stay open.

    Returns:
        (rows, columns) uint8 sets of classes; all of `SURFACE` where nothing was seen.
    """
    green, red, nir, swir = (view.band(name) for name in ("green", "red", "nir", "swir16"))
    shape = view.image.shape[1:]
    no = np.zeros(shape, bool)
    snow, snow_possible = no, ~no
    water, water_possible = no, ~no
    if green is not None and nir is not None and swir is not None:
        index = _normalised(green, swir)
        snow = (index > _SNOW_INDEX[1]) & (nir > _SNOW_NIR[1])
        snow_possible = (index > _SNOW_INDEX[0]) & (nir > _SNOW_NIR[0]) | _unknown(green, nir, swir)
    elif green is not None and red is not None and nir is not None:
        leaves = _normalised(nir, red) > _SNOW_LEAVES
        bright = (green > _SNOW_GREEN) & (nir > _SNOW_NIR[0])
        snow_possible = bright & ~leaves | _unknown(green, red, nir)
    if green is not None and nir is not None:
        index = _normalised(green, nir)
        water = (index > _WATER_INDEX[1]) & (nir < _WATER_NIR[0])
        water_possible = (index > _WATER_INDEX[0]) & (nir < _WATER_NIR[1]) | _unknown(green, nir)
    elif green is not None and swir is not None:
        index = _normalised(green, swir)
        water = (index > _WATER_INDEX[1]) & (green < _WATER_GREEN[0])
        dark = green < _WATER_GREEN[1]
        water_possible = (index > _WATER_INDEX[0]) & dark | _unknown(green, swir)
    if swir is not None:
        water = water & (swir < _WATER_SWIR[0])
        water_possible = water_possible & ((swir < _WATER_SWIR[1]) | _unknown(swir))
    if below is not None:
        snow, snow_possible = snow & ~below, snow_possible & ~below
    sets = np.where(snow | water, 0, _CLEAR)
    sets = sets | np.where(snow_possible & ~water, _SNOW, 0)
    sets = sets | np.where(water_possible & ~snow, _WATER, 0)
    if water_map is not None:
        sets = np.where(water_map == 1, sets & _SNOW | _WATER, sets)
        sets = np.where(
            water_map == 0, np.where(sets == _WATER, _CLEAR | _WATER, sets & ~_WATER), sets
        )
    return np.where(unseen(view.image, view.bands), SURFACE, sets).astype(np.uint8)


def snow_line(view: View, clear: NDArray[np.bool_]) -> float | None:
    """Return the elevation in metres below which an image has no snow, as far as it tells.

    Args:
        view: with the bands ``elevation`` (kilometres), green, red and swir16.
        clear: (rows, columns) where the sky is clear.

    Returns:
        None without these bands, or for an image with next to no snow, or none in a band of
        elevation that is clear enough to tell.
    """
    green, red, swir, height = (view.band(n) for n in ("green", "red", "swir16", "elevation"))
    if green is None or red is None or swir is None or height is None:
        return None
    seen = ~_unknown(height, green, red, swir)
    known = clear & seen
    snow = known & (_normalised(green, swir) > _LINE_INDEX) & (red > _LINE_RED)
    if not known.any() or snow.sum() / known.sum() <= _LINE_TOTAL:
        return None
    bands = np.floor(height[seen] * 1000 / _LINE_BAND).astype(int)
    lowest = int(bands.min())
    pixels, clears, snows = (
        np.bincount(bands - lowest, weights=chosen[seen]) for chosen in (seen, known, snow)
    )
    told = (clears > _LINE_CLEAR * pixels) & (snows > _LINE_SHARE * clears)
    snowy = np.flatnonzero(told)
    return None if len(snowy) == 0 else (lowest + int(snowy[0]) - _LINE_BELOW) * _LINE_BAND


def _unknown(*bands: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where a band has no data: comparisons with NaN are all false, and would rule out."""
    found: NDArray[np.bool_] = np.logical_or.reduce([np.isnan(band) for band in bands])
    return found


def _normalised(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    total = one + other
    safe = np.where(np.abs(total) > 1e-6, total, np.float32(1e-6))
    found: NDArray[np.float32] = np.divide(one - other, safe, dtype=np.float32)
    return found
