"""Pixels near a boundary of the label, which a score may leave out."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nubila.errors import InputError

__all__ = ["Buffer", "near_boundary", "parse_buffer"]


@dataclass(frozen=True)
class Buffer:
    """How far from a boundary pixels are left out, in pixels or in metres."""

    distance: float
    unit: Literal["px", "m"] = "px"

    def __str__(self) -> str:
        return f"{self.distance:g} {self.unit}"


def parse_buffer(text: str) -> Buffer | None:
    """Read ``2`` or ``2px`` (pixels) or ``60m`` (metres); 0 gives None.

    Raises:
        InputError: it is none of these.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(px|m|)\s*", text)
    if match is None:
        raise InputError(f"buffer {text!r}: expected pixels as 2 or 2px, or metres as 60m")
    distance = float(match[1])
    return Buffer(distance, "m" if match[2] == "m" else "px") if distance else None


def near_boundary(label: NDArray[np.uint8], radius: float) -> NDArray[np.bool_]:
    """Tell which pixels lie within a radius of a boundary between two labels.

    A pixel is on a boundary if one of its four neighbours has another label; ignored pixels have
    no boundary. With a radius of 1 just those pixels are left out, with 2 also their neighbours.

    Args:
        label: (rows, columns) sets of allowed classes; 0 = ignored.
        radius: pixels, from 1 up; distances are Euclidean, between the pixels' centres, counted
            from the far side of the boundary.
    """
    edge = np.zeros(label.shape, bool)
    for one, other in (
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
    ):
        differs = (label[one] != label[other]) & (label[one] != 0) & (label[other] != 0)
        edge[one] |= differs
        edge[other] |= differs
    return _grown(edge, radius - 1)


def _grown(there: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Dilate by a disc: for each distance across, grow along the rows and shift to both sides."""
    if radius < 1 or not there.any():
        return there
    grown = np.zeros_like(there)
    for across in range(min(math.floor(radius), there.shape[1] - 1) + 1):
        column = _grown_rows(there, math.floor(math.sqrt(radius**2 - across**2) + 1e-9))
        grown[:, across:] |= column[:, : column.shape[1] - across]
        grown[:, : column.shape[1] - across] |= column[:, across:]
    return grown


def _grown_rows(there: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Spread each True over `reach` rows up and down, twice as far with each pass."""
    done = 0
    while done < reach:
        # No further: beside an edge half of what was grown is lost, and a gap would be left.
        step = min(done + 1, reach - done)
        grown = there.copy()
        grown[step:] |= there[:-step]
        grown[:-step] |= there[step:]
        there, done = grown, done + step
    return there
