"""Masking a scene: into memory with `mask_scene`, into files with `mask_to_folder`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from nubila.classes import NO_DATA, Validity
from nubila.errors import InputError, OutputError
from nubila.infer.area import Area, PlacedArea, place_area, read_area
from nubila.infer.decide import PROBABILITY_NO_DATA, postprocess
from nubila.infer.engine import Progress, Run, Strip, run_scene
from nubila.infer.mask import CloudMask
from nubila.infer.output import (
    PICTURE_SIZE,
    FileSet,
    legend_of,
    open_files,
    write_rest,
)
from nubila.infer.provenance import MaskOptions, Provenance, provenance_of
from nubila.infer.stac import is_same_mask, local_href
from nubila.infer.statistics import Counter, Statistics
from nubila.models_io import Model, find_model, load_model
from nubila.raster import Grid
from nubila.raster.atomic import make_folder
from nubila.scenes import Scene

__all__ = ["MaskResult", "mask_scene", "mask_to_folder"]

_ROWS: Final = 1024


@dataclass(frozen=True)
class MaskResult:
    """What `mask_to_folder` gives.

    Attributes:
        scene_id: identifier of the scene.
        skipped: whether the folder held the same mask already, so that nothing was done.
        paths: ``mask``, ``style``, ``item`` ... -> path.
        statistics: of the area.
        grid: of the mask.
        notes: what a person should know.
        run: what the engine tells of the run; None if skipped.
    """

    scene_id: str
    skipped: bool
    paths: Mapping[str, Path]
    statistics: Statistics
    grid: Grid
    notes: tuple[str, ...] = ()
    run: Run | None = None


def mask_scene(
    scene: Scene | str | Path,
    *,
    model: Model | str | Path | None = None,
    resolution: float | None = None,
    area: str | Path | Mapping[str, Any] | Sequence[float] | Area | None = None,
    area_crs: str | int | None = None,
    thresholds: Mapping[str, float] | None = None,
    probabilities: bool = False,
    dilate: float = 0.0,
    min_area: float = 0.0,
    threads: int | None = None,
    progress: Progress | None = None,
) -> CloudMask:
    """Mask a scene, or an area of it, into memory.

    Args:
        scene: a scene, or what `nubila.open_scene` takes.
        model: a loaded model, the name of one that ships, or a path; default the first that ships.
        resolution: metres a pixel; default the scene's own choice (20 m for Sentinel-2).
        area: GeoJSON (path, text or mapping) or bounds west, south, east, north. Only what it
            needs is read; a pixel belongs to it if its centre lies inside.
        area_crs: CRS of the area; default longitude and latitude.
        thresholds: class name -> least probability; default the most probable class.
        probabilities: keep the probabilities.
        dilate: metres by which cloud, thin cloud and cloud shadow grow.
        min_area: square metres; smaller objects are filled by what is around them.
        threads: default one a processor.
        progress: called with pixels done and pixels in all.

    Raises:
        BandError: the scene lacks a band that the model needs.
        GridError: the area lies outside the scene.
        InputError: an argument is wrong, or no pixel of the area has data.
        ModelError: there is no such model, or it does not run.
        ProductError: the scene cannot be read.

    >>> mask = mask_scene("S2B_..._T32UQD_....SAFE", area=(11.2, 47.9, 11.4, 48.1))
    ... # doctest: +SKIP
    """
    options = MaskOptions(
        resolution=resolution,
        area=None if area is None else read_area(area, area_crs),
        thresholds=dict(thresholds or {}),
        dilate=dilate,
        min_area=min_area,
        probabilities=probabilities,
    )
    task = _prepare(scene, model, options)
    target = _Arrays(task.grid.shape, len(task.model.card.classes) if probabilities else 0)
    run, statistics = _deliver(task, target, "float32", threads, progress)
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


def mask_to_folder(
    scene: Scene | str | Path,
    folder: str | Path,
    *,
    model: Model | str | Path | None = None,
    options: MaskOptions | None = None,
    threads: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> MaskResult:
    """Mask a scene into files, in bounded memory.

    The STAC item is written last: a folder that holds it holds a whole mask. If it tells of the
    same input, model, options and version, nothing is done. (Dilation and the removal of small
    objects look at the whole mask, which then is held in memory: 4 bytes a pixel.)

    Args:
        scene: a scene, or what `nubila.open_scene` takes; files are named after its ``id``.
        folder: made if it is not there.
        model: a loaded model, the name of one that ships, or a path; default the first that ships.
        options: resolution, area of interest, thresholds, kind of output.
        threads: default one a processor.
        overwrite: replace a mask that is there, whatever it is.
        progress: called with pixels done and pixels in all.

    Raises:
        BandError, GridError, InputError, ModelError, ProductError: as `mask_scene`.
        OutputError: files cannot be written, or the folder holds another mask of this name.
    """
    folder = make_folder(folder)
    task = _prepare(scene, model, options or MaskOptions())
    files = FileSet(folder, task.scene.id)
    if not overwrite and (done := _finished(task, files)):
        return done
    files.remove_item()
    legend = legend_of(task.options)
    with open_files(files, task.grid, task.provenance, legend) as writer:
        run, statistics = _deliver(task, writer, "uint8", threads, progress)
    paths = write_rest(files, task.grid, task.provenance, legend, statistics, run.preview)
    return MaskResult(
        task.scene.id,
        False,
        paths,
        statistics,
        task.grid,
        task.notes(run),
        run,
    )


@dataclass(frozen=True)
class _Task:
    """A scene, a model and options that fit together."""

    scene: Scene
    model: Model
    options: MaskOptions
    placed: PlacedArea | None
    grid: Grid
    provenance: Provenance

    def outside(self, row: int, rows: int) -> NDArray[np.bool_] | None:
        """Return where pixels of some rows are not of the area, or None where all are."""
        return None if self.placed is None else self.placed.outside(row, rows)

    def notes(self, run: Run | None = None) -> tuple[str, ...]:
        placed = self.placed.notes if self.placed else ()
        return (*self.scene.notes, *placed, *(run.notes if run else ()))


def _prepare(
    scene: Scene | str | Path, model: Model | str | Path | None, options: MaskOptions
) -> _Task:
    """Open scene and model, and lay the area on the scene; nothing is decoded yet."""
    if not isinstance(scene, Scene):
        from nubila.scenes import open_scene

        scene = open_scene(scene)
    if not isinstance(model, Model):
        model = load_model(find_model(model))
    size = options.resolution
    if size is None:
        size = scene.default_resolution or scene.resolution
    grid = scene.grid_at(size)
    placed = None
    if options.area is not None:
        placed = place_area(options.area, grid)
        grid = placed.grid
    return _Task(scene, model, options, placed, grid, provenance_of(scene, model, options))


def _finished(task: _Task, files: FileSet) -> MaskResult | None:
    """Return the result of an earlier run, None if there is none.

    Raises:
        OutputError: the mask that is there is of another scene, or made otherwise.
    """
    path = files.path("item")
    if not path.exists():
        return None
    try:
        item = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{path}: is there and does not read: {error}; use --overwrite"
        ) from error
    if not is_same_mask(item, task.provenance, files.folder):
        raise OutputError(
            f"{path}: {_difference(item, task, files)}. Use --overwrite to replace it, or another "
            "folder to keep both"
        )
    return MaskResult(
        scene_id=task.scene.id,
        skipped=True,
        paths={k: files.folder / a["href"] for k, a in item["assets"].items()} | {"item": path},
        statistics=Statistics.from_record(item["properties"]["nubila:statistics"]),
        grid=task.grid,
        notes=task.notes(),
    )


def _difference(item: Mapping[str, Any], task: _Task, files: FileSet) -> str:
    """Say for a person how an item differs from what would be made now."""
    there = [link["href"] for link in item.get("links", []) if link["rel"] == "derived_from"]
    if local_href(task.scene.path, files.folder) not in there:
        return f"the mask of another scene with this name is there ({', '.join(there)})"
    return "a mask made with another model, version or options is there, or a file of it is gone"


class _Target(Protocol):
    """Takes the rows of a mask from top to bottom."""

    def write(self, classes: NDArray[np.uint8], validity: NDArray[np.uint8]) -> None: ...

    def write_probabilities(self, probabilities: NDArray[Any]) -> None: ...


class _Arrays:
    """A mask in memory, filled from top to bottom."""

    def __init__(self, shape: tuple[int, int], bands: int) -> None:
        self.classes = np.empty(shape, np.uint8)
        self.validity = np.empty(shape, np.uint8)
        self.probabilities = np.empty((bands, *shape), np.float32) if bands else None
        self._row = self._probability_row = 0

    def write(self, classes: NDArray[np.uint8], validity: NDArray[np.uint8]) -> None:
        rows = slice(self._row, self._row + len(classes))
        self.classes[rows], self.validity[rows] = classes, validity
        self._row = rows.stop

    def write_probabilities(self, probabilities: NDArray[Any]) -> None:
        if self.probabilities is not None:
            rows = slice(self._probability_row, self._probability_row + probabilities.shape[1])
            self.probabilities[:, rows] = probabilities
            self._probability_row = rows.stop


def _deliver(
    task: _Task,
    target: _Target,
    probability_type: Literal["float32", "uint8"],
    threads: int | None,
    progress: Progress | None,
) -> tuple[Run, Statistics]:
    """Run the model, bring what it finds to the target, and count."""
    options = task.options
    delivery = _Delivery(task, target)
    if progress is not None:
        progress(0, task.grid.shape[0] * task.grid.shape[1])
    run = run_scene(
        task.scene,
        task.model,
        sink=delivery.take,
        resolution=options.resolution,
        window=None if task.placed is None else task.placed.window,
        threads=threads,
        thresholds=options.thresholds or None,
        probabilities=probability_type if options.probabilities else None,
        preview=PICTURE_SIZE if options.picture else 0,
        progress=progress,
    )
    delivery.finish()
    return run, _checked(delivery.counter.statistics(), task)


class _Delivery:
    """Finishes strips: dilation and small objects, no data outside of the area, counts."""

    def __init__(self, task: _Task, target: _Target) -> None:
        height, width = task.grid.pixel_size
        self.counter = Counter(task.model.card.class_codes, height * width)
        self._task, self._target = task, target
        self._whole: _Arrays | None = None
        if task.options.dilate or task.options.min_area:
            self._whole = _Arrays(task.grid.shape, 0)

    def take(self, strip: Strip) -> None:
        """Take in a strip of the engine."""
        if strip.probabilities is not None:
            outside = self._task.outside(strip.row, len(strip.classes))
            self._target.write_probabilities(_without(strip.probabilities, outside))
        if self._whole is None:
            self._hand_on(strip.row, strip.classes, strip.validity)
        else:
            self._whole.write(strip.classes, strip.validity)

    def finish(self) -> None:
        """Hand on what had to wait for the whole mask."""
        if self._whole is None:
            return
        options, validity = self._task.options, self._whole.validity
        classes = postprocess(
            self._whole.classes,
            pixel_size=self._task.grid.pixel_size,
            dilate_m=options.dilate,
            min_area_m2=options.min_area,
        )
        for row in range(0, len(classes), _ROWS):
            self._hand_on(row, classes[row : row + _ROWS], validity[row : row + _ROWS])

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


def _checked(statistics: Statistics, task: _Task) -> Statistics:
    """Return the statistics if some pixel was judged."""
    if statistics.valid:
        return statistics
    told = ", ".join(
        f"{count} {Validity(v).name.lower().replace('_', ' ')}"
        for v, count in statistics.validity.items()
        if count
    )
    where = "the area of interest" if task.placed else "the scene"
    raise InputError(
        f"{task.scene.path}: no pixel of {where} could be judged ({told}). Are the bands empty, "
        "or is nodata a value that all pixels have?"
    )
