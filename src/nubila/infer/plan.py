"""Where tiles lie, and which counts each row of tiles needs; nothing is read here."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from nubila.errors import BandError, GridError, InputError, MissingFileError
from nubila.models_io import ModelCard
from nubila.raster import Grid, Window
from nubila.scenes import RasterSource, Scene
from nubila.scenes.auxiliary import auxiliary_advice

__all__ = ["Need", "Plan", "Span", "Tile", "lattice", "make_plan", "source_key", "spans"]

# What the model sees at once, in pixels, shared out over the threads. A small U-Net's activations
# took 90 to 110 bytes a pixel in ONNX Runtime's arena, input and output another 52,
# so 4.8 million pixels are about 0.8 GB whatever the number of threads.
_PIXELS_AT_ONCE: Final = 4_800_000
# Below this a tile would be mostly halo; many threads then take more memory in all.
_LEAST_PIXELS: Final = 1_000_000
# Cores shorter than this are not tried: there would be thousands of choices, none of them good.
_LEAST_CORE: Final = 64
# Pixels of a row of tiles: two such rows of counts are held, 2 bytes a band and pixel.
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


@dataclass(frozen=True)
class Need:
    """The counts of one source at one level that a row of tiles reads, in pixels of the level."""

    source: RasterSource
    factor: int
    window: Window


@dataclass(frozen=True)
class Plan:
    """A run, laid out before anything is read.

    Attributes:
        scene: the scene.
        card: the model's card.
        resolution: metres.
        area: what is wanted, in pixels of the scene's grid at this resolution.
        grid: where the pixels of the area lie.
        required, optional: bands to read; those of the second kind that the scene has.
        rows: tiles by row, top to bottom; all tiles have the same shape.
    """

    scene: Scene
    card: ModelCard
    resolution: float
    area: Window
    grid: Grid
    required: tuple[str, ...]
    optional: tuple[str, ...]
    rows: tuple[tuple[Tile, ...], ...]

    @cached_property
    def scene_grid(self) -> Grid:
        """Grid of the whole scene at this resolution."""
        return self.scene.grid_at(self.resolution)

    @property
    def scene_shape(self) -> tuple[int, int]:
        """Rows and columns of the whole scene at this resolution."""
        return self.scene_grid.shape

    def needs(self) -> list[list[Need]]:
        """Return, for each row of tiles, the counts that the scene will read for it."""
        return [_row_needs(self, row) for row in self.rows]


def make_plan(
    scene: Scene,
    card: ModelCard,
    *,
    resolution: float | None,
    window: Window | None,
    threads: int,
    tile: int | None,
) -> Plan:
    """Lay out a run; arguments as for `run_scene`.

    Raises:
        BandError: the scene lacks a band that the model needs.
        MissingFileError: the product has the band, but its file is not there.
        GridError: the resolution does not fit the scene, or the window is empty or outside of it.
        InputError: the tile is not larger than two halos.
    """
    size = (scene.default_resolution or scene.resolution) if resolution is None else resolution
    grid = scene.grid_at(size)
    area = Window.whole(grid.shape) if window is None else window
    if 0 in area.shape or area.intersect(Window.whole(grid.shape)) != area:
        raise GridError(
            f"{scene.path}: the area {area} is empty or reaches beyond the scene, which has "
            f"{grid.shape[0]} x {grid.shape[1]} pixels at {size:g} m"
        )
    required, optional = _bands(scene, card, size)
    vertical, horizontal = _axes(grid.shape, area, card, threads, tile)
    rows = tuple(tuple(_tile(v, h) for h in horizontal) for v in vertical)
    return Plan(scene, card, size, area, grid.crop(area), required, optional, rows)


def _axes(
    shape: tuple[int, int], area: Window, card: ModelCard, threads: int, tile: int | None
) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Return the tiles along rows and columns."""
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
    return vertical, horizontal


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


def _bands(
    scene: Scene, card: ModelCard, resolution: float
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the bands to read: those needed, and the optional ones that the scene has."""
    lacking = [name for name in card.required_bands if not scene.has_band(name)]
    # Bands that the product has, but whose files are not there: the error names the files.
    scene.levels([name for name in lacking if _is_missing(scene, name)], resolution)
    if lacking:
        raise BandError(
            f"{scene.path}: model {card.name} needs the band{'s'[: len(lacking) > 1]} "
            f"{', '.join(lacking)} (the scene has: {', '.join(scene.bands) or 'none'})"
            + auxiliary_advice(lacking)
        )
    if not any(scene.has_band(use.name) for use in card.bands):
        raise BandError(
            f"{scene.path}: none of the bands that model {card.name} takes is there "
            f"({', '.join(use.name for use in card.bands)}; the scene has: "
            f"{', '.join(scene.bands) or 'none'})"
        )
    names = [use.name for use in card.bands]
    optional = []
    for use in card.bands:
        if use.required or not scene.has_band(use.name):
            continue
        # The narrow near infrared stands in for the wide one, unless the model takes both.
        found = scene.band(use.name).name
        if found == use.name or found not in names:
            optional.append(use.name)
    return card.required_bands, tuple(optional)


def _is_missing(scene: Scene, name: str) -> bool:
    """Tell whether the product has a band, or the one that stands in for it, without its files."""
    try:
        scene.band(name)
    except MissingFileError:
        return True
    except BandError:
        return False
    return False


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
        self.asked: dict[int, list[Window]] = {}

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
        self.asked.setdefault(factor, []).append(window)
        return np.zeros(window.shape, np.uint16)


def _row_needs(plan: Plan, row: Sequence[Tile]) -> list[Need]:
    """Ask the scene itself, by reading the outermost two pixels of a row of tiles."""
    probes: dict[Hashable, _Probe] = {}

    def wrap(source: RasterSource) -> RasterSource:
        return probes.setdefault(source_key(source), _Probe(source))

    scene = plan.scene.map_sources(wrap)
    first, last = row[0].seen, row[-1].seen.intersect(Window.whole(plan.scene_shape))
    bands = (*plan.required, *plan.optional)
    for corner in (
        Window(first.row, first.column, 1, 1),
        Window(last.stop_row - 1, last.stop_column - 1, 1, 1),
    ):
        scene.read(bands, corner, plan.resolution)
    return [
        Need(probe.source, factor, _around(windows, probe.shape, factor))
        for probe in probes.values()
        for factor, windows in probe.asked.items()
    ]


def _around(windows: Sequence[Window], shape: tuple[int, int], factor: int) -> Window:
    """Return the window around others, and a pixel more for taps that a single pixel lacks."""
    whole = Window.between(
        min(w.row for w in windows),
        min(w.column for w in windows),
        max(w.stop_row for w in windows),
        max(w.stop_column for w in windows),
    )
    return whole.expand(1, within=(-(-shape[0] // factor), -(-shape[1] // factor)))
