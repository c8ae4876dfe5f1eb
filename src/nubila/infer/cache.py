"""Counts, decoded once a block, kept while tiles need them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.infer.needs import Need, source_key
from nubila.raster import Window
from nubila.raster.gdal import GdalSource, read_together
from nubila.scenes import RasterSource, Scene

__all__ = ["Block", "CountCache"]

# Files in narrow strips or small blocks are decoded so many rows at a time at least: opening a
# file for a handful of rows costs more than decoding them.
_LEAST_ROWS: Final = 256
# ... and about so many pixels: to open a JPEG 2000 file took 1 ms, to decode so many 0.2 to 0.3 s.
_LEAST_PIXELS: Final = 2_000_000


@dataclass(frozen=True)
class Block:
    """A rectangle of a source at one level: what one decoding task reads.

    Attributes:
        places: of the source in the cache, or of several that are decoded together.
        factor: the level.
        number: of the block row and the block column.
        window: rows and needed columns, in pixels of the level.
    """

    places: tuple[int, ...]
    factor: int
    number: tuple[int, int]
    window: Window


class CountCache:
    """Blocks of counts by source and level; a scene over it reads from memory only.

    Built from what each batch of tiles needs. `arriving[i]` are the blocks first needed by batch i,
    `leaving[i]` those that no later batch needs.
    """

    def __init__(self, needs: Sequence[Sequence[Need]]) -> None:
        self._sources: dict[int, RasterSource] = {}
        self._places: dict[Hashable, int] = {}
        self._counts: dict[tuple[int, int, tuple[int, int]], NDArray[Any]] = {}
        self._columns: dict[tuple[int, int], tuple[int, int]] = {}
        self.arriving: list[list[Block]] = [[] for _ in needs]
        self.leaving: list[list[Block]] = [[] for _ in needs]
        for need in chain.from_iterable(needs):
            self._take_note(need)
        self._schedule(
            [[b for together in _groups(one) for b in self._blocks_of(together)] for one in needs]
        )

    def _take_note(self, need: Need) -> None:
        """Give a source its place, and widen the columns that are read of it."""
        place = self._places.setdefault(source_key(need.source), len(self._places))
        self._sources[place] = need.source
        window = need.window
        left, right = self._columns.get((place, need.factor), (window.column, window.stop_column))
        self._columns[place, need.factor] = (
            min(left, window.column),
            max(right, window.stop_column),
        )

    def _schedule(self, batches: list[list[Block]]) -> None:
        last: dict[Block, int] = {}
        for i, blocks in enumerate(batches):
            self.arriving[i] = [b for b in blocks if b not in last]
            # The longest first, so that no thread is left alone with one at the end.
            self.arriving[i].sort(key=lambda b: -b.window.height * b.window.width * len(b.places))
            last.update(dict.fromkeys(blocks, i))
        for block, i in last.items():
            self.leaving[i].append(block)

    def _blocks_of(self, together: Sequence[Need]) -> list[Block]:
        places = tuple(self._places[source_key(need.source)] for need in together)
        source, factor = together[0].source, together[0].factor
        sides = [self._columns[place, factor] for place in places]
        bottom = -(-source.shape[0] // factor)
        read = Window.between(
            0, min(left for left, _ in sides), bottom, max(right for _, right in sides)
        )
        height, width = _block_shape(source)
        rows, columns = (
            range(min(w[0] for w in wanted) // side, -(-max(w[1] for w in wanted) // side))
            for side, wanted in (
                (height, [(need.window.row, need.window.stop_row) for need in together]),
                (width, [(need.window.column, need.window.stop_column) for need in together]),
            )
        )
        return [
            Block(
                places, factor, (k, m), Window(k * height, m * width, height, width).intersect(read)
            )
            for k in rows
            for m in columns
        ]

    def decode(self, block: Block) -> None:
        """Read a block from its source; called once for each, from any thread."""
        sources = [self._sources[place] for place in block.places]
        files = [source for source in sources if isinstance(source, GdalSource)]
        if len(block.places) > 1:
            counts = read_together(files, block.factor, block.window)
        else:
            counts = [sources[0].read(block.factor, block.window)]
        for place, values in zip(block.places, counts, strict=True):
            self._counts[place, block.factor, block.number] = values

    def drop(self, block: Block) -> None:
        """Forget a block."""
        for place in block.places:
            self._counts.pop((place, block.factor, block.number), None)

    def over(self, scene: Scene) -> Scene:
        """Return the scene reading from this cache."""
        cached: dict[int, RasterSource] = {}

        def wrap(source: RasterSource) -> RasterSource:
            place = self._places.get(source_key(source))
            if place is None:
                return source
            return cached.setdefault(place, _CachedSource(self, place, source))

        return scene.map_sources(wrap)

    def read(self, place: int, factor: int, window: Window) -> NDArray[Any]:
        """Return a window of counts from the blocks that hold it; not to be written to."""
        source = self._sources[place]
        height, width = _block_shape(source)
        left, right = self._columns.get((place, factor), (0, 0))
        foreseen = left <= window.column and window.stop_column <= right
        numbers = [
            (k, m)
            for k in range(window.row // height, -(-window.stop_row // height))
            for m in range(window.column // width, -(-window.stop_column // width))
        ]
        held = {number: self._counts.get((place, factor, number)) for number in numbers}
        blocks = {
            (k * height, max(left, m * width)): counts
            for (k, m), counts in held.items()
            if counts is not None
        }
        if not foreseen or len(blocks) < len(numbers):
            # Dearer, but right.
            return source.read(factor, window)
        return _joined(blocks, window)


def _groups(needs: Sequence[Need]) -> list[list[Need]]:
    """Bring together the bands of a file that stores them pixel by pixel: decoded once for all."""
    groups: dict[Hashable, list[Need]] = {}
    for need in needs:
        source = need.source
        key: Hashable = (source_key(source), need.factor)
        if isinstance(source, GdalSource) and source.interleaved:
            key = (source.path, need.factor)
        groups.setdefault(key, []).append(need)
    return list(groups.values())


def _joined(blocks: Mapping[tuple[int, int], NDArray[Any]], window: Window) -> NDArray[Any]:
    """Cut a window out of blocks, which are named by the row and column of their corner."""
    if len(blocks) == 1:
        ((row, column), block), *_ = blocks.items()
        return block[window.shift(-row, -column).slices]
    counts = np.empty(window.shape, next(iter(blocks.values())).dtype)
    for (row, column), block in blocks.items():
        part = Window(row, column, *block.shape).intersect(window)
        counts[part.shift(-window.row, -window.column).slices] = block[
            part.shift(-row, -column).slices
        ]
    return counts


def _block_shape(source: RasterSource) -> tuple[int, int]:
    """Return rows and columns decoded at once: whole blocks of the file, at every level."""
    rows, columns = (max(1, side) for side in source.block)
    height = -(-_LEAST_ROWS // rows) * rows
    return height, -(-_LEAST_PIXELS // (height * columns)) * columns


class _CachedSource:
    """A source whose counts come from the cache."""

    def __init__(self, cache: CountCache, place: int, source: RasterSource) -> None:
        self._cache, self._place = cache, place
        self.name, self.shape = source.name, source.shape
        self.factors, self.block = source.factors, source.block

    def read(self, factor: int, window: Window) -> NDArray[Any]:
        return self._cache.read(self._place, factor, window)
