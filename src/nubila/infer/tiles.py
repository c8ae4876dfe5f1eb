"""What a worker does with a tile: cut it, run the model, decide."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nubila.classes import NO_DATA, Validity
from nubila.infer.decide import decide, judged, scale_probabilities
from nubila.infer.layout import Tile
from nubila.infer.plan import Plan
from nubila.models_io import Model, ModelCard
from nubila.raster import Window
from nubila.scenes import Band, BandFile, Scene
from nubila.scenes.fill import leave_out_fill
from nubila.scenes.reading import read_band
from nubila.scenes.scene import validity_of

__all__ = ["VISIBLE", "Answer", "Buffers", "Job", "PreviewGrid", "Thumbnail", "run_tiles"]

# Rows cut at a time: about a megabyte a band for the widest tiles.
_CUT_ROWS = 128
# Reflectance that nothing saturated is darker than, so that it can be divided by.
_LEAST = 1e-3

VISIBLE = ("red", "green", "blue")


@dataclass(frozen=True)
class PreviewGrid:
    """A coarse grid over the area: `factor` pixels a side from its top left corner."""

    area: Window
    factor: int

    @classmethod
    def of(cls, area: Window, longest: int) -> PreviewGrid:
        """Return the grid whose longer side has at most `longest` pixels."""
        return cls(area, max(1, math.ceil(max(area.shape) / longest)))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return -(-self.area.height // self.factor), -(-self.area.width // self.factor)

    def sizes(self) -> NDArray[np.float32]:
        """Return how many pixels of the area each pixel of the preview stands for."""
        rows, columns = (
            np.minimum(self.factor, n - np.arange(0, n, self.factor)) for n in self.area.shape
        )
        return (rows[:, None] * columns).astype(np.float32)


@dataclass(frozen=True)
class Thumbnail:
    """Sums of reflectance over a tile's part of the preview: (3, rows, columns) from a corner."""

    row: int
    column: int
    sums: NDArray[np.float32]


class Buffers:
    """Input and output of the model, used again for every tile: fresh memory is slow memory."""

    def __init__(self, batch: int, card: ModelCard, shape: tuple[int, int]) -> None:
        self._inputs = (batch, len(card.bands), *shape)
        self._outputs = (batch, len(card.classes), *shape)
        self._local = threading.local()

    def of_thread(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the arrays of the thread that asks: (N, B, H, W) and (N, C, H, W)."""
        if not hasattr(self._local, "arrays"):
            self._local.arrays = (
                np.empty(self._inputs, np.float32),
                np.empty(self._outputs, np.float32),
            )
        found: tuple[NDArray[np.float32], NDArray[np.float32]] = self._local.arrays
        return found


@dataclass(frozen=True)
class Job:
    """What is the same for every tile of a run.

    `scene` reads from the cache; `statistics` are those of the whole scene, (S, B) by the card, or
    None where the model needs none.
    """

    plan: Plan
    scene: Scene
    model: Model
    thresholds: Mapping[str, float] | None
    probabilities: Literal["float32", "uint8"] | None
    preview: PreviewGrid | None
    buffers: Buffers
    statistics: NDArray[np.float32] | None = None

    @cached_property
    def levels(self) -> dict[int, tuple[Band, BandFile, int]]:
        """Place of a band in the model's input -> what to read for it; absent ones are left out."""
        found = self.scene.levels(self._read, self.plan.resolution)
        return dict(zip(map(self._place, self._read), found, strict=True))

    @cached_property
    def native(self) -> frozenset[int]:
        """Places of the bands whose pixels are read as they are.

        Of pixels that several went into, one that is saturated tells little of the rest.
        """
        target = self.plan.scene_grid.transform
        return frozenset(
            number
            for number, (_, file, factor) in self.levels.items()
            if file.level(factor).almost_equals(target)
        )

    @cached_property
    def needed(self) -> list[int]:
        """Places of the bands that tell a pixel's validity: all that are read if none is needed."""
        return [self._place(name) for name in self.plan.required or self._read]

    @property
    def _read(self) -> tuple[str, ...]:
        return (*self.plan.required, *self.plan.optional)

    def _place(self, name: str) -> int:
        return [use.name for use in self.plan.card.bands].index(name)


@dataclass(frozen=True)
class Treated:
    """What was done to reflectance before the model saw it.

    Attributes:
        filled: pixels were 0 in every band, and so no data.
        raised: pixels that are saturated in visible bands were raised towards near infrared.
    """

    filled: bool = False
    raised: bool = False

    def __or__(self, other: Treated) -> Treated:
        return Treated(self.filled or other.filled, self.raised or other.raised)


@dataclass(frozen=True)
class Answer:
    """What became of a tile's core.

    `treated` says what was done to the reflectance of what the tile saw.
    """

    core: Window
    classes: NDArray[np.uint8]
    validity: NDArray[np.uint8]
    probabilities: NDArray[Any] | None
    thumbnail: Thumbnail | None
    treated: Treated


def run_tiles(job: Job, tiles: Sequence[Tile]) -> tuple[list[Answer], float]:
    """Return the answers for tiles, which go through the model together, and its CPU time."""
    inputs, outputs = (array[: len(tiles)] for array in job.buffers.of_thread())
    cuts = [_cut(job, t, target) for t, target in zip(tiles, inputs, strict=True)]
    thumbnails = [_thumbnail(job, t, r) for t, r in zip(tiles, inputs, strict=True)]
    seconds = 0.0
    # What has no data all over needs no answer.
    if any(judged(validity).any() for validity, _ in cuts):
        start = time.thread_time()
        job.model.run(inputs, outputs, job.statistics)
        seconds = time.thread_time() - start
    else:
        outputs.fill(np.nan)
    answers = [
        _answer(job, tile, cut, seen, thumbnail)
        for tile, cut, seen, thumbnail in zip(tiles, cuts, outputs, thumbnails, strict=True)
    ]
    return answers, seconds


def _cut(job: Job, tile: Tile, target: NDArray[np.float32]) -> tuple[NDArray[np.uint8], Treated]:
    """Read what a tile sees into `target`; return its core's validity, and what was done.

    Some rows at a time, so that what is made on the way stays in the processor's cache.
    """
    window = tile.seen.intersect(Window.whole(job.plan.scene_shape))
    target[:, window.height :] = np.nan
    target[:, :, window.width :] = np.nan
    validity, treated = np.empty(window.shape, np.uint8), Treated()
    for top in range(0, window.height, _CUT_ROWS):
        rows = min(_CUT_ROWS, window.height - top)
        part = Window(window.row + top, window.column, rows, window.width)
        inner = slice(top, top + rows)
        validity[inner], some = _read(job, part, target[:, inner, : window.width])
        treated |= some
    return validity[_inside(tile)].copy(), treated


def _read(
    job: Job, window: Window, target: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], Treated]:
    """Read a window in the card's order of bands; return its validity over the needed bands.

    And what was done to it. What `Scene.read` does, but straight into the model's input: a copy
    less of every pixel.
    """
    saturated: NDArray[np.bool_] | None = None
    limits: dict[int, NDArray[np.bool_]] = {}
    for number, place in enumerate(target):
        if number not in job.levels:
            place.fill(np.nan)
            continue
        limit = read_band(*job.levels[number], job.plan.scene_grid, window, place)
        if limit is None:
            continue
        if number in job.native:
            limits[number] = limit
        if number in job.needed:
            saturated = limit if saturated is None else saturated | limit
    bands = {number: band for number, (band, _, _) in job.levels.items()}
    filled = leave_out_fill(bands, target)
    raised = _raise_saturated([use.name for use in job.plan.card.bands], target, limits)
    return validity_of(target[job.needed], saturated), Treated(filled, raised)


def _raise_saturated(
    names: Sequence[str], target: NDArray[np.float32], limits: Mapping[int, NDArray[np.bool_]]
) -> bool:
    """Raise visible bands towards near infrared where they are saturated; tell whether any was.

    A saturated value is the least that it can be, and what saturates in visible light is white, so
    hardly darker there than in near infrared. Left as it is, cloud that ends at 0.4 (ETM+ at high
    gain) and has 0.8 in near infrared looks like leaves. Near infrared of twice the value is taken
    whole, less of it in proportion: there the ground shines through, and a step would look like
    the edge of a cloud (what was tried: docs/models.md).

    Args:
        names: of the bands of `target`.
        target: (bands, rows, columns), changed in place.
        limits: place of a band -> where it is saturated.
    """
    places = [n for n, name in enumerate(names) if name in ("nir", "nir08")]
    visible = [n for n in limits if names[n] in VISIBLE and limits[n].any()]
    if not places or not visible:
        return False
    infrared = target[places[0]]
    for place in places[1:]:
        infrared = np.where(np.isnan(infrared), target[place], infrared)
    raised = False
    for number in visible:
        # Of NaN in either nothing is known, and the comparison says no.
        lower = limits[number] & (target[number] < infrared)
        dark, bright = target[number][lower], infrared[lower]
        share = np.clip((bright - dark) / np.maximum(dark, _LEAST), 0, 1)
        target[number][lower] = dark + (bright - dark) * share
        raised |= bool(lower.any())
    return raised


def _inside(tile: Tile) -> tuple[slice, slice]:
    """Return where the core lies in what is seen."""
    return tile.core.shift(-tile.seen.row, -tile.seen.column).slices


def _answer(
    job: Job,
    tile: Tile,
    cut: tuple[NDArray[np.uint8], Treated],
    seen: NDArray[np.float32],
    thumbnail: Thumbnail | None,
) -> Answer:
    validity, treated = cut
    core = seen[:, *_inside(tile)]
    classes = decide(core, job.plan.card, job.thresholds)
    blank = ~judged(validity)
    validity[(classes == NO_DATA) & ~blank] = Validity.NOT_JUDGED
    classes[blank] = NO_DATA
    probabilities: NDArray[Any] | None = None
    if job.probabilities == "uint8":
        probabilities = scale_probabilities(core)
        probabilities[:, classes == NO_DATA] = NO_DATA
    elif job.probabilities == "float32":
        probabilities = core.copy()
        probabilities[:, classes == NO_DATA] = np.nan
    return Answer(tile.core, classes, validity, probabilities, thumbnail, treated)


def _thumbnail(job: Job, tile: Tile, reflectance: NDArray[np.float32]) -> Thumbnail | None:
    """Sum the visible bands of a core over the pixels of the preview; NaN stays NaN."""
    if job.preview is None:
        return None
    names = [use.name for use in job.plan.card.bands]
    visible = reflectance[:, *_inside(tile)]
    place = tile.core.shift(-job.preview.area.row, -job.preview.area.column)
    factor = job.preview.factor
    row, rows = _edges(place.row, place.stop_row, factor)
    column, columns = _edges(place.column, place.stop_column, factor)
    sums = np.empty((len(VISIBLE), len(rows), visible.shape[2]), np.float32)
    for target, name in zip(sums, VISIBLE, strict=True):
        # A sum a row of the preview: reduceat along the rows takes ten times as long.
        for line, part in zip(target, np.split(visible[names.index(name)], rows[1:]), strict=True):
            part.sum(axis=0, out=line)
    return Thumbnail(row, column, np.add.reduceat(sums, columns, axis=2))


def _edges(start: int, stop: int, factor: int) -> tuple[int, NDArray[np.intp]]:
    """Return the first coarse pixel, and where each coarse pixel starts, counted from `start`."""
    first = start // factor
    edges = np.arange(first, -(-stop // factor)) * factor - start
    return first, np.maximum(edges, 0)
