"""Seeded random fields that are functions of the place on the ground.

A field has the same value at a place whichever window of a scene is asked for, so a scene can be
made in strips, at several resolutions, and in any order. Each is a sum of octaves of cubic
B-spline noise on lattices of hashed random numbers; the spline's two-scale relation (Catmull and
Clark 1978, doi:10.1016/0010-4485(78)90110-0) carries the sum of the coarser octaves to the next
finer lattice, so that all octaves together cost little more than the finest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Axes",
    "cells",
    "child_seed",
    "exceeded_by",
    "fbm",
    "spline",
    "turned_fbm",
    "unit_hash",
    "white",
]

Floats = NDArray[np.float32]

# Variance of a cubic B-spline field over a lattice of unit-variance numbers: in one dimension the
# mean of the sum of squared weights over a cell is 151/315 (the spline's autocorrelation at 0).
_SPLINE_VARIANCE = (151 / 315) ** 2
_FINEST = 10.0  # metres; octaves below are never made, so amplitudes agree at all resolutions
_WHITE_SIZE = 1024


@dataclass(frozen=True)
class Axes:
    """Ground coordinates of a raster's pixel centres, in metres east and south of a corner.

    Attributes:
        x: (columns,) float64, ascending.
        y: (rows,) float64, ascending southwards.
        step: distance between neighbours in metres.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    step: float

    @classmethod
    def of_window(cls, row: int, column: int, rows: int, columns: int, resolution: float) -> Axes:
        """Return the axes of a window of pixels; its row and column may be negative."""
        x = (np.arange(column, column + columns, dtype=np.float64) + 0.5) * resolution
        y = (np.arange(row, row + rows, dtype=np.float64) + 0.5) * resolution
        return cls(x, y, resolution)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.y), len(self.x)

    def shift(self, east: float, south: float) -> Axes:
        """Return the axes moved by so many metres."""
        return Axes(self.x + east, self.y + south, self.step)

    def widen(self) -> Axes:
        """Return the axes with one more pixel on each side."""
        x, y, step = self.x, self.y, self.step
        return Axes(
            np.concatenate([x[:1] - step, x, x[-1:] + step]),
            np.concatenate([y[:1] - step, y, y[-1:] + step]),
            step,
        )

    def lattice(self, spacing: float) -> tuple[Axes, tuple[int, int]]:
        """Return the nodes whose cubic splines reach these axes, and the first node's indices."""
        row, stop_row = _reach(self.y, spacing)
        column, stop_column = _reach(self.x, spacing)
        x = np.arange(column, stop_column, dtype=np.float64) * spacing
        y = np.arange(row, stop_row, dtype=np.float64) * spacing
        return Axes(x, y, spacing), (row, column)


def child_seed(seed: int, name: str) -> int:
    """Return a seed for one of a scene's fields, from the scene's seed and the field's name."""
    value = seed & 0xFFFFFFFF
    for letter in name.encode():
        value = (value ^ letter) * 0x01000193 & 0xFFFFFFFF  # FNV-1a (Fowler, Noll and Vo 1991)
    return value


def exceeded_by(share: float) -> float:
    """Return the level that a field of unit variance exceeds over a share of the ground."""
    return NormalDist().inv_cdf(1 - min(max(float(share), 1e-3), 1 - 1e-3))


def unit_hash(seed: int, *indices: NDArray[np.integer]) -> Floats:
    """Return numbers in [0, 1) that depend only on the seed and the broadcast integer indices.

    The mixing constants are those of Wellons' "lowbias32" integer hash (2018).
    """
    mixed: NDArray[np.uint32] = np.asarray(seed & 0xFFFFFFFF, np.uint32)
    for number, index in enumerate(indices):
        salt = np.uint32(0x9E3779B9 * (number + 1) & 0xFFFFFFFF)
        mixed = mixed ^ _mix(index.astype(np.int64).astype(np.uint32) + salt)
        mixed = mixed * np.uint32(0x85EBCA77)
    return (_mix(mixed) >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)


def _mix(value: NDArray[np.uint32]) -> NDArray[np.uint32]:
    value = value ^ (value >> np.uint32(16))
    value = value * np.uint32(0x7FEB352D)
    value ^= value >> np.uint32(15)
    value *= np.uint32(0x846CA68B)
    value ^= value >> np.uint32(16)
    return value


def fbm(
    axes: Axes, seed: int, cell: float, *, hurst: float = 0.8, finest: float = _FINEST
) -> Floats:
    """Return fractional Brownian noise of zero mean and unit variance, (rows, columns) float32.

    Octaves finer than a pixel are left out, so that a coarse raster is smooth, not aliased.

    Args:
        axes: where.
        seed: which.
        cell: lattice spacing of the coarsest octave in metres.
        hurst: amplitudes fall as 2**-hurst an octave; 1/3 is Kolmogorov's -5/3 spectrum.
        finest: lattice spacing of the finest octave in metres, at least.
    """
    total = max(1, 1 + math.floor(math.log2(cell / max(finest, _FINEST)) + 1e-9))
    levels = max(1, min(total, 1 + math.floor(math.log2(cell / axes.step) + 0.2)))
    variance = _SPLINE_VARIANCE * sum(4.0 ** (-hurst * k) for k in range(total))
    spacings = [cell / 2**k for k in range(levels)]
    spans = _spans(axes, spacings)
    values = np.zeros((0, 0), np.float32)
    for level, (row, stop_row, column, stop_column) in enumerate(spans):
        noise = unit_hash(
            seed + 0x51ED27 * level,
            np.arange(row, stop_row)[:, None],
            np.arange(column, stop_column)[None, :],
        )
        amplitude = 2.0 ** (-hurst * level) * math.sqrt(12 / variance)
        noise -= np.float32(0.5)
        noise *= np.float32(amplitude)
        if level:
            first_row, first_column = spans[level - 1][0], spans[level - 1][2]
            values = _refine(values, first_row, row, stop_row)
            values = _refine(values.T, first_column, column, stop_column).T
            noise += values
        values = noise
    return spline(values, (spans[-1][0], spans[-1][2]), spacings[-1], axes)


def _reach(positions: NDArray[np.float64], spacing: float) -> tuple[int, int]:
    """Return the first node, and the one after the last, whose splines reach the positions."""
    return math.floor(positions[0] / spacing) - 1, math.floor(positions[-1] / spacing) + 3


def _spans(axes: Axes, spacings: list[float]) -> list[tuple[int, int, int, int]]:
    """Return the rows and columns of nodes needed at each level, coarsest first."""
    span = (*_reach(axes.y, spacings[-1]), *_reach(axes.x, spacings[-1]))
    spans = [span]
    for _ in spacings[1:]:
        row, stop_row, column, stop_column = span
        span = (row // 2 - 1, stop_row // 2 + 2, column // 2 - 1, stop_column // 2 + 2)
        spans.append(span)
    return spans[::-1]


def _refine(values: Floats, first: int, start: int, stop: int) -> Floats:
    """Return spline coefficients at half the spacing for nodes `start` to `stop` of axis 0."""
    low, high = start // 2, -(-stop // 2)
    inner = values[low - first : high - first]
    after = values[low - first + 1 : high - first + 1]
    before = values[low - first - 1 : high - first - 1]
    fine = np.empty((2 * (high - low), values.shape[1]), np.float32)
    fine[0::2] = (before + after) * np.float32(0.125) + inner * np.float32(0.75)
    fine[1::2] = (inner + after) * np.float32(0.5)
    return fine[start - 2 * low : stop - 2 * low]


def spline(values: Floats, first: tuple[int, int], spacing: float, axes: Axes) -> Floats:
    """Return the cubic B-spline with coefficients `values` on a lattice, at `axes`.

    Args:
        values: (nodes south, nodes east) float32.
        first: lattice indices of ``values[0, 0]``; node (i, j) lies at (i, j) x `spacing`.
        spacing: in metres.
        axes: where to evaluate; `Axes.lattice` says which nodes that takes.
    """
    columns, column_weights = _taps(axes.x, spacing, first[1])
    rows, row_weights = _taps(axes.y, spacing, first[0])
    across = np.take(values, columns, axis=1) * column_weights[0]
    for tap in range(1, 4):
        across += np.take(values, columns + tap, axis=1) * column_weights[tap]
    result: Floats = np.take(across, rows, axis=0) * row_weights[0][:, None]
    for tap in range(1, 4):
        part = np.take(across, rows + tap, axis=0)
        part *= row_weights[tap][:, None]
        result += part
    return result


def _taps(
    positions: NDArray[np.float64], spacing: float, first: int
) -> tuple[NDArray[np.intp], Floats]:
    scaled = positions / spacing
    node = np.floor(scaled)
    t = scaled - node
    u = 1 - t
    weights = (
        np.stack([u**3, 4 - 6 * t**2 + 3 * t**3, 4 - 6 * u**2 + 3 * u**3, t**3]) / 6
    )  # uniform cubic B-spline
    return node.astype(np.intp) - 1 - first, weights.astype(np.float32)


def turned_fbm(
    axes: Axes,
    seed: int,
    cell: float,
    *,
    angle: float,
    stretch: float,
    warp: float = 0.0,
    hurst: float = 0.6,
    step: float = 40.0,
) -> Floats:
    """Return noise drawn out along a direction, as fibres of cirrus are, (rows, columns) float32.

    Args:
        axes: where.
        seed: which.
        cell: lattice spacing across the fibres of the coarsest octave, in metres.
        angle: direction of the fibres, radians from east towards south.
        stretch: how many times longer than wide the features are.
        warp: how far fibres bend, in metres (standard deviation).
        hurst: see `fbm`.
        step: the field is made on a lattice this coarse (metres) and interpolated.
    """
    spacing = max(step, axes.step)
    nodes, first = axes.lattice(spacing)
    along = (math.cos(angle) * nodes.x)[None, :] + (math.sin(angle) * nodes.y)[:, None]
    across = (-math.sin(angle) * nodes.x)[None, :] + (math.cos(angle) * nodes.y)[:, None]
    if warp:
        across += warp * fbm(nodes, seed + 1, 12 * cell, hurst=1.0, finest=2 * cell)
        along += warp * fbm(nodes, seed + 2, 12 * cell, hurst=1.0, finest=2 * cell)
    along /= stretch * spacing
    across /= spacing
    row, column = math.floor(across.min()), math.floor(along.min())
    frame = Axes(
        np.arange(column, math.floor(along.max()) + 2) * spacing,
        np.arange(row, math.floor(across.max()) + 2) * spacing,
        spacing,
    )
    field = fbm(frame, seed, cell, hurst=hurst)
    return spline(_bilinear(field, across, along, (row, column)), first, spacing, axes)


def _bilinear(
    field: Floats, rows: NDArray[np.float64], columns: NDArray[np.float64], first: tuple[int, int]
) -> Floats:
    row, column = np.floor(rows), np.floor(columns)
    down, right = (rows - row).astype(np.float32), (columns - column).astype(np.float32)
    i, j = row.astype(np.intp) - first[0], column.astype(np.intp) - first[1]
    top = field[i, j] + (field[i, j + 1] - field[i, j]) * right
    bottom = field[i + 1, j] + (field[i + 1, j + 1] - field[i + 1, j]) * right
    result: Floats = top + (bottom - top) * down
    return result


def cells(axes: Axes, seed: int, size: float, *, step: float) -> tuple[Floats, Floats]:
    """Return Worley's cellular noise: distances to the nearest and second nearest feature point.

    One point lies at a hashed place in each square of `size` metres; distances are in units of
    `size` (Worley 1996, doi:10.1145/237170.237267). Made every `step` metres and interpolated.
    """
    spacing = max(step, axes.step)
    nodes, first = axes.lattice(spacing)
    column, row = np.floor(nodes.x / size), np.floor(nodes.y / size)
    x, y = (nodes.x / size).astype(np.float64), (nodes.y / size).astype(np.float64)
    nearest = np.full(nodes.shape, 9.0, np.float32)
    second = nearest.copy()
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            i, j = (row + down)[:, None].astype(np.int64), (column + right)[None].astype(np.int64)
            px, py = unit_hash(seed, i, j), unit_hash(seed + 1, i, j)
            dx = (j - x[None, :]).astype(np.float32) + px
            dy = (i - y[:, None]).astype(np.float32) + py
            distance = dx * dx + dy * dy
            np.minimum(second, np.maximum(nearest, distance), out=second)
            np.minimum(nearest, distance, out=nearest)
    fields = [spline(np.sqrt(d), first, spacing, axes) for d in (nearest, second)]
    return fields[0], fields[1]


@lru_cache(maxsize=1)
def _white_tile() -> Floats:
    generator = np.random.default_rng(1375)
    return generator.standard_normal((_WHITE_SIZE, _WHITE_SIZE), np.float32)


def white(seed: int, row: int, column: int, rows: int, columns: int) -> Floats:
    """Return Gaussian white noise of unit variance for a window of pixels, repeating far away."""
    shift_row, shift_column = divmod(seed % _WHITE_SIZE**2, _WHITE_SIZE)
    i = (np.arange(row, row + rows) + shift_row) % _WHITE_SIZE
    j = (np.arange(column, column + columns) + shift_column) % _WHITE_SIZE
    return np.take(np.take(_white_tile(), i, axis=0), j, axis=1)
