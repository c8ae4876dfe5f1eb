"""Resampling that knows the global pixel: a window gives what the whole raster would have given.

Coarser by area average, finer by linear interpolation, both separable. Taps and weights depend on
a pixel's place in the whole grid and never on the window asked for, so tiling leaves no trace.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Axis", "plan_axis", "resample"]


@dataclass(frozen=True)
class Axis:
    """How the target pixels of one axis weigh source pixels.

    Attributes:
        start, stop: the source pixels that are touched.
        index: (n, taps) source pixel of each tap, counted from `start`.
        weight: (n, taps) float32, rows sum to 1.
    """

    start: int
    stop: int
    index: NDArray[np.intp]
    weight: NDArray[np.float32]

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
    if abs(ratio - 1) < 1e-6 and abs(offset - round(offset)) < 1e-3:
        index = (pixel + round(offset)).astype(np.intp)[:, None]
        weight = np.ones_like(index, dtype=np.float64)
    elif ratio < 1:
        centre = (pixel + 0.5) * ratio + offset - 0.5
        first = np.floor(centre + 1e-9)
        share = centre - first
        index = np.stack([first, first + 1], axis=1).astype(np.intp)
        weight = np.stack([1 - share, share], axis=1)
    else:
        index, weight = _area_taps(pixel * ratio + offset, ratio)
    index = np.clip(index, 0, length - 1)
    low, high = int(index.min()), int(index.max()) + 1
    return Axis(low, high, index - low, weight.astype(np.float32))


def _area_taps(
    edge: NDArray[np.float64], ratio: float
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return taps and weights by the share of each source pixel under [edge, edge + ratio)."""
    first = np.floor(edge + 1e-6)
    taps = math.ceil(ratio - 1e-6) + (0 if np.allclose(edge, first, atol=1e-5) else 1)
    source = first[:, None] + np.arange(taps)
    overlap = np.minimum(source + 1, edge[:, None] + ratio) - np.maximum(source, edge[:, None])
    weight = np.clip(overlap, 0, None)
    return source.astype(np.intp), weight / weight.sum(axis=1, keepdims=True)


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
    missing = np.isnan(values)
    if not missing.any():
        return _apply(values, rows, columns)
    total = _apply(np.where(missing, np.float32(0), values), rows, columns)
    share = _apply((~missing).astype(np.float32), rows, columns)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(share >= 0.5 - 1e-6, total / share, np.float32(np.nan))


def _apply(values: NDArray[np.float32], rows: Axis, columns: Axis) -> NDArray[np.float32]:
    if not rows.identity:
        total = np.zeros((len(rows.index), values.shape[1]), np.float32)
        for index, weight in zip(rows.index.T, rows.weight.T, strict=True):
            total += values[index] * weight[:, None]
        values = total
    if not columns.identity:
        total = np.zeros((values.shape[0], len(columns.index)), np.float32)
        for index, weight in zip(columns.index.T, columns.weight.T, strict=True):
            total += values[:, index] * weight
        values = total
    return values
