"""Whether a mask would fit its image better if it were flipped, turned or shifted.

Everything is done on a coarse copy: a shift that does not show there is none of a whole mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Alignment", "align", "coarse", "shifted_correlation"]

_SIDE: Final = 64
# A shift has to leave so much of the smaller one's pixels, and of its variance, in the overlap.
_OVERLAP: Final = 0.6
_VARIANCE: Final = 0.5
_FURTHEST: Final = 1 / 3
_TINY: Final = 1e-6

_Field = NDArray[np.float64]


@dataclass(frozen=True)
class Alignment:
    """How well a mask fits a field, as it is and at its best.

    Attributes:
        own: Pearson's correlation as it is; NaN where one of the two is of one value.
        best: the greatest correlation over flips, turns and shifts.
        turn: what the best does to the mask first: ``""``, ``flipped left to right`` ...
        shift: rows and columns that the best then moves the mask down and to the right, in pixels
            of the sample.
    """

    own: float
    best: float
    turn: str = ""
    shift: tuple[int, int] = (0, 0)

    @property
    def gain(self) -> float:
        """By how much the best is better; 0 where nothing can be said."""
        return 0.0 if np.isnan(self.own) else self.best - self.own

    @property
    def words(self) -> str:
        """What the best does, in words."""
        rows, columns = self.shift
        moved = f"shifted by {rows} rows and {columns} columns" if rows or columns else ""
        return " and ".join(filter(None, (self.turn, moved)))


# The seven ways to lay a square otherwise; of a rectangle only those that keep its shape.
_TURNS: Final = {
    "": (False, 0),
    "flipped left to right": (True, 0),
    "flipped top to bottom": (True, 2),
    "turned by 180 degrees": (False, 2),
    "turned by 90 degrees": (False, 1),
    "turned by 270 degrees": (False, 3),
    "flipped along the diagonal": (True, 1),
    "flipped along the other diagonal": (True, 3),
}


def align(mask: NDArray[np.floating], field: NDArray[np.floating]) -> Alignment:
    """Find the flip, turn or shift after which a mask fits a field best.

    A flip or turn is tried without a shift, for the two together would fit anything.

    Args:
        mask: (rows, columns), 1 for cloud and 0 for not, NaN where it does not say.
        field: (rows, columns), the greater the more like cloud, NaN for no data.
    """
    step = max(1, -(-max(mask.shape) // _SIDE))
    small, against = coarse(mask, step), coarse(field, step)
    own = _correlation(small, against)
    if np.isnan(own):
        return Alignment(own, own)
    found = Alignment(own, own)
    for name, (mirrored, quarters) in _TURNS.items():
        turned = np.rot90(small[:, ::-1] if mirrored else small, quarters)
        if not name or turned.shape != small.shape:
            continue
        value = _correlation(turned, against)
        if value > found.best:
            found = Alignment(own, value, turn=name)
    values = shifted_correlation(small, against)
    if np.nanmax(values, initial=-1) > found.best:
        place = np.unravel_index(int(np.nanargmax(values)), values.shape)
        reach = (values.shape[0] // 2, values.shape[1] // 2)
        down, right = (int(p) - r for p, r in zip(place, reach, strict=True))
        found = Alignment(own, float(values[place]), shift=(down * step, right * step))
    return found


def coarse(field: NDArray[np.floating], step: int) -> _Field:
    """Return means over cells of `step` x `step` pixels, NaN where fewer than half have a value."""
    rows, columns = (n // step * step for n in field.shape)
    cells = field[:rows, :columns].astype(np.float64)
    cells = cells.reshape(rows // step, step, columns // step, step)
    there = np.isfinite(cells)
    number = there.sum(axis=(1, 3))
    total = np.where(there, cells, 0).sum(axis=(1, 3))
    mean: _Field = np.where(2 * number >= step * step, total / np.maximum(number, 1), np.nan)
    return mean


def shifted_correlation(mask: _Field, field: _Field) -> _Field:
    """Return Pearson's correlation over the overlap for each shift of the mask.

    By Fourier transforms (Padfield 2012, doi:10.1109/TIP.2011.2181402).

    Returns:
        (2 a + 1, 2 b + 1), of shifts by -a .. a rows and -b .. b columns, a third of the sides;
        NaN where too little overlaps, or too little of what varies.
    """
    shape = tuple(m + f - 1 for m, f in zip(mask.shape, field.shape, strict=True))

    def spectrum(values: _Field) -> NDArray[np.complex128]:
        return np.fft.rfft2(values, shape)

    def summed(one: NDArray[np.complex128], other: NDArray[np.complex128]) -> _Field:
        return np.fft.irfft2(one * np.conj(other), shape)

    parts = []
    for values in (field, mask):
        there = np.isfinite(values)
        filled = np.where(there, values - np.nanmean(values), 0.0)
        parts.append((spectrum(there.astype(float)), spectrum(filled), spectrum(filled**2)))
    (f_there, f_sum, f_square), (m_there, m_sum, m_square) = parts
    number = np.maximum(np.round(summed(f_there, m_there)), 1)
    ours, theirs = summed(f_there, m_sum), summed(f_sum, m_there)
    joint = summed(f_sum, m_sum) - ours * theirs / number
    spread = summed(f_there, m_square) - ours**2 / number
    other = summed(f_square, m_there) - theirs**2 / number
    usable = number >= _OVERLAP * min(np.isfinite(mask).sum(), np.isfinite(field).sum())
    for variance, values in ((spread, mask), (other, field)):
        usable &= variance > max(_VARIANCE * np.nanvar(values) * np.isfinite(values).sum(), _TINY)
    found = np.full(shape, np.nan)
    np.divide(joint, np.sqrt(np.maximum(spread * other, _TINY**2)), out=found, where=usable)
    a, b = (int(side * _FURTHEST) for side in mask.shape)
    middle: _Field = np.roll(found, (a, b), axis=(0, 1))[: 2 * a + 1, : 2 * b + 1]
    return middle


def _correlation(one: _Field, other: _Field) -> float:
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < 2 or one[both].std() < _TINY or other[both].std() < _TINY:
        return float("nan")
    return float(np.corrcoef(one[both], other[both])[0, 1])
