"""One run, from scene and model to finished rows: what memory and files have in common."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from nubila.bands import STANDS_IN, band_name
from nubila.classes import NO_DATA, Validity
from nubila.errors import InputError
from nubila.infer.area import PlacedArea, place_area
from nubila.infer.decide import PROBABILITY_NO_DATA, check_told
from nubila.infer.engine import Progress, Run, Strip, model_notes, run_scene
from nubila.infer.mask import CloudMask
from nubila.infer.operating import point_of
from nubila.infer.output import PICTURE_SIZE
from nubila.infer.postprocess import (
    growth_notes,
    postprocess,
    postprocess_margin,
    sieve_notes,
)
from nubila.infer.provenance import MaskOptions, Provenance, provenance_of
from nubila.infer.statistics import Counter, Statistics
from nubila.infer.tiles import PreviewGrid
from nubila.models_io import Model, ModelCard, OperatingPoint, load_model
from nubila.raster import Grid, Window
from nubila.scenes import Scene

__all__ = ["Arrays", "Target", "Task", "check_taken", "deliver", "mask_in_memory", "prepare"]

_ROWS: Final = 1024
# Visible reflectance of which 99 % of a scene cannot lie below, even of an ocean seen through no
# air, and 1 % not above, even of cloud and glint.
_TOO_DARK: Final = 0.005
_TOO_BRIGHT: Final = 2.5
_SMALL_PREVIEW: Final = 64  # pixels, where nobody asked for a picture


@dataclass(frozen=True)
class Task:
    """A scene, a model and options that fit together.

    Attributes:
        scene: the scene.
        model: the model.
        options: as given.
        point: thresholds and post-processing, by options and card.
        placed: the area of interest, or None.
        grid: of the mask.
        pixel_size: height and width in metres by which clouds grow and small objects are told:
            those of the whole scene's grid, so that an area gets what the scene would.
        seen: pixels of the scene that the model judges: the area, and as much around it as decides
            how clouds grow and which objects are small; None = the whole scene.
        provenance: where the mask comes from.
    """

    scene: Scene
    model: Model
    options: MaskOptions
    point: OperatingPoint
    placed: PlacedArea | None
    grid: Grid
    pixel_size: tuple[float, float]
    seen: Window | None
    provenance: Provenance

    @property
    def inner(self) -> Window:
        """Where the mask lies in what is seen."""
        if self.placed is None or self.seen is None:
            return Window.whole(self.grid.shape)
        return self.placed.window.shift(-self.seen.row, -self.seen.column)

    @property
    def seen_shape(self) -> tuple[int, int]:
        """Rows and columns of what is seen."""
        return self.grid.shape if self.seen is None else self.seen.shape

    def outside(self, row: int, rows: int) -> NDArray[np.bool_] | None:
        """Return where pixels of some rows are not of the area, or None where all are."""
        return None if self.placed is None else self.placed.outside(row, rows)

    def notes(self, run: Run | None = None) -> tuple[str, ...]:
        """Return what a person should know of scene, area and run (None: an earlier one)."""
        placed = self.placed.notes if self.placed else ()
        size = _resolution(self.scene, self.options)
        told = model_notes(self.scene, self.model.card, size) if run is None else run.notes
        grown = growth_notes(pixel_size=self.pixel_size, dilate_m=self.point.dilate)
        return (*self.scene.notes, *placed, *grown, *told)


def prepare(
    scene: Scene | str | Path, model: Model | str | Path | None, options: MaskOptions
) -> Task:
    """Open scene and model, and lay the area on the scene; nothing is decoded yet."""
    if not isinstance(scene, Scene):
        from nubila.scenes import open_scene

        scene = open_scene(scene)
    if not isinstance(model, Model):
        model = load_model(model)
    point = point_of(options, model.card)
    _check_output(model, options, point)
    grid = scene.grid_at(_resolution(scene, options))
    size = grid.pixel_size
    placed = seen = None
    if options.area is not None:
        placed = place_area(options.area, grid)
        margin = postprocess_margin(
            pixel_size=size, dilate_m=point.dilate, min_area_m2=point.min_area
        )
        seen = placed.window.expand(margin, within=grid.shape)
        grid = placed.grid
    provenance = provenance_of(scene, model, options)
    return Task(scene, model, options, point, placed, grid, size, seen, provenance)


def check_taken(card: ModelCard, auxiliary: Iterable[str]) -> None:
    """Refuse auxiliary bands that a model does not take, rather than leave them unheeded.

    Raises:
        InputError: it does not take one; the message names those that it takes.
    """
    taken = {use.name for use in card.bands}
    for name in auxiliary:
        band = band_name(name)
        if not {band, STANDS_IN.get(band)} & taken:
            raise InputError(
                f"model {card.name} takes no band {name!r} (it takes: "
                f"{', '.join(use.name for use in card.bands)}); leave the auxiliary file out, or "
                f"choose a model that was trained with it"
            )


def _check_output(model: Model, options: MaskOptions, point: OperatingPoint) -> None:
    """Refuse options that ask for what a model does not give: classes, probabilities."""
    card = model.card
    check_told(card, options.classes)
    if card.output in ("classes", "mask") and (options.probabilities or point.thresholds):
        what = "probabilities" if options.probabilities else "thresholds"
        raise InputError(
            f"{model.path}: its graph gives {card.output}, not probabilities, so there are no "
            f"{what}. Leave them out, or export the run with --output probabilities"
        )


def _resolution(scene: Scene, options: MaskOptions) -> float:
    """Return metres a pixel: as asked for, or the scene's own choice."""
    if options.resolution is not None:
        return options.resolution
    return scene.default_resolution or scene.resolution


class Target(Protocol):
    """Takes the rows of a mask from top to bottom."""

    def write(self, classes: NDArray[np.uint8], validity: NDArray[np.uint8]) -> None:
        """Append rows of class codes and validity."""
        ...

    def write_probabilities(self, probabilities: NDArray[Any]) -> None:
        """Append rows of probabilities, (classes, rows, columns)."""
        ...


class Arrays:
    """A mask in memory, filled from top to bottom."""

    def __init__(self, shape: tuple[int, int], bands: int) -> None:
        self.classes = np.empty(shape, np.uint8)
        self.validity = np.empty(shape, np.uint8)
        self.probabilities = np.empty((bands, *shape), np.float32) if bands else None
        self._row = self._probability_row = 0

    def write(self, classes: NDArray[np.uint8], validity: NDArray[np.uint8]) -> None:
        """Append rows of class codes and validity."""
        rows = slice(self._row, self._row + len(classes))
        self.classes[rows], self.validity[rows] = classes, validity
        self._row = rows.stop

    def write_probabilities(self, probabilities: NDArray[Any]) -> None:
        """Append rows of probabilities, (classes, rows, columns)."""
        if self.probabilities is not None:
            rows = slice(self._probability_row, self._probability_row + probabilities.shape[1])
            self.probabilities[:, rows] = probabilities
            self._probability_row = rows.stop


def mask_in_memory(task: Task, threads: int | None, progress: Progress | None) -> CloudMask:
    """Run the model and keep what it finds; statistics may tell of no valid pixel at all."""
    bands = len(task.model.card.classes) if task.options.probabilities else 0
    target = Arrays(task.grid.shape, bands)
    run, statistics = deliver(task, target, "float32", threads, progress)
    return CloudMask(
        classes=target.classes,
        validity=target.validity,
        probabilities=target.probabilities,
        grid=task.grid,
        statistics=statistics,
        provenance=task.provenance,
        image=run.preview,
        notes=task.notes(run),
    )


def deliver(
    task: Task,
    target: Target,
    probability_type: Literal["float32", "uint8"],
    threads: int | None,
    progress: Progress | None,
) -> tuple[Run, Statistics]:
    """Run the model, bring what it finds to the target, and count."""
    options = task.options
    delivery = _Delivery(task, target)
    if progress is not None:
        progress(0, math.prod(task.seen_shape))
    run = run_scene(
        task.scene,
        task.model,
        sink=delivery.take,
        resolution=options.resolution,
        window=task.seen,
        threads=threads,
        thresholds=task.point.thresholds or None,
        probabilities=probability_type if options.probabilities else None,
        preview=PICTURE_SIZE if options.picture else _SMALL_PREVIEW,
        progress=progress,
    )
    delivery.finish()
    notes = (*run.notes, *delivery.notes, *_scale_notes(run.preview))
    preview = _inner_preview(run.preview, task) if options.picture else None
    run = replace(run, grid=task.grid, preview=preview, notes=notes)
    return run, delivery.counter.statistics()


def _scale_notes(preview: NDArray[np.float32] | None) -> tuple[str, ...]:
    """Return a note if what was seen, (3, rows, columns) reflectance, is hardly of this Earth."""
    found = np.empty(0) if preview is None else preview[np.isfinite(preview)]
    if not found.size:
        return ()
    high = float(np.percentile(found, 99))
    if _TOO_DARK <= high <= _TOO_BRIGHT:
        return ()
    return (
        f"red, green and blue reach a reflectance of {high:.2g} (99th percentile; 1 = 100 %), "
        f"which is hardly right; look at scale, offset and no data (nubila info)",
    )


def _inner_preview(preview: NDArray[np.float32] | None, task: Task) -> NDArray[np.float32] | None:
    """Cut the picture of what was seen down to the mask, as near as its pixels allow."""
    inner = task.inner
    if preview is None or inner.shape == task.seen_shape:
        return preview
    factor = PreviewGrid.of(Window.whole(task.seen_shape), PICTURE_SIZE).factor
    return preview[
        :,
        inner.row // factor : -(-inner.stop_row // factor),
        inner.column // factor : -(-inner.stop_column // factor),
    ]


class _Delivery:
    """Finishes strips: dilation and small objects, no data outside of the area, counts."""

    def __init__(self, task: Task, target: Target) -> None:
        height, width = task.grid.pixel_size
        self.counter = Counter(task.model.card.class_codes, height * width)
        self.notes: tuple[str, ...] = ()
        self._task, self._target = task, target
        self._whole: Arrays | None = None
        if task.point.dilate or task.point.min_area:
            self._whole = Arrays(task.seen_shape, 0)

    def take(self, strip: Strip) -> None:
        """Take in a strip of the engine."""
        if strip.probabilities is not None:
            self._hand_on_probabilities(strip.row, strip.probabilities)
        if self._whole is None:
            self._hand_on(strip.row, strip.classes, strip.validity)
        else:
            self._whole.write(strip.classes, strip.validity)

    def finish(self) -> None:
        """Hand on what had to wait for the whole mask."""
        if self._whole is None:
            return
        point, validity = self._task.point, self._whole.validity
        self.notes = sieve_notes(
            self._whole.classes, pixel_size=self._task.pixel_size, min_area_m2=point.min_area
        )
        classes = postprocess(
            self._whole.classes,
            pixel_size=self._task.pixel_size,
            dilate_m=point.dilate,
            min_area_m2=point.min_area,
        )
        inner = self._task.inner.slices
        classes, validity = classes[inner], validity[inner]
        for row in range(0, len(classes), _ROWS):
            self._hand_on(row, classes[row : row + _ROWS], validity[row : row + _ROWS])

    def _hand_on_probabilities(self, row: int, probabilities: NDArray[Any]) -> None:
        rows, columns = probabilities.shape[1:]
        inner = self._task.inner
        part = Window(row, 0, rows, columns).intersect(inner)
        if part.height:
            outside = self._task.outside(part.row - inner.row, part.height)
            found = probabilities[:, *part.shift(-row, 0).slices]
            self._target.write_probabilities(_without(found, outside))

    def _hand_on(self, row: int, classes: NDArray[np.uint8], validity: NDArray[np.uint8]) -> None:
        outside = self._task.outside(row, len(classes))
        self.counter.add(classes, validity, outside)
        if outside is not None:
            classes = np.where(outside, np.uint8(NO_DATA), classes)
            validity = np.where(outside, np.uint8(Validity.NO_DATA), validity)
        self._target.write(classes, validity)


def _without(probabilities: NDArray[Any], outside: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Return probabilities (classes, rows, columns) with no data outside of the area."""
    if outside is None:
        return probabilities
    none = PROBABILITY_NO_DATA if probabilities.dtype == np.uint8 else np.nan
    return np.where(outside, probabilities.dtype.type(none), probabilities)
