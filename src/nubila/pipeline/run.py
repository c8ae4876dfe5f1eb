"""Doing the stages of a recipe in order; a finished one is not done again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nubila.errors import ManifestError, RecipeError
from nubila.evaluate import evaluate, write_report, write_run_report
from nubila.export import export_onnx
from nubila.models_io import load_model
from nubila.pipeline.chips import predict_chips
from nubila.pipeline.labels import run_labels
from nubila.pipeline.masks import mask_scenes
from nubila.pipeline.record import Record, file_hash, joined_key, stage_key
from nubila.pipeline.seen import Seen, look, stamp
from nubila.raster.atomic import make_folder
from nubila.recipe import Recipe
from nubila.recipe.stages import STAGES, Stage
from nubila.tiles.store import is_store, open_store
from nubila.train import fit
from nubila.train.folder import (
    changed_since,
    check_finished,
    checkpoint_hashes,
    is_finished,
    renew_export,
)
from nubila.train.samples import check_tiles, fill_tiles, read_specs

__all__ = ["StageResult", "run_recipe"]


@dataclass(frozen=True)
class StageResult:
    """What became of a stage.

    Attributes:
        stage: its name; of a step of the labels, ``labels/2-train``.
        skipped: whether it was done already.
        outputs: the files that it left.
    """

    stage: str
    skipped: bool
    outputs: tuple[Path, ...]


def run_recipe(
    recipe: Recipe,
    folder: str | Path,
    *,
    stages: Sequence[Stage] = STAGES,
    model: Path | None = None,
    report: Callable[[str], None],
) -> tuple[StageResult, ...]:
    """Do the stages of a recipe.

    Args:
        recipe: the effort.
        folder: the run folder; ``stages.json`` in it tells what is done.
        stages: which to do, in any order; they are done in the order of `recipe.stages.STAGES`.
        model: an ONNX file to evaluate and to mask with, in place of the run's own export.
        report: called with each line for people.

    Raises:
        RecipeError: a stage has nothing to work on; a stage before it was left out, and has not
            been done, was broken off, or was done by another recipe; or a run that would be gone on
            with was started with other samples.
        NubilaError: whatever a stage raises.
    """
    target = make_folder(folder)
    record = Record.load(target)
    given = model is not None and not {"tile", "train", "export"} & {*stages}
    labels = run_labels(
        recipe, target, record, needed=not given, wanted="labels" in stages, report=report
    )
    results = [StageResult(step.name, step.skipped, step.outputs) for step in labels.steps]
    recipe = labels.recipe
    for stage in [s for s in STAGES if s in stages and s not in _instead(recipe)]:
        job = _Job(recipe, target, model, report, partial(record.start, stage))
        outputs = _done(job, stage, labels.key, record)
        if outputs is not None:
            report(f"{stage}: done already")
            results.append(StageResult(stage, True, outputs))
            continue
        if stage in ("export", "evaluate", "mask"):
            _check_before(job, stage, labels.key, record)
        report(f"{stage}:")
        seen = _look(job, stage)  # before they are read: they may change meanwhile
        outputs = _STAGES[stage](job)
        # Told now: training fills a tile store that was not there.
        record.finish(stage, _key(job, stage, labels.key), outputs, seen)
        results.append(StageResult(stage, False, outputs))
    return tuple(results)


def _instead(recipe: Recipe) -> tuple[Stage, ...]:
    """Return the stages that are no stages of their own, or whose place the labels' steps take."""
    return ("labels", "tile", "train", "export") if recipe.labels.makes_model else ("labels",)


@dataclass(frozen=True)
class _Job:
    """What every stage is given.

    Attributes:
        recipe: the effort.
        folder: of the run.
        model: an ONNX file in place of the run's own export.
        report: called with each line for people.
        begin: to be called before a stage's first file is written: it counts as done no longer. A
            stage that cannot start leaves the record as it was.
    """

    recipe: Recipe
    folder: Path
    model: Path | None
    report: Callable[[str], None]
    begin: Callable[[], None]

    @property
    def best(self) -> Path:
        """The checkpoint to export."""
        return self.folder / "best.ckpt"

    @property
    def onnx_path(self) -> Path:
        """The model to evaluate and to mask with, whether it is there or not."""
        return self.model or self.folder / f"{self.recipe.export.name}.onnx"

    def onnx(self) -> Path:
        """Return the model to evaluate and to mask with."""
        path = self.onnx_path
        if not path.is_file():
            raise RecipeError(
                f"{path}: no such model; do the stage export first, or name a model with --model"
            )
        return path


def _done(job: _Job, stage: Stage, labels: str, record: Record) -> tuple[Path, ...] | None:
    """Return the outputs of a stage that is done, on what it works on now; None for any other."""
    outputs = record.outputs(stage, _key(job, stage, labels))
    if stage == "tile" and outputs:
        outputs = outputs if is_store(outputs[0]) else None
        check_tiles(job.recipe)
    if stage == "train" and outputs and (_rebuilt(job) or not is_finished(job.folder)):
        return None
    before = record.seen(stage)
    if outputs is None or before is None:
        return outputs
    now = _look(job, stage, before)
    if now is None or now.content == before.content:
        if now not in (None, before):  # copied, or touched: not to be read again next time
            record.finish(stage, _key(job, stage, labels), outputs, now)
        return outputs
    job.report(f"{stage}: images or labels are others than when it was done")
    return None


def _check_before(job: _Job, stage: Stage, labels: str, record: Record) -> None:
    """Raise where the stage before is not done as the recipe says, so that its output is stale.

    Only the recipe and files in the run count: a model may be scored on labels made better since.
    """
    if stage == "export":
        trained = record.outputs("train", _key(job, "train", labels))
        check_finished(job.folder, None if trained else job.recipe)
        return
    own = job.model is None and not job.recipe.labels.makes_model and job.onnx_path.is_file()
    if own and record.outputs("export", _key(job, "export", labels)) is None:
        raise RecipeError(
            f"{job.onnx_path}: is not what the recipe and the checkpoint give now; do the stage "
            f"export first, or name the model with --model"
        )


def _look(job: _Job, stage: Stage, before: Seen | None = None) -> Seen | None:
    """Return what the samples of a stage are now; None where it reads none, or they are gone."""
    data = job.recipe.data
    if stage in ("train", "export"):
        if data.tiles is not None:
            tiles = _tiles_hash(job)
            return Seen(tiles, tiles) if tiles else None
        splits: tuple[str, ...] = (data.train, data.validation)
    elif stage == "evaluate":
        splits = (job.recipe.evaluation.split,)
    else:
        return None
    try:
        specs = [spec for split in splits for spec in read_specs(job.recipe, split)]
    except ManifestError:  # told by the stage itself, if it is to be done
        return None
    return look(specs, before)


def _key(job: _Job, stage: Stage, labels: str) -> str:
    """Return a hash of everything that a stage's outputs depend on."""
    key = stage_key(job.recipe, stage)
    more = [part for part in (labels, _ground(job, stage)) if part]
    return joined_key(key, *more) if more else key


def _ground(job: _Job, stage: Stage) -> str:
    """Return a hash of what a stage works on besides samples and recipe; empty for nothing."""
    if stage == "train":
        return _tiles_hash(job)
    if stage == "export":
        return file_hash(job.best)
    model = file_hash(job.onnx_path) if stage in ("evaluate", "mask") else ""
    return joined_key(model, _to_mask(job.recipe)) if stage == "mask" else model


def _tiles_hash(job: _Job) -> str:
    tiles = job.recipe.data.tiles
    return open_store(tiles).made_of if tiles is not None and is_store(tiles) else ""


def _to_mask(recipe: Recipe) -> str:
    """Return a hash of the chips and scenes as they lie there: path, size and time of change.

    Not what they hold, which is gigabytes: of scenes that were only touched, `mask_scenes` keeps
    the masks. Files elsewhere that a scene names, as a VRT does, are not followed.
    """
    wanted = recipe.mask
    chips = [] if wanted.chips is None else [wanted.chips]
    return stamp([*chips, *wanted.scenes, *wanted.auxiliary.values()])


def _tile(job: _Job) -> tuple[Path, ...]:
    job.begin()
    store = fill_tiles(job.recipe, job.report)
    if store is None:
        job.report("  data.tiles is not set: chips are cut from whole samples in memory")
        return ()
    return (store,)


def _rebuilt(job: _Job) -> list[str]:
    """Return the checkpoints that the run was built on and that have been trained anew since."""
    return changed_since(job.folder, checkpoint_hashes(job.recipe))


def _train(job: _Job) -> tuple[Path, ...]:
    job.begin()
    rebuilt = _rebuilt(job)
    if rebuilt:
        job.report(f"  {' and '.join(rebuilt)}: another checkpoint by now; trained anew")
    best = fit(job.recipe, job.folder, resume=not rebuilt, report=job.report)
    return best, write_run_report(job.folder)


def _export(job: _Job) -> tuple[Path, ...]:
    job.begin()
    # The run may have been trained before the section for export was as it is now.
    renew_export(job.recipe, job.folder)
    output = job.folder / f"{job.recipe.export.name}.onnx"
    return (export_onnx(job.folder, output, report=job.report),)


def _evaluate(job: _Job) -> tuple[Path, ...]:
    split = job.recipe.evaluation.split
    specs = read_specs(job.recipe, split)
    model = load_model(job.onnx())
    found = evaluate(model, specs, threads=job.recipe.threads)
    job.begin()
    paths = write_report(found, model, specs, job.folder / "scores", split=split)
    cloud = found.scores()["overall"].get("cloud")
    if cloud is not None:
        job.report(f"  cloud on {split}, all pixels: IoU {cloud['iou']}")
    tiling = job.recipe.tiling
    if tiling.resolution is not None:  # `nubila evaluate` would not give other figures
        job.report(
            f"  scored at the images' own resolution; tiles were brought to "
            f"{tiling.resolution:g} m (tiling.resolution)"
        )
    if tiling.dates:
        job.report("  scored on images of all dates; tiles are of those of tiling.dates alone")
    # A folder in which nothing was trained, only a model of elsewhere scored, has no such report.
    trained = (job.folder / "recipe.yaml").is_file()
    return *paths.values(), *([write_run_report(job.folder)] if trained else [])


def _mask(job: _Job) -> tuple[Path, ...]:
    wanted = job.recipe.mask
    model = load_model(job.onnx())
    job.begin()
    outputs: list[Path] = []
    if wanted.chips is not None:
        outputs += predict_chips(model, wanted.chips, job.folder / "predictions", report=job.report)
    if wanted.scenes:
        outputs += mask_scenes(model, wanted, job.folder / "masks", report=job.report)
    if not outputs:
        job.report("  mask.scenes and mask.chips are empty: nothing to mask")
    return tuple(outputs)


_STAGES: dict[Stage, Callable[[_Job], tuple[Path, ...]]] = {
    "tile": _tile,
    "train": _train,
    "export": _export,
    "evaluate": _evaluate,
    "mask": _mask,
}
