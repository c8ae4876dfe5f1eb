"""Counts, decoded once a block row, kept while tiles need them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.infer.plan import Need, source_key
from nubila.raster import Window
from nubila.raster.gdal import GdalSource, read_together
from nubila.scenes import RasterSource, Scene

__all__ = ["Block", "CountCache"]

# Files in narrow strips or small blocks are decoded so many rows at a time at least: opening a
# file for a handful of rows costs more than decoding them.
_LEAST_ROWS: Final = 256


@dataclass(frozen=True)
class Block:
    """Some rows of a source at one level: what one decoding task reads.

    Attributes:
        places: of the source in the cache, or of several that are decoded together.
        factor: the level.
        number: of the block row.
        window: rows and needed columns, in pixels of the level.
    """

    places: tuple[int, ...]
    factor: int
    number: int
    window: Window


class CountCache:
    """Block rows of counts by source and level; a scene over it reads from memory only.

    Built from what each row of tiles needs. `arriving[i]` are the blocks first needed by row i of
    the tiles, `leaving[i]` those that no later row needs.
    """

    def __init__(self, needs: Sequence[Sequence[Need]]) -> None:
        self._sources: dict[int, RasterSource] = {}
        self._places: dict[Hashable, int] = {}
        self._counts: dict[tuple[int, int, int], NDArray[Any]] = {}
        self._columns: dict[tuple[int, int], tuple[int, int]] = {}
        self.arriving: list[list[Block]] = [[] for _ in needs]
        self.leaving: list[list[Block]] = [[] for _ in needs]
        self._schedule(
            [[b for together in _groups(row) for b in self._blocks_of(together)] for row in needs]
        )

    def _schedule(self, rows: list[list[Block]]) -> None:
        last: dict[Block, int] = {}
        for i, blocks in enumerate(rows):
            self.arriving[i] = [b for b in blocks if b not in last]
            # The longest first, so that no thread is left alone with one at the end.
            self.arriving[i].sort(key=lambda b: -b.window.height * b.window.width * len(b.places))
            last.update(dict.fromkeys(blocks, i))
        for block, i in last.items():
            self.leaving[i].append(block)

    def _blocks_of(self, together: Sequence[Need]) -> list[Block]:
        places = []
        for need in together:
            places.append(self._places.setdefault(source_key(need.source), len(self._places)))
            self._sources[places[-1]] = need.source
            # Columns are the same for every row of tiles.
            columns = need.window.column, need.window.stop_column
            self._columns[places[-1], need.factor] = columns
        need = together[0]
        height = _block_rows(need.source)
        bottom = -(-need.source.shape[0] // need.factor)
        left, right = need.window.column, need.window.stop_column
        return [
            Block(
                tuple(places),
                need.factor,
                k,
                Window.between(k * height, left, min((k + 1) * height, bottom), right),
            )
            for k in range(need.window.row // height, -(-need.window.stop_row // height))
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
        height = _block_rows(source)
        left, right = self._columns.get((place, factor), (0, 0))
        numbers = range(window.row // height, -(-window.stop_row // height))
        blocks = [self._counts.get((place, factor, k)) for k in numbers]
        held = [b for b in blocks if b is not None]
        if len(held) < len(blocks) or window.column < left or window.stop_column > right:
            # Not foreseen: dearer, but right.
            return source.read(factor, window)
        top = numbers.start * height
        columns = slice(window.column - left, window.stop_column - left)
        if len(held) == 1:
            return held[0][window.row - top : window.stop_row - top, columns]
        return _stack(held, window, top, height, columns)


def _groups(needs: Sequence[Need]) -> list[list[Need]]:
    """Bring together the bands of a file that stores them pixel by pixel: decoded once for all."""
    groups: dict[Hashable, list[Need]] = {}
    for need in needs:
        source = need.source
        key: Hashable = (source_key(source), need.factor)
        if isinstance(source, GdalSource) and source.interleaved:
            key = (source.path, need.factor, need.window)
        groups.setdefault(key, []).append(need)
    return list(groups.values())


def _stack(
    blocks: Sequence[NDArray[Any]], window: Window, top: int, height: int, columns: slice
) -> NDArray[Any]:
    counts = np.empty(window.shape, blocks[0].dtype)
    for k, block in enumerate(blocks):
        start = top + k * height
        first, stop = max(start, window.row), min(start + len(block), window.stop_row)
        counts[first - window.row : stop - window.row] = block[
            first - start : stop - start, columns
        ]
    return counts


def _block_rows(source: RasterSource) -> int:
    """Return the rows decoded at once: whole blocks of the file, at every level."""
    rows = max(1, source.block[0])
    return -(-_LEAST_ROWS // rows) * rows


class _CachedSource:
    """A source whose counts come from the cache."""

    def __init__(self, cache: CountCache, place: int, source: RasterSource) -> None:
        self._cache, self._place = cache, place
        self.name, self.shape = source.name, source.shape
        self.factors, self.block = source.factors, source.block

    def read(self, factor: int, window: Window) -> NDArray[Any]:
        return self._cache.read(self._place, factor, window)
