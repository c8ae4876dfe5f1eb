"""How far probabilities can be taken at their word: counts by probability, and the error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import SCORED

__all__ = ["BINS", "expected_calibration_error", "reliability"]

BINS: Final = 20


def reliability(
    label: NDArray[np.uint8],
    probabilities: NDArray[np.float32],
    outputs: Sequence[int],
    names: Iterable[str],
) -> dict[str, NDArray[np.float64]]:
    """Count, for each class, how often pixels of each predicted probability have it.

    The probability of a class is the sum of those of the outputs that stand for nothing else.

    Args:
        label: (rows, columns) sets of allowed classes; 0 = not counted.
        probabilities: (outputs, rows, columns); NaN = not counted.
        outputs: the set of classes that each output stands for.
        names: of the classes, from `classes.SCORED`; those that no output stands for are left out.

    Returns:
        Class -> (3, 20): pixels, the sum of their probabilities, and pixels that have the class,
        in bins of equal width from 0 to 1.
    """
    found = {}
    judged = (label != 0) & ~np.isnan(probabilities[0])
    for name in names:
        wanted = SCORED[name]
        places = [n for n, s in enumerate(outputs) if s and s & ~wanted == 0]
        if not places:
            continue
        positive, negative = label & ~np.uint8(wanted) == 0, label & wanted == 0
        decided = judged & (positive | negative)
        probability = probabilities[places[0]][decided]
        for place in places[1:]:
            probability = probability + probabilities[place][decided]
        # A bin holds its lower edge; 1 belongs to the last one.
        bins = np.minimum((probability * BINS).astype(np.intp), BINS - 1)
        found[name] = np.stack(
            [
                np.bincount(bins, minlength=BINS).astype(np.float64),
                np.bincount(bins, probability, BINS),
                np.bincount(bins[positive[decided]], minlength=BINS).astype(np.float64),
            ]
        )
    return found


def expected_calibration_error(table: NDArray[np.float64]) -> float | None:
    """Return the mean distance of probability and frequency, bins weighted by their pixels.

    Class by class, as Kull et al. 2019 (arXiv:1910.12656) have it; None for no pixel.

    Args:
        table: (3, bins) as in `reliability`.
    """
    pixels, probability, positive = table
    return float(np.abs(probability - positive).sum() / pixels.sum()) if pixels.any() else None
