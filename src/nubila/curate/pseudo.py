"""Labels that detectors make: the mean of several and of flips, and only where it is sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.detect import Detection, Detector, View
from nubila.errors import InputError

__all__ = ["FLIPS", "mean_detection", "sure_sets", "sure_share"]

# Axes of (bands, rows, columns) that each view of an image is turned over.
FLIPS: Final[dict[str, tuple[tuple[int, ...], ...]]] = {
    "none": ((),),
    "hflip": ((), (2,)),
    "vflip": ((), (1,)),
    "four": ((), (1,), (2,), (1, 2)),
}


def mean_detection(detectors: Sequence[Detector], view: View, flips: str = "none") -> Detection:
    """Return the mean of what detectors make of a view and of its flips.

    Args:
        detectors: that tell the same outputs apart; those that lack a band are left out.
        view: with any bands.
        flips: a key of `FLIPS`.

    Raises:
        InputError: detectors differ in their outputs.
        BandError: none of them can judge the view.
    """
    for detector in detectors[1:]:
        if detector.outputs != detectors[0].outputs:
            raise InputError(
                f"{detectors[0].name} and {detector.name} tell different classes apart; their "
                f"mean says nothing. Take detectors of one kind."
            )
    able = [d for d in detectors if not d.lacks(view)] or list(detectors[:1])
    total: NDArray[np.float32] | None = None
    for detector in able:
        for axes in FLIPS[flips]:
            turned = replace(view, image=np.ascontiguousarray(np.flip(view.image, axes)))
            found = np.flip(detector.detect(turned).probabilities, axes)
            total = found.copy() if total is None else np.add(total, found, out=total)
    assert total is not None  # there is at least one detector and one flip
    total /= np.float32(len(able) * len(FLIPS[flips]))
    return Detection(total, able[0].outputs)


def sure_sets(detection: Detection, least: float = 0.1) -> NDArray[np.uint8]:
    """Return the classes that stay possible: those of outputs with a probability of `least`.

    With three outputs and 0.1, a pixel of 0.95, 0.03 and 0.02 is certain, one of 0.6, 0.38 and
    0.02 is known not to be the third, and both teach just that.

    Returns:
        (rows, columns) uint8 sets of classes; 0 where nothing is ruled out or judged.
    """
    possible = detection.probabilities >= least
    sets = np.zeros(possible.shape[1:], np.uint8)
    for output, allowed in zip(detection.outputs, possible, strict=True):
        sets |= np.where(allowed, np.uint8(output.bits), np.uint8(0))
    sets[possible.all(axis=0) | ~detection.judged] = 0
    return sets


def sure_share(detection: Detection, least: float = 0.1) -> float:
    """Return the share of judged pixels of which but one output stays possible; 0 for none."""
    certain = (detection.probabilities >= least).sum(axis=0) == 1
    judged = int(detection.judged.sum())
    return float((certain & detection.judged).sum() / judged) if judged else 0.0
