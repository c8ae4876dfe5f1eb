"""Numbers of a whole scene by which a normalisation may bring every part of it alike."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["SCENE_STATISTICS", "scene_statistics"]

# The order of the first axis of what `scene_statistics` gives.
SCENE_STATISTICS: Final = ("minimum", "maximum", "p2", "p98", "mean", "standard deviation")


def scene_statistics(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the statistics of each band over its pixels with data.

    Args:
        image: (bands, rows, columns), NaN = no data.

    Returns:
        (len(SCENE_STATISTICS), bands) float32; NaN for a band without any data. Percentiles are
        interpolated linearly, the standard deviation is the population's.
    """
    found = np.full((len(SCENE_STATISTICS), len(image)), np.nan, np.float32)
    for place, band in enumerate(image):
        values = band[np.isfinite(band)]
        if values.size:
            low, high = np.percentile(values, (2, 98))
            mean, spread = values.mean(dtype=np.float64), values.std(dtype=np.float64)
            found[:, place] = values.min(), values.max(), low, high, mean, spread
    return found
