"""Labels that detectors make: the mean of several and of flips, and only where it is sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES, class_set
from nubila.detect import Detection, Detector, Output, View, flipped
from nubila.errors import InputError
from nubila.infer.decide import kinds_of, likeliest

__all__ = [
    "UNSURE",
    "Sureness",
    "Unsure",
    "mean_detection",
    "merged",
    "sure_pixels",
    "sure_sets",
    "sure_share",
]

Unsure = Literal["open", "ignore", "likeliest"]
UNSURE: Final[tuple[Unsure, ...]] = get_args(Unsure)

_ALL: Final = class_set(CLASS_NAMES.values())


@dataclass(frozen=True)
class Sureness:
    """When a pixel is sure, and what becomes of it where it is not.

    Attributes:
        low: an output below this probability is ruled out.
        high: a pixel is sure where every output but one is ruled out and that one is above this.
        unsure: pixels that are not sure keep the classes that are not ruled out (``open``), have no
            label (``ignore``), or get the most probable output (``likeliest``).
        classes: sets of classes as bits that are told apart, with what is in none of them as one
            more; empty for all that the detectors tell apart.
    """

    low: float = 0.1
    high: float = 0.0
    unsure: Unsure = "open"
    classes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: a threshold is no probability, or a class is in two sets.
        """
        if not (0 <= self.low <= 1 and 0 <= self.high <= 1):
            raise InputError(
                f"a pixel is sure between probabilities: expected 0 to 1, got {self.low:g} and "
                f"{self.high:g}"
            )
        seen = 0
        for bits in self.classes:
            if bits & seen or not bits:
                raise InputError(f"sets of classes to be sure of have to be apart: {self.classes}")
            seen |= bits
        if self.classes and seen == _ALL:
            raise InputError("sets of classes to be sure of must leave some class to the rest")


def mean_detection(detectors: Sequence[Detector], view: View, flips: str = "none") -> Detection:
    """Return the mean of what detectors make of a view and of its flips.

    Args:
        detectors: that tell the same outputs apart; those that lack a band are left out.
        view: with any bands.
        flips: a key of `nubila.detect.FLIPS`.

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
        one = flipped(detector, flips).detect(view)
        found, decision = one.probabilities, one.decision
        total = found.copy() if total is None else np.add(total, found, out=total)
    assert total is not None  # there is at least one detector
    return Detection(total / np.float32(len(able)), able[0].outputs, decision=decision)


def merged(detection: Detection, classes: Sequence[int]) -> Detection:
    """Return a detection that tells these sets of classes apart, and all the rest as one.

    Args:
        detection: whose outputs each lie in one of the sets, or in none.
        classes: sets as bits, apart from one another; empty for the detection as it is.

    Raises:
        InputError: an output lies partly in a set.
    """
    if not classes:
        return detection
    rest = _ALL & ~sum(classes)
    sets = [rest, *classes]
    planes = []
    for bits in sets:
        inside = [k for k, output in enumerate(detection.outputs) if output.bits & ~bits == 0]
        planes.append(detection.probabilities[inside].sum(axis=0, dtype=np.float32))
    for output in detection.outputs:
        if not any(output.bits & ~bits == 0 for bits in sets):
            raise InputError(
                f"output {'|'.join(output.stands_for)} is partly in the classes to be sure of; "
                f"name sets that hold all of it or nothing"
            )
    found = np.stack(planes)
    found[:, ~detection.judged] = np.nan
    return Detection(found, tuple(_output(bits) for bits in sets), detection.graded)


def sure_sets(detection: Detection, sureness: Sureness | None = None) -> NDArray[np.uint8]:
    """Return the classes that stay possible: those of outputs that are not ruled out.

    With three outputs and 0.1, a pixel of 0.95, 0.03 and 0.02 is certain, one of 0.6, 0.38 and
    0.02 is known not to be the third, and both teach just that.

    Returns:
        (rows, columns) uint8 sets of classes; 0 where nothing is ruled out or judged.
    """
    sureness = sureness or Sureness()
    detection = merged(detection, sureness.classes)
    possible = detection.probabilities >= sureness.low
    if sureness.unsure == "likeliest":
        kinds = kinds_of([output.code for output in detection.outputs], detection.decision)
        _, best = likeliest(np.nan_to_num(detection.probabilities), kinds)
        alone = np.arange(len(possible))[:, None, None] == best
        possible = np.where(_sure(detection, sureness), possible, alone)
    sets = np.zeros(possible.shape[1:], np.uint8)
    for output, allowed in zip(detection.outputs, possible, strict=True):
        sets |= np.where(allowed, np.uint8(output.bits), np.uint8(0))
    if sureness.unsure == "ignore":
        sets[~_sure(detection, sureness)] = 0
    sets[possible.all(axis=0) | ~detection.judged] = 0
    return sets


def sure_pixels(detection: Detection, sureness: Sureness | None = None) -> NDArray[np.bool_]:
    """Return (rows, columns): where a detection is sure."""
    sureness = sureness or Sureness()
    return _sure(merged(detection, sureness.classes), sureness)


def sure_share(detection: Detection, sureness: Sureness | None = None) -> float:
    """Return the share of judged pixels that are sure; 0 for none."""
    judged = int(detection.judged.sum())
    return float(sure_pixels(detection, sureness).sum() / judged) if judged else 0.0


def _sure(detection: Detection, sureness: Sureness) -> NDArray[np.bool_]:
    alone = (detection.probabilities >= sureness.low).sum(axis=0) == 1
    highest = np.nan_to_num(detection.probabilities).max(axis=0) > sureness.high
    sure: NDArray[np.bool_] = alone & highest & detection.judged
    return sure


def _output(bits: int) -> Output:
    codes = [code for code in CLASS_NAMES if bits >> code & 1]
    return Output(codes[0], tuple(CLASS_NAMES[code] for code in codes))
