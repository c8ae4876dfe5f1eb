"""Whether values that come without a scale can be reflectance."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.raster.grid import Window
from nubila.scenes.band import RasterSource

__all__ = ["are_reflectance", "in_percent", "sample_of", "too_high", "too_low"]

_MOST_REFLECTANCE: Final = 10.0  # nothing on Earth, glint included, comes near 1000 %
_MOST_PERCENT: Final = 150.0  # in percent, snow and cloud that face a low sun reach about this
_LEAST_REFLECTANCE: Final = -1.0  # atmospheric correction goes below 0, but not by so much
_SAMPLE: Final = 128  # rows and columns of the blocks that are looked at


def sample_of(source: RasterSource) -> NDArray[Any]:
    """Return the values of nine blocks of a source's coarsest level, in one dimension."""
    factor = max(source.factors)
    rows, columns = (-(-n // factor) for n in source.shape)
    values = []
    for row in sorted({0, (rows - _SAMPLE) // 2, rows - _SAMPLE}):
        for column in sorted({0, (columns - _SAMPLE) // 2, columns - _SAMPLE}):
            place = Window(row, column, _SAMPLE, _SAMPLE).intersect(Window.whole((rows, columns)))
            values.append(source.read(factor, place).ravel())
    return np.concatenate(values)


def too_high(values: NDArray[Any], nodata: float | None) -> float | None:
    """Return the 99th percentile of the finite values if no reflectance is so high, else None.

    Args:
        values: of any shape; masked ones do not count.
        nodata: value that does not count.
    """
    found = _finite(values, nodata)
    if not found.size:
        return None
    high = float(np.percentile(found, 99))
    return high if high > _MOST_REFLECTANCE else None


def are_reflectance(values: NDArray[Any], nodata: float | None) -> bool:
    """Tell whether floating-point values look like reflectance and not like counts.

    They are no higher, and not all whole numbers, as counts are unless they were resampled. Args
    as for `too_high`.
    """
    found = _finite(values, nodata)
    return bool((found != np.rint(found)).any()) and too_high(found, nodata) is None


def in_percent(high: float) -> bool:
    """Tell whether values that `too_high` found to be this high are likely percent."""
    return high <= _MOST_PERCENT


def too_low(values: NDArray[Any], nodata: float | None) -> float | None:
    """Return the lowest finite value if no reflectance is so low, else None.

    It most likely means no data, such as -9999, and would be judged as if it were ground. Args as
    for `too_high`.
    """
    found = _finite(values, nodata)
    low = float(found.min()) if found.size else 0.0
    return low if low <= _LEAST_REFLECTANCE else None


def _finite(values: NDArray[Any], nodata: float | None) -> NDArray[Any]:
    found = np.ma.compressed(values)
    kept: NDArray[Any] = found[np.isfinite(found) & (found != nodata)]
    return kept
