"""What a worker does with a tile: cut it, run the model, decide."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nubila.classes import NO_DATA, Validity
from nubila.infer.decide import decide, judged, scale_probabilities
from nubila.infer.plan import Plan, Tile
from nubila.models_io import Model
from nubila.raster import Window
from nubila.scenes import Scene

__all__ = ["VISIBLE", "Answer", "Job", "PreviewGrid", "Thumbnail", "run_tiles"]

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


@dataclass(frozen=True)
class Job:
    """What is the same for every tile of a run; `scene` reads from the cache."""

    plan: Plan
    scene: Scene
    model: Model
    thresholds: Mapping[str, float] | None
    probabilities: Literal["float32", "uint8"] | None
    preview: PreviewGrid | None


@dataclass(frozen=True)
class Answer:
    """What became of a tile's core."""

    core: Window
    classes: NDArray[np.uint8]
    validity: NDArray[np.uint8]
    probabilities: NDArray[Any] | None
    thumbnail: Thumbnail | None


def run_tiles(job: Job, tiles: Sequence[Tile]) -> list[Answer]:
    """Return the answers for tiles, which go through the model together."""
    shape = (len(tiles), len(job.plan.card.bands), *tiles[0].seen.shape)
    reflectance = np.full(shape, np.nan, np.float32)
    validities = [_cut(job, t, target) for t, target in zip(tiles, reflectance, strict=True)]
    thumbnails = [_thumbnail(job, t, r) for t, r in zip(tiles, reflectance, strict=True)]
    # What has no data all over needs no answer.
    seen = [n for n, validity in enumerate(validities) if judged(validity).any()]
    found: dict[int, NDArray[np.float32]] = {}
    if seen:
        whole = len(seen) == len(tiles)
        found = dict(
            zip(seen, job.model.run(reflectance if whole else reflectance[seen]), strict=True)
        )
    del reflectance
    return [
        _answer(job, tile, validity, found.get(n), thumbnail)
        for n, (tile, validity, thumbnail) in enumerate(
            zip(tiles, validities, thumbnails, strict=True)
        )
    ]


def _cut(job: Job, tile: Tile, target: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Read what a tile sees into `target`, and return the validity of its core."""
    plan = job.plan
    window = tile.seen.intersect(Window.whole(plan.scene_shape))
    rows, columns = window.shape
    places = {use.name: n for n, use in enumerate(plan.card.bands)}
    validity = np.empty(0, np.uint8)
    for bands in (plan.required, plan.optional):
        if not bands:
            continue
        pixels = job.scene.read(bands, window, plan.resolution)
        for name, values in zip(bands, pixels.reflectance, strict=True):
            target[places[name], :rows, :columns] = values
        if bands is plan.required or not plan.required:
            validity = pixels.validity
    return validity[_inside(tile)].copy()


def _inside(tile: Tile) -> tuple[slice, slice]:
    """Return where the core lies in what is seen."""
    return tile.core.shift(-tile.seen.row, -tile.seen.column).slices


def _answer(
    job: Job,
    tile: Tile,
    validity: NDArray[np.uint8],
    seen: NDArray[np.float32] | None,
    thumbnail: Thumbnail | None,
) -> Answer:
    if seen is None:
        classes = np.full(validity.shape, NO_DATA, np.uint8)
        return Answer(tile.core, classes, validity, _nothing(job, validity.shape), thumbnail)
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
    return Answer(tile.core, classes, validity, probabilities, thumbnail)


def _nothing(job: Job, shape: tuple[int, int]) -> NDArray[Any] | None:
    if job.probabilities is None:
        return None
    value = np.nan if job.probabilities == "float32" else NO_DATA
    return np.full((len(job.plan.card.classes), *shape), value, job.probabilities)


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
    sums = [
        np.add.reduceat(np.add.reduceat(visible[names.index(name)], rows, axis=0), columns, axis=1)
        for name in VISIBLE
    ]
    return Thumbnail(row, column, np.stack(sums))


def _edges(start: int, stop: int, factor: int) -> tuple[int, NDArray[np.intp]]:
    """Return the first coarse pixel, and where each coarse pixel starts, counted from `start`."""
    first = start // factor
    edges = np.arange(first, -(-stop // factor)) * factor - start
    return first, np.maximum(edges, 0)
