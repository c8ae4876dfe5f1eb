"""Whether values that come without a scale can be reflectance."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["too_high"]

_MOST_REFLECTANCE: Final = 10.0  # nothing on Earth, glint included, comes near 1000 %


def too_high(values: NDArray[Any], nodata: float | None) -> float | None:
    """Return the 99th percentile of the finite values if no reflectance is so high, else None.

    Args:
        values: of any shape; masked ones do not count.
        nodata: value that does not count.
    """
    found = np.ma.compressed(values)
    found = found[np.isfinite(found) & (found != nodata)]
    if not found.size:
        return None
    high = float(np.percentile(found, 99))
    return high if high > _MOST_REFLECTANCE else None
