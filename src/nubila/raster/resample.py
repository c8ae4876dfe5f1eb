"""Resampling that knows the global pixel: a window gives what the whole raster would have given.

Coarser by area average, finer by linear interpolation, both separable. Taps and weights depend on
a pixel's place in the whole grid and never on the window asked for, so tiling leaves no trace.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Axis", "plan_axis", "resample"]

# Where the pattern of taps repeats after so few target pixels (20 m to 10 m: after 2; 20 m to
# 30 m: after 2), they are read as slices, which is several times faster than by index.
_LONGEST_PERIOD: Final = 6
# Values worked on at once: three such pieces fit a core's level 2 cache.
_PIECE: Final = 65_536


@dataclass(frozen=True)
class Axis:
    """How the target pixels of one axis weigh source pixels.

    Attributes:
        start, stop: the source pixels that are touched.
        index: (n, taps) source pixel of each tap, counted from `start`.
        weight: (n, taps) float32, rows sum to 1.
        finer: whether target pixels are smaller than source pixels.
        regular: first and last (exclusive) target pixel between which the taps repeat.
        period: after how many target pixels they do; 0 for never.
        step: and how many source pixels further.
    """

    start: int
    stop: int
    index: NDArray[np.intp]
    weight: NDArray[np.float32]
    finer: bool = False
    regular: tuple[int, int] = (0, 0)
    period: int = 0
    step: int = 0

    @property
    def identity(self) -> bool:
        """Whether each target pixel is just one source pixel, in order."""
        return self.index.shape[1] == 1 and len(self.index) == self.stop - self.start


def plan_axis(start: int, stop: int, *, ratio: float, offset: float, length: int) -> Axis:
    """Plan one axis for target pixels `start` to `stop`.

    Args:
        start: first target pixel.
        stop: pixel after the last.
        ratio: source pixels a target pixel is wide; above 1 means coarser than the source.
        offset: source coordinate of the target grid's first edge.
        length: source pixels along this axis; beyond them the outermost is repeated.
    """
    pixel = np.arange(start, stop, dtype=np.float64)
    same = abs(ratio - 1) < 1e-6
    if same and abs(offset - round(offset)) < 1e-3:
        index = (pixel + round(offset)).astype(np.intp)[:, None]
        weight = np.ones_like(index, dtype=np.float64)
    elif ratio < 1 and not same:
        centre = (pixel + 0.5) * ratio + offset - 0.5
        first = np.floor(centre + 1e-9)
        share = np.clip(centre - first, 0, 1)
        index = np.stack([first, first + 1], axis=1).astype(np.intp)
        weight = np.stack([1 - share, share], axis=1)
    else:
        index, weight = _area_taps(pixel * ratio + offset, ratio)
    regular, period, step = _pattern(index, length)
    index = np.clip(index, 0, length - 1)
    low, high = int(index.min()), int(index.max()) + 1
    return Axis(
        start=low,
        stop=high,
        index=index - low,
        weight=weight.astype(np.float32),
        finer=ratio < 1 and not same,
        regular=regular,
        period=period,
        step=step,
    )


def _area_taps(
    edge: NDArray[np.float64], ratio: float
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return taps and weights by the share of each source pixel under [edge, edge + ratio).

    One tap more than the ratio's pixels is always taken, so that their number does not depend on
    where the window's edges happen to fall.
    """
    whole = abs(ratio - round(ratio)) < 1e-6
    first = np.floor(edge + 1e-6)
    aligned = whole and abs(edge[0] - first[0]) < 1e-5
    taps = round(ratio) if aligned else math.ceil(ratio - 1e-6) + 1
    source = first[:, None] + np.arange(taps)
    overlap = np.minimum(source + 1, edge[:, None] + ratio) - np.maximum(source, edge[:, None])
    weight = np.clip(overlap, 0, None)
    return source.astype(np.intp), weight / weight.sum(axis=1, keepdims=True)


def _pattern(index: NDArray[np.intp], length: int) -> tuple[tuple[int, int], int, int]:
    """Return where the taps repeat, after how many target pixels, and how much further."""
    inside = np.flatnonzero((index[:, 0] >= 0) & (index[:, -1] < length))
    if len(inside) > _LONGEST_PERIOD:
        first, last = int(inside[0]), int(inside[-1]) + 1
        taps = index[first:last, 0]
        for period in range(1, _LONGEST_PERIOD + 1):
            steps = taps[period:] - taps[:-period]
            if (steps == steps[0]).all() and steps[0] > 0:
                return (first, last), period, int(steps[0])
    return (0, 0), 0, 0


def resample(values: NDArray[np.float32], rows: Axis, columns: Axis) -> NDArray[np.float32]:
    """Resample a source block to the planned target pixels.

    Args:
        values: (rows.stop - rows.start, columns.stop - columns.start) float32, NaN = no data.
        rows: plan of the first axis.
        columns: plan of the second axis.

    Returns:
        (len(rows.index), len(columns.index)) float32. A pixel is NaN where less than half of its
        weight has data; elsewhere no data are left out of the mean.
    """
    if rows.identity and columns.identity:
        return values
    if not np.isnan(values.min()):
        return _apply(values, rows, columns)
    missing = np.isnan(values)
    total = _apply(np.where(missing, np.float32(0), values), rows, columns)
    share = _apply((~missing).astype(np.float32), rows, columns)
    # Where nothing is missing the sum stays as it is, bit for bit what a window without gaps gives.
    np.divide(total, share, out=total, where=(share < 1 - 1e-6) & (share > 0))
    total[share < 0.5 - 1e-6] = np.nan
    return total


def _apply(values: NDArray[np.float32], rows: Axis, columns: Axis) -> NDArray[np.float32]:
    # The order that keeps the array between the two steps small.
    if rows.finer:
        return _along(_along(values.T, columns).T, rows)
    return _along(_along(values, rows).T, columns).T


def _along(values: NDArray[np.float32], axis: Axis) -> NDArray[np.float32]:
    """Return the weighted sums along the first axis, laid out in memory as `values` are."""
    if axis.identity:
        return values
    shape = len(axis.index), values.shape[1]
    total = (
        np.empty(shape[::-1], np.float32).T
        if values.flags.f_contiguous
        else np.empty(shape, np.float32)
    )
    width = max(1, _PIECE // max(len(axis.index), 1))
    for start in range(0, shape[1], width):
        piece = slice(start, start + width)
        _weigh(values[:, piece], axis, total[:, piece])
    return total


def _weigh(values: NDArray[np.float32], axis: Axis, total: NDArray[np.float32]) -> None:
    first, last = axis.regular
    for edge in (slice(0, first), slice(last, None)):
        weights = axis.weight[edge].T[:, :, None]
        total[edge] = 0
        for index, weight in zip(axis.index[edge].T, weights, strict=True):
            total[edge] += values[index] * weight
    for phase in range(first, min(first + axis.period, last)):
        target = slice(phase, last, axis.period)
        reach = (len(range(phase, last, axis.period)) - 1) * axis.step + 1
        part: NDArray[np.float32] | None = None
        for index, weight in zip(axis.index[phase], axis.weight[target].T, strict=True):
            product = values[index : index + reach : axis.step] * weight[:, None]
            part = product if part is None else np.add(part, product, out=part)
        total[target] = part
