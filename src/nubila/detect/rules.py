"""Detectors that are a rule: all clear, all cloud, and bright and white."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES, NO_DATA
from nubila.datasets.sample import unseen
from nubila.detect.detector import Detection, Output, View, as_detection, refusal

__all__ = ["AllOne", "Bright"]

_VISIBLE: Final = ("blue", "green", "red")
_CLEAR: Final = Output(0, tuple(CLASS_NAMES[code] for code in (0, 3, 4, 5)))
_CLOUD: Final = Output(1, (CLASS_NAMES[1], CLASS_NAMES[2]))

# The basic test of Fmask for possible clouds (Zhu & Woodcock 2012, doi:10.1016/j.rse.2011.10.028,
# equations 2 and 3), and a least brightness in the place of its temperature test.
_WHITEST: Final = 0.7
_HAZE: Final = 0.08
_DARKEST: Final = 0.15


@dataclass(frozen=True)
class AllOne:
    """Calls every pixel cloud, or every pixel clear: what scores have to be better than.

    Attributes:
        cloud: which of the two.
    """

    cloud: bool

    @property
    def name(self) -> str:
        """What reports call it."""
        return "all-cloud" if self.cloud else "all-clear"

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What it tells apart."""
        return _CLEAR, _CLOUD

    def lacks(self, _view: View) -> str:
        """Return nothing: any view will do."""
        return ""

    def detect(self, view: View) -> Detection:
        """Judge a view: every pixel that some reflective band has seen."""
        code = (_CLOUD if self.cloud else _CLEAR).code
        empty = unseen(view.image, view.bands)
        return as_detection(_codes(np.ones(empty.shape, bool), empty, code), self.outputs)


@dataclass(frozen=True)
class Bright:
    """Bright, white and hazier in blue than in red: the rule that everybody writes first."""

    @property
    def name(self) -> str:
        """What reports call it."""
        return "brightness"

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What it tells apart."""
        return _CLEAR, _CLOUD

    def lacks(self, view: View) -> str:
        """Return what it would need to judge a view, in words; empty if it can."""
        return view.missing(_VISIBLE)

    def detect(self, view: View) -> Detection:
        """Judge a view.

        Raises:
            BandError: it cannot; the message says what it lacks.
        """
        visible = view.stack(_VISIBLE)
        if visible is None:
            raise refusal(self, view)
        mean = visible.mean(axis=0)
        whiteness = np.abs(visible - mean).sum(axis=0) / np.maximum(mean, 1e-6)
        hazy = visible[0] - 0.5 * visible[2] > _HAZE
        cloud = (whiteness < _WHITEST) & hazy & (mean > _DARKEST)
        return as_detection(_codes(cloud, np.isnan(mean), 1), self.outputs)


def _codes(cloud: NDArray[np.bool_], empty: NDArray[np.bool_], code: int) -> NDArray[np.uint8]:
    codes = np.where(cloud, np.uint8(code), np.uint8(0))
    codes[empty] = NO_DATA
    return codes
