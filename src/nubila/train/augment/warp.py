"""Warping: rotation, stretch and distortions are one grid of places, which is sampled once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nubila.recipe.augment import Augment
from nubila.train.augment.bands import Label, Pair

__all__ = ["draw_grid", "follow"]

Grid = NDArray[np.float64]

# Pixels between the nodes of the elastic displacement, and cells of the grid distortion.
_SPACING = 32.0
_CELLS = 5
# Variance of a cubic B-spline over unit-variance numbers, in one dimension.
_SPLINE_VARIANCE = 151 / 315


def draw_grid(size: int, spec: Augment, random: np.random.Generator) -> Grid | None:
    """Draw where each pixel of a chip is taken from.

    The parts are composed from the chip outwards: radial distortion, grid distortion, stretch,
    rotation, elastic displacement.

    Args:
        size: rows and columns of the chip.
        spec: `rotate`, `scale`, `elastic`, `grid` and `optical` count.
        random: source of chance; untouched where none of them is on.

    Returns:
        (2, size, size) rows and columns in pixels from the middle of what is cut, or None where
        the chip is to be cut straight.
    """
    if not (spec.rotate or spec.scale or spec.elastic or spec.grid or spec.optical):
        return None
    rotated = random.random() < spec.rotate
    if not (rotated or spec.scale or spec.elastic or spec.grid or spec.optical):
        return None
    middle = np.arange(size) + 0.5 - size / 2
    rows, columns = np.broadcast_arrays(middle[:, None], middle[None, :])
    grid = np.stack([rows, columns])
    if spec.optical:
        grid = _radial(grid, random.uniform(-spec.optical, spec.optical), size)
    if spec.grid:
        grid = np.stack([_cells(axis, spec.grid, size, random) for axis in grid])
    if spec.scale:
        grid = grid * np.exp(random.normal(0, spec.scale, 2))[:, None, None]
    if rotated:
        angle = random.uniform(0, 2 * math.pi)
        sine, cosine = math.sin(angle), math.cos(angle)
        grid = np.tensordot(np.array([[cosine, -sine], [sine, cosine]]), grid, axes=1)
    if spec.elastic:
        grid = grid + random.uniform(0, spec.elastic) * _smooth(size, random)
    return grid


def _radial(grid: Grid, strength: float, size: int) -> Grid:
    """Scale by 1 + k r**2, r = 1 at the middle of an edge (Brown 1966, its first term)."""
    radius = (grid**2).sum(axis=0) / (size / 2) ** 2
    scaled: Grid = grid * (1 + strength * radius)
    return scaled


def _cells(axis: Grid, strength: float, size: int, random: np.random.Generator) -> Grid:
    """Move the lines of a grid along one axis; they keep their order."""
    widths = random.uniform(1 - strength, 1 + strength, _CELLS)
    lines = np.concatenate([[0.0], np.cumsum(widths / widths.sum())]) - 0.5
    even = np.linspace(-0.5, 0.5, _CELLS + 1)
    scaled = axis / size
    moved: Grid = np.interp(scaled, even, lines)
    # Beyond the outermost lines, where radial distortion reaches, pixels keep their distance.
    return size * (moved + scaled - np.clip(scaled, -0.5, 0.5))


def _smooth(size: int, random: np.random.Generator) -> Grid:
    """Return a displacement (2, size, size) of unit variance: cubic B-splines over random nodes.

    Free-form deformation after Rueckert et al. 1999, doi:10.1109/42.796284.
    """
    place = np.arange(size) / _SPACING
    node = np.floor(place).astype(np.intp)
    t = place - node
    u = 1 - t
    taps = np.stack([u**3, 4 - 6 * t**2 + 3 * t**3, 4 - 6 * u**2 + 3 * u**3, t**3]) / 6
    count = int(node[-1]) + 4
    field = random.standard_normal((2, count, count))
    for axis, shape in ((2, (1, 1, size)), (1, (1, size, 1))):
        field = sum(
            (field.take(node + tap, axis=axis) * weight.reshape(shape)
             for tap, weight in enumerate(taps)),
            start=np.zeros(()),
        )  # fmt: skip
    return field / _SPLINE_VARIANCE


def follow(image: NDArray[np.floating[Any]], label: Label, grid: Grid) -> Pair:
    """Sample image and label at a grid of places.

    The image is interpolated linearly between the pixels that have data, and has none where these
    hold less than half of the weight; the label takes the nearest pixel.

    Args:
        image: (bands, rows, columns), NaN = no data.
        label: (rows, columns).
        grid: (2, n, m) rows and columns in pixels from the image's middle.

    Returns:
        (bands, n, m) float32 and (n, m) uint8, 0 wherever no band has data.
    """
    shape = label.shape
    missing = np.isnan(image)
    there = np.flatnonzero(~missing.all(axis=(1, 2)))
    chip = np.full((len(image), *grid.shape[1:]), np.nan, np.float32)
    if len(there):
        gaps = missing[there]
        if (gaps == gaps[:1]).all():
            gaps = gaps[:1]  # what all bands share is sampled once
        values = np.where(missing[there], 0, image[there])
        sampled = _bilinear(np.concatenate([values, ~gaps]).astype(np.float32), grid)
        weight = sampled[len(there) :]
        with np.errstate(invalid="ignore", divide="ignore"):
            chip[there] = np.where(weight >= 0.5, sampled[: len(there)] / weight, np.nan)
    row, column = (
        np.floor(axis + length / 2).astype(np.intp)
        for axis, length in zip(grid, shape, strict=True)
    )
    inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    cut = np.zeros(grid.shape[1:], np.uint8)
    cut[inside] = label[row[inside], column[inside]]
    cut[np.isnan(chip).all(axis=0)] = 0
    return chip, cut


def _bilinear(values: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """Return (channels, n, m), with 0 beyond the edges; one thread, so always the same bits."""
    rows, columns = values.shape[1:]
    places = np.stack([grid[1] * (2 / columns), grid[0] * (2 / rows)], axis=-1)
    sampled: NDArray[np.float32] = torch.nn.functional.grid_sample(
        torch.from_numpy(values)[None],
        torch.from_numpy(places.astype(np.float32))[None],
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )[0].numpy()
    return sampled
