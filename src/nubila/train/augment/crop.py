"""Cutting chips out of samples: straight, or through one warped grid."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nubila.raster.resample import plan_axis, resample
from nubila.recipe.augment import Augment
from nubila.train.augment.bands import Label, Pair
from nubila.train.augment.warp import draw_grid, follow

__all__ = ["crop", "cut_chip", "turn"]


def cut_chip(
    image: NDArray[np.floating[Any]],
    label: Label,
    size: int,
    spec: Augment,
    random: np.random.Generator,
    more: np.random.Generator,
) -> Pair:
    """Cut a chip at a random place and scale, warp it, turn it.

    Args:
        image: (bands, rows, columns) reflectance of any float type, NaN = no data.
        label: (rows, columns) sets of classes.
        size: rows and columns of the chip.
        spec: `zoom`, `rotate`, `scale`, `elastic`, `grid`, `optical` and `turn` count.
        random: for the place, the scale and the turn.
        more: for the warp.

    Returns:
        (bands, size, size) float32 and (size, size) uint8, of their own memory. The label is 0
        wherever no band has data.
    """
    grid = draw_grid(size, spec, more)
    if grid is None:
        chip, cut = crop(image, label, size=size, zoom=spec.zoom, random=random)
    else:
        # What is cut is large enough for the whole warped grid, where the sample is.
        reach = 2 * math.ceil(float(np.abs(grid).max()) + 1)
        block, marks, count = _cut(image, label, size, spec.zoom, random, span=max(size, reach))
        chip, cut = follow(block[:, : count[0], : count[1]], marks[: count[0], : count[1]], grid)
    if spec.turn:
        chip, cut = turn(chip, cut, random)
    return np.ascontiguousarray(chip), np.ascontiguousarray(cut)


def crop(
    image: NDArray[np.floating[Any]],
    label: Label,
    *,
    size: int,
    zoom: float,
    random: np.random.Generator,
) -> Pair:
    """Cut a square chip at a random place and scale.

    Reflectance goes through the area mean or linear interpolation that scenes are read with,
    labels take the nearest pixel. Where the sample is smaller than a chip, the rest has no data.
    """
    chip, cut, _ = _cut(image, label, size, zoom, random)
    return chip, cut


def _cut(
    image: NDArray[np.floating[Any]],
    label: Label,
    size: int,
    zoom: float,
    random: np.random.Generator,
    span: int | None = None,
) -> tuple[NDArray[np.float32], Label, list[int]]:
    """Return a square of `span` pixels at a scale that suits a chip of `size`.

    Returned with it: how many of its rows and columns the sample reaches.
    """
    rows, columns = label.shape
    finest = -np.log(zoom)
    coarsest = min(-finest, max(np.log(min(rows, columns) / size), finest))
    ratio = float(np.exp(random.uniform(finest, coarsest)))
    if abs(ratio - 1) < 0.1:  # most chips that are nearly at scale stay sharp
        ratio = 1.0
    size = span or size
    start = [_start(length, size, ratio, random) for length in (rows, columns)]
    count = [min(size, int(length / ratio)) for length in (rows, columns)]
    along_rows, along_columns = (
        plan_axis(0, n, ratio=ratio, offset=offset, length=length)
        for n, offset, length in zip(count, start, (rows, columns), strict=True)
    )
    block = image[
        :, along_rows.start : along_rows.stop, along_columns.start : along_columns.stop
    ].astype(np.float32)
    nearest = [
        np.minimum(((np.arange(n) + 0.5) * ratio + offset).astype(np.intp), length - 1)
        for n, offset, length in zip(count, start, (rows, columns), strict=True)
    ]
    chip = np.full((len(image), size, size), np.nan, np.float32)
    for target, band in zip(chip, block, strict=True):
        if not np.isnan(band[0, 0]) or not np.isnan(band).all():
            target[: count[0], : count[1]] = resample(band, along_rows, along_columns)
    cut = np.zeros((size, size), np.uint8)
    cut[: count[0], : count[1]] = label[np.ix_(*nearest)]
    cut[np.isnan(chip).all(axis=0)] = 0
    return chip, cut, count


def _start(length: int, size: int, ratio: float, random: np.random.Generator) -> int:
    return int(random.integers(0, max(length - int(np.ceil(size * ratio)), 0) + 1))


def turn(image: NDArray[np.float32], label: Label, random: np.random.Generator) -> Pair:
    """Turn by a multiple of 90 degrees and mirror, one of eight ways."""
    quarters, mirrored = int(random.integers(4)), bool(random.integers(2))
    image, label = np.rot90(image, quarters, (1, 2)), np.rot90(label, quarters)
    if mirrored:
        image, label = image[:, :, ::-1], label[:, ::-1]
    return image, label
