"""Which counts tiles need, found out by asking the scene itself; nothing is read here."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nubila.infer.layout import Tile
from nubila.raster import Window
from nubila.scenes import RasterSource, Scene

__all__ = ["Need", "needs_of", "source_key"]


@dataclass(frozen=True)
class Need:
    """The counts of one source at one level that a batch of tiles reads, in pixels of the level."""

    source: RasterSource
    factor: int
    window: Window


def source_key(source: RasterSource) -> Hashable:
    """Return what tells sources apart: their value, or their identity where they have none."""
    try:
        hash(source)
    except TypeError:
        return id(source)
    return cast(Hashable, source)


class _Probe:
    """Stands in for a source, and notes what is asked of it in place of reading."""

    def __init__(self, source: RasterSource) -> None:
        self.source = source
        self._asked: dict[int, list[Window]] = {}

    # Asked for one by one: over the network, a band that is not read keeps even its header unread.
    @property
    def name(self) -> str:
        return self.source.name

    @property
    def shape(self) -> tuple[int, int]:
        return self.source.shape

    @property
    def factors(self) -> tuple[int, ...]:
        return self.source.factors

    @property
    def block(self) -> tuple[int, int]:
        return self.source.block

    def read(self, factor: int, window: Window) -> NDArray[Any]:
        self._asked.setdefault(factor, []).append(window)
        return np.zeros(window.shape, np.uint16)

    def taken(self) -> dict[int, list[Window]]:
        """Return the windows that were asked for since the last call, by level."""
        asked, self._asked = self._asked, {}
        return asked


def needs_of(
    scene: Scene, bands: Sequence[str], resolution: float, batches: Sequence[Sequence[Tile]]
) -> list[list[Need]]:
    """Return, for each batch of tiles of one row, the counts that the scene reads for it.

    The scene itself is asked, by reading single pixels. Rows that are read depend on a pixel's row
    alone and columns on its column, so the edges of the rows and columns of tiles tell all.
    """
    probes: dict[Hashable, _Probe] = {}

    def wrap(source: RasterSource) -> RasterSource:
        return probes.setdefault(source_key(source), _Probe(source))

    probed = scene.map_sources(wrap)

    @cache
    def asked(row: int, column: int) -> dict[tuple[Hashable, int], Window]:
        probed.read(bands, Window(row, column, 1, 1), resolution)
        return {
            (key, factor): _around(windows)
            for key, probe in probes.items()
            for factor, windows in probe.taken().items()
        }

    found = []
    whole = Window.whole(scene.grid_at(resolution).shape)
    for tiles in batches:
        first, last = tiles[0].seen, tiles[-1].seen.intersect(whole)
        rows = asked(first.row, 0), asked(last.stop_row - 1, 0)
        columns = asked(0, first.column), asked(0, last.stop_column - 1)
        found.append(
            [
                _need(
                    probes[level[0]].source,
                    level[1],
                    _around([side[level] for side in rows]),
                    _around([side[level] for side in columns]),
                )
                for level in rows[0]
            ]
        )
    return found


def _around(windows: Sequence[Window]) -> Window:
    """Return the window around others."""
    return Window.between(
        min(w.row for w in windows),
        min(w.column for w in windows),
        max(w.stop_row for w in windows),
        max(w.stop_column for w in windows),
    )


def _need(source: RasterSource, factor: int, rows: Window, columns: Window) -> Need:
    """Join rows and columns, and a pixel more for taps that a single pixel lacks."""
    window = Window.between(rows.row, columns.column, rows.stop_row, columns.stop_column)
    shape = source.shape
    return Need(
        source, factor, window.expand(1, within=(-(-shape[0] // factor), -(-shape[1] // factor)))
    )
