"""Numbers of a whole scene by which a normalisation brings every part of it alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.errors import InputError, nearest
from nubila.raster.resample import plan_axis, resample

__all__ = ["SCENE_STATISTICS", "coarsening", "scene_statistics"]

SCENE_STATISTICS: Final = ("minimum", "maximum", "p2", "p98", "mean", "standard deviation")

# Pixels of the longest side, so that a scene's 120 million need not all be decoded before its mask.
_LONGEST: Final = 1024


def coarsening(shape: Sequence[int]) -> float:
    """Return how many pixels wide the pixels are that the statistics of an image are taken of.

    Means of areas vary less than pixels, so training and inference have to take the same: those
    of at most 1024 on the longest side, and at least one on the shorter.

    Args:
        shape: rows and columns.
    """
    factor = min(max(shape) / _LONGEST, float(min(shape)))
    return factor if factor > 1.01 else 1.0


def scene_statistics(
    image: NDArray[Any], names: Sequence[str] = SCENE_STATISTICS
) -> NDArray[np.float32]:
    """Return statistics of each band over its pixels with data, of `coarsening` where it is large.

    Args:
        image: (bands, rows, columns) of any float type, NaN = no data.
        names: which of `SCENE_STATISTICS`, in the order of the rows of the answer.

    Returns:
        (len(names), bands) float32; NaN for a band without any data. Percentiles are
        interpolated linearly, the standard deviation is the population's.

    Raises:
        InputError: a name is unknown; the message suggests the nearest.
    """
    for name in names:
        if name not in SCENE_STATISTICS:
            known = ", ".join(SCENE_STATISTICS)
            raise InputError(
                f"unknown statistic {name!r}{nearest(name, SCENE_STATISTICS)} (known: {known})"
            )
    found = np.full((len(names), len(image)), np.nan, np.float32)
    for place, band in enumerate(_coarse(image)):
        values = band[np.isfinite(band)].astype(np.float64)
        if values.size:
            found[:, place] = [_statistic(values, name) for name in names]
    return found


def _coarse(image: NDArray[Any]) -> Iterable[NDArray[Any]]:
    """Return the bands, each by area means where the image is large."""
    factor = coarsening(image.shape[1:])
    if factor == 1 or not len(image):
        return image
    rows, columns = (
        plan_axis(0, math.ceil(n / factor - 1e-3), ratio=factor, offset=0.0, length=n)
        for n in image.shape[1:]
    )
    return (resample(band.astype(np.float32), rows, columns) for band in image)


def _statistic(values: NDArray[np.float64], name: str) -> float:
    match name:
        case "minimum":
            return float(values.min())
        case "maximum":
            return float(values.max())
        case "mean":
            return float(values.mean())
        case "standard deviation":
            return float(values.std())
        case _:
            return float(np.percentile(values, float(name[1:])))
