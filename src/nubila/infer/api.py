"""Masking a scene: into memory with `mask_scene`, into files with `mask_to_folder`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nubila.classes import Validity
from nubila.errors import InputError, OutputError
from nubila.infer.area import AreaLike, read_area
from nubila.infer.delivery import Task, check_taken, deliver, mask_in_memory, prepare
from nubila.infer.engine import Progress, Run, default_threads
from nubila.infer.finished import finished_item, lost_files, renewal_notes
from nubila.infer.mask import CloudMask
from nubila.infer.operating import given_thresholds
from nubila.infer.output import FileSet, legend_of, open_files, write_rest
from nubila.infer.provenance import MaskOptions
from nubila.infer.stac import asset_path
from nubila.infer.statistics import Statistics
from nubila.models_io import Model
from nubila.raster import Grid
from nubila.raster.atomic import new_folder
from nubila.scenes import Scene, open_scene
from nubila.scenes.auxiliary import with_auxiliary

__all__ = ["MaskResult", "mask_scene", "mask_to_folder"]


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
    area: AreaLike | None = None,
    area_crs: str | int | None = None,
    operating_point: str | None = None,
    thresholds: Mapping[str, float] | None = None,
    probabilities: bool = False,
    dilate: float | None = None,
    min_area: float | None = None,
    auxiliary: Mapping[str, str | Path] | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> CloudMask:
    """Mask a scene, or an area of it, into memory.

    Args:
        scene: a scene, or what `nubila.open_scene` takes.
        model: a loaded model, the name of one that ships, or a path; default the first that ships.
        resolution: metres a pixel; default the scene's own choice (20 m for Sentinel-2).
        area: GeoJSON (path, text or mapping), an object with ``__geo_interface__`` such as a
            shapely polygon, or bounds west, south, east, north. Only what it needs is read; a
            pixel belongs to it if its centre lies inside.
        area_crs: CRS of the area; default what the area says of itself (``crs``), else longitude
            and latitude.
        operating_point: thresholds and post-processing by a name of the model's card, such as
            ``conservative``; what is given beside it goes before. Default: none.
        thresholds: class name -> least probability; default the most probable class.
        probabilities: keep the probabilities.
        dilate: metres by which cloud, thin cloud and cloud shadow grow; default 0.
        min_area: square metres; smaller objects are filled by what is around them; default 0.
            Of an area, as much around it is read as such an object can be long, which may be the
            whole scene: of 1e6 at 10 m a pixel 9999 pixels.
        auxiliary: band name -> raster of its own, such as elevation in metres, on any grid.
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
        operating_point=operating_point,
        thresholds=given_thresholds(thresholds),
        dilate=dilate,
        min_area=min_area,
        probabilities=probabilities,
    )
    if auxiliary:
        opened = scene if isinstance(scene, Scene) else open_scene(scene)
        scene = with_auxiliary(opened, auxiliary)
    task = prepare(scene, model, options)
    check_taken(task.model.card, auxiliary or {})
    mask = mask_in_memory(task, threads, progress)
    _check_valid(mask.statistics, task)
    return mask


def mask_to_folder(
    scene: Scene | str | Path,
    folder: str | Path,
    *,
    model: Model | str | Path | None = None,
    options: MaskOptions | None = None,
    threads: int | None = None,
    overwrite: bool = False,
    renew: bool = False,
    progress: Progress | None = None,
) -> MaskResult:
    """Mask a scene into files, in bounded memory.

    The STAC item is written last: a folder that holds it holds a whole mask. If it tells of the
    same input, model, options and version, nothing is done, unless a file of the mask is gone or
    cut short: then all are made anew. One that another program saved again is left as it is.
    (Dilation and the removal of small objects look at the whole mask, which then is held in
    memory: 4 bytes a pixel.)

    Args:
        scene: a scene, or what `nubila.open_scene` takes; files are named after its ``id``.
        folder: made if it is not there, once there is something to write.
        model: a loaded model, the name of one that ships, or a path; default the first that ships.
        options: resolution, area of interest, thresholds, kind of output.
        threads: default one a processor.
        overwrite: replace a mask that is there, whatever it is, and other files of the names that
            are written. Without it, what a run that was cut short left is replaced all the same.
        renew: replace a mask of nubila's that was made otherwise, and nothing else.
        progress: called with pixels done and pixels in all.

    Raises:
        BandError, GridError, InputError, ModelError, ProductError: as `mask_scene`.
        OutputError: files cannot be written, or the folder holds another mask of this name, files
            of such names that are not nubila's, or a mask of which one file is gone or cut short
            and another was changed by somebody.
    """
    task = prepare(scene, model, options or MaskOptions())
    files = FileSet(Path(folder), task.scene.id)
    files.check_apart(task.scene.path)
    lost: list[str] = []
    if not overwrite:
        try:
            item = finished_item(task, files)
        except OutputError:
            if not renew or not files.is_ours("item"):
                raise
            item = None
        if item is None:
            files.check_ours()
        elif not (lost := lost_files(item, files.folder)):
            return _skipped(task, files, item)
    legend = legend_of(task.options)
    workers = default_threads() if threads is None else threads
    with (
        new_folder(folder),
        open_files(files, task.grid, task.provenance, legend, workers) as writer,
    ):
        run, statistics = deliver(task, writer, "uint8", workers, progress)
        _check_valid(statistics, task)
    notes = task.notes(run)
    paths = write_rest(files, writer, task.grid, task.provenance, statistics, run.preview, notes)
    if lost:
        notes = (*notes, f"made anew: {', '.join(lost)} of the earlier mask is gone or cut short")
    return MaskResult(task.scene.id, False, paths, statistics, task.grid, notes, run)


def _skipped(task: Task, files: FileSet, item: Mapping[str, Any]) -> MaskResult:
    """Return the result of an earlier run, as its item tells it."""
    path = files.path("item")
    # Among them what only the masking itself could tell.
    notes = tuple(item["properties"].get("nubila:notes", task.notes()))
    return MaskResult(
        scene_id=task.scene.id,
        skipped=True,
        paths={k: asset_path(a, files.folder) for k, a in item["assets"].items()} | {"item": path},
        statistics=Statistics.from_record(item["properties"]["nubila:statistics"]),
        grid=task.grid,
        notes=(*notes, *renewal_notes(task, path)),
    )


def _check_valid(statistics: Statistics, task: Task) -> None:
    """Raise an error if no pixel was judged: a mask of nothing would look like an answer."""
    if statistics.valid:
        return
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
