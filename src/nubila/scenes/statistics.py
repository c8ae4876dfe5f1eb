"""Numbers of a whole scene by which a normalisation brings every part of it alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.errors import InputError, nearest

__all__ = ["SCENE_STATISTICS", "scene_statistics"]

SCENE_STATISTICS: Final = ("minimum", "maximum", "p2", "p98", "mean", "standard deviation")


def scene_statistics(
    image: NDArray[Any], names: Sequence[str] = SCENE_STATISTICS
) -> NDArray[np.float32]:
    """Return statistics of each band over its pixels with data.

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
    for place, band in enumerate(image):
        values = band[np.isfinite(band)].astype(np.float64)
        if values.size:
            found[:, place] = [_statistic(values, name) for name in names]
    return found


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
