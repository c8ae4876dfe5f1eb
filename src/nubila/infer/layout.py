"""Where tiles lie: what the model sees at once, and which part of it is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.errors import InputError
from nubila.models_io import ModelCard
from nubila.raster import Window

__all__ = ["Span", "Tile", "lattice", "lay_tiles", "spans"]

# What the model sees at once, in pixels, shared out over the threads. A small U-Net's activations
# took 90 to 110 bytes a pixel in ONNX Runtime's arena, input and output another 52,
# so 2.8 million pixels are about 0.4 GB on two threads. Twice as many would save a tenth of the
# model's time in halos, and let the memory grow with the scene until they are reached.
_PIXELS_AT_ONCE: Final = 2_800_000
# Below this a tile would be mostly halo; many threads then take more memory in all.
_LEAST_PIXELS: Final = 1_000_000
# Cores shorter than this are not tried: there would be thousands of choices, none of them good.
_LEAST_CORE: Final = 64
# Pixels of a row of tiles: its counts are held, 2 bytes a band and pixel.
_PIXELS_A_ROW: Final = 14_000_000


@dataclass(frozen=True)
class Span:
    """One tile along one axis, in pixels of the scene: what the model sees, what is kept."""

    start: int
    stop: int
    core_start: int
    core_stop: int


@dataclass(frozen=True)
class Tile:
    """A tile in pixels of the scene's grid.

    Attributes:
        seen: what the model sees; corners on multiples of the card's stride; reaches beyond the
            scene's bottom and right by less than a stride. (Fixed tiles: see `lattice`.)
        core: the part whose answer is kept; the cores of all tiles cover the area once.
    """

    seen: Window
    core: Window


def lay_tiles(
    shape: tuple[int, int], area: Window, card: ModelCard, *, threads: int, tile: int | None
) -> tuple[tuple[Tile, ...], ...]:
    """Return the tiles over an area, by row from top to bottom; all have the same shape.

    Args:
        shape: rows and columns of the whole scene.
        area: what is wanted of it.
        card: gives halo, stride, and the tile where the model fixes it.
        threads: how many tiles are run side by side.
        tile: longest side, halo included; None = by memory.

    Raises:
        InputError: the tile is not larger than two halos.
    """
    axes = ((area.row, area.stop_row, shape[0]), (area.column, area.stop_column, shape[1]))
    halo, stride = card.halo, card.stride
    if card.tile is not None:
        vertical, horizontal = (
            lattice(start, stop, tile=card.tile, halo=halo, stride=stride, length=length)
            for start, stop, length in axes
        )
    else:
        sides = _sides(shape, area, card, threads, tile)
        vertical, horizontal = (
            spans(start, stop, tile=side, halo=halo, stride=stride, length=length)
            for side, (start, stop, length) in zip(sides, axes, strict=True)
        )
    return tuple(tuple(_tile(rows, columns) for columns in horizontal) for rows in vertical)


def lattice(
    start: int, stop: int, *, tile: int, halo: int, stride: int, length: int
) -> tuple[Span, ...]:
    """Take the tiles of a fixed size that an area needs, from a lattice over the whole scene.

    The lattice depends on the scene and the model alone. So a pixel is always seen in the same
    tile, and its answer is the same whatever the area, the threads and the batch, even of a network
    that looks at the whole of a tile. The last tile ends with the scene; where the scene is
    smaller than a tile, the tile reaches beyond it.

    Args:
        start: first pixel of the area.
        stop: pixel after its last.
        tile: pixels that every tile spans, halo included.
        halo: margin that is seen and not kept, except at the scene's own edge.
        stride: the last tile ends on a multiple of it.
        length: pixels of the scene along this axis.

    Returns:
        Tiles in order. Their cores cover the area once.
    """
    high = max(tile, _ceil(length, stride))
    number = _count(high, tile=tile, halo=halo)
    found = []
    core = 0
    for k in range(number):
        first = min(k * (tile - 2 * halo), high - tile)
        core_stop = length if k == number - 1 else min(length, first + tile - halo)
        low, kept = max(core, start), min(core_stop, stop)
        if low < kept:
            found.append(Span(first, first + tile, low, kept))
        core = core_stop
    return tuple(found)


def spans(
    start: int, stop: int, *, tile: int, halo: int, stride: int, length: int
) -> tuple[Span, ...]:
    """Cut one axis of an area into tiles of equal length.

    Args:
        start: first pixel of the area.
        stop: pixel after its last.
        tile: most pixels that a tile may span, halo included.
        halo: margin that a core needs, except at the scene's own edge; a multiple of the stride.
        stride: tiles start and end on multiples of it.
        length: pixels of the scene along this axis.

    Returns:
        Tiles in order. Their cores cover the area once.
    """
    low, high = _extent(start, stop, halo=halo, stride=stride, length=length)
    number = _count(high - low, tile=tile, halo=halo)
    size = _ceil(math.ceil((high - low + (number - 1) * 2 * halo) / number), stride)
    found = []
    core = start
    for k in range(number):
        first = min(low + k * (size - 2 * halo), high - size)
        last = k == number - 1
        core_stop = stop if last else min(stop, first + size - halo)
        if core_stop > core:
            found.append(Span(first, first + size, core, core_stop))
            core = core_stop
    return tuple(found)


def _extent(start: int, stop: int, *, halo: int, stride: int, length: int) -> tuple[int, int]:
    """Return what must be seen for an area: with its halo, on multiples of the stride."""
    low = max(0, (start - halo) // stride * stride)
    return low, min(_ceil(length, stride), _ceil(stop + halo, stride))


def _ceil(value: int, stride: int) -> int:
    return -(-value // stride) * stride


def _count(extent: int, *, tile: int, halo: int) -> int:
    """Return how many tiles of at most `tile` pixels cover an extent, overlapping by two halos."""
    return 1 if extent <= tile else math.ceil((extent - 2 * halo) / (tile - 2 * halo))


def _sides(
    shape: tuple[int, int], area: Window, card: ModelCard, threads: int, tile: int | None
) -> tuple[int, int]:
    """Return the height and width that tiles may have at most."""
    axes = ((area.row, area.stop_row, shape[0]), (area.column, area.stop_column, shape[1]))
    extents = [
        _extent(start, stop, halo=card.halo, stride=card.stride, length=length)
        for start, stop, length in axes
    ]
    height, width = (high - low for low, high in extents)
    if tile is None:
        return _cheapest(height, width, card, threads)
    side = tile // card.stride * card.stride
    if side <= 2 * card.halo and side < max(height, width):
        raise InputError(
            f"a tile of {tile} pixels is too small: model {card.name} needs a halo of {card.halo} "
            f"pixels on each side, so at least {2 * card.halo + card.stride}"
        )
    return side, side


def _cheapest(height: int, width: int, card: ModelCard, threads: int) -> tuple[int, int]:
    """Return the tile sides, within memory, that see the fewest pixels and keep threads busy."""
    heights, rows = _choices(height, card)
    widths, columns = _choices(width, card)
    area = heights[:, None] * widths
    # A thread's first tile costs half as much again: its memory is new to the process, which a
    # small image in one large tile a thread would feel most.
    rounds = -(-(rows[:, None] * columns) // threads) + 0.5
    cost = rounds * threads * area
    limit = max(_LEAST_PIXELS, _PIXELS_AT_ONCE // threads)
    fits = (area <= limit) & (heights[:, None] <= max(_PIXELS_A_ROW // width, heights.min()))
    if not fits.any():
        fits = area == area.min()
    best = np.argmin(np.where(fits, cost, np.inf))
    row, column = np.unravel_index(best, cost.shape)
    return int(heights[row]), int(widths[column])


def _choices(extent: int, card: ModelCard) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the tile sizes that cut an extent evenly into 1, 2, 3 ... tiles, and the counts."""
    margin = 2 * card.halo
    most = max(1, (extent - margin) // max(card.stride, margin, _LEAST_CORE))
    counts = np.arange(1, most + 1, dtype=np.int64)
    sizes = -(-(extent + (counts - 1) * margin) // counts)
    return -(-sizes // card.stride) * card.stride, counts


def _tile(rows: Span, columns: Span) -> Tile:
    return Tile(
        Window.between(rows.start, columns.start, rows.stop, columns.stop),
        Window.between(rows.core_start, columns.core_start, rows.core_stop, columns.core_stop),
    )
