"""How far probabilities can be taken at their word, over samples: errors and reliability plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nubila.classes import SCORED
from nubila.datasets.reliability import BINS, expected_calibration_error
from nubila.evaluate.counts import rounded
from nubila.evaluate.tally import SampleTally

__all__ = ["calibration"]


def calibration(samples: Sequence[SampleTally]) -> dict[str, Any]:
    """Return, for each class with counts, the error and the bins of its reliability plot.

    Returns:
        ``{"cloud": {"ece": 0.02, "pixels": n, "bins": [{"from": 0.0, "to": 0.05, "pixels": n,
        "probability": mean, "frequency": share}, ...]}, ...}``; empty bins are left out.
    """
    tables: dict[str, NDArray[np.float64]] = {}
    for sample in samples:
        for name, table in sample.reliability.items():
            tables[name] = tables[name] + table if name in tables else table
    return {
        name: {
            "ece": rounded(expected_calibration_error(tables[name])),
            "pixels": int(tables[name][0].sum()),
            "bins": [_bin(number, column) for number, column in enumerate(tables[name].T)
                     if column[0]],
        }
        for name in SCORED
        if name in tables
    }  # fmt: skip


def _bin(number: int, column: NDArray[np.float64]) -> dict[str, Any]:
    pixels, probability, positive = column
    return {
        "from": number / BINS,
        "to": (number + 1) / BINS,
        "pixels": int(pixels),
        "probability": rounded(probability / pixels),
        "frequency": rounded(positive / pixels),
    }
