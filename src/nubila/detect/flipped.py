"""The mean of what a detector makes of an image and of its turns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.detect.detector import Detection, Detector, Output, View

__all__ = ["FLIPS", "Flipped", "flipped"]

# Turns of an image: transposed first or not, then mirrored along these of its last two axes.
FLIPS: Final[dict[str, tuple[tuple[bool, tuple[int, ...]], ...]]] = {
    "none": ((False, ()),),
    "hflip": ((False, ()), (False, (-1,))),
    "vflip": ((False, ()), (False, (-2,))),
    "four": ((False, ()), (False, (-1,)), (False, (-2,)), (False, (-2, -1))),
}
FLIPS["eight"] = FLIPS["four"] + tuple((True, axes) for _, axes in FLIPS["four"])


@dataclass(frozen=True)
class Flipped:
    """A detector whose answer is the mean over turns of the image.

    Attributes:
        detector: runs once for each turn.
        flips: a key of `FLIPS`.
    """

    detector: Detector
    flips: str

    @property
    def name(self) -> str:
        """What reports call it, and the command line too."""
        return f"{self.detector.name}+{self.flips}"

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What it tells apart."""
        return self.detector.outputs

    def lacks(self, view: View) -> str:
        """Return what it would need to judge a view, in words; empty if it can."""
        return self.detector.lacks(view)

    def detect(self, view: View) -> Detection:
        """Judge a view and its turns; a pixel that is not judged in one of them is not judged.

        Raises:
            BandError: the detector cannot; the message says what it lacks.
        """
        turns = FLIPS[self.flips]
        graded = True
        total: NDArray[np.float32] | None = None
        for transposed, axes in turns:
            found = self.detector.detect(_turned(view, transposed, axes))
            graded = graded and found.graded
            decision = found.decision
            back = np.flip(found.probabilities, axes)
            back = back.swapaxes(-2, -1) if transposed else back
            total = back.copy() if total is None else np.add(total, back, out=total)
        assert total is not None  # there is always the image as it is
        return Detection(total / np.float32(len(turns)), self.outputs, graded, decision)


def flipped(detector: Detector, flips: str) -> Detector:
    """Return a detector with these turns, or as it is where there is none but the image itself."""
    return detector if flips == "none" else Flipped(detector, flips)


def _turned(view: View, transposed: bool, axes: tuple[int, ...]) -> View:
    def turn(values: NDArray[Any]) -> NDArray[Any]:
        across = values.swapaxes(-2, -1) if transposed else values
        return np.ascontiguousarray(np.flip(across, axes))

    own = None if view.own_mask is None else turn(view.own_mask)
    return replace(view, image=turn(view.image), own_mask=own)
