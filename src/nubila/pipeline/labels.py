"""The section `labels` of a recipe: its steps in order, each done once, and their gains.

A step's folder tells in ``key.txt`` what it is made under: its key, and on two lines more what the
images and labels were that the recipe starts from (`seen`), which every step reads directly or by
the steps before. A folder of before those lines were written is not held against the latter.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nubila.datasets import SampleSpec, read_collection, read_manifest
from nubila.errors import ManifestError, RecipeError
from nubila.pipeline.gains import read_report, told, write_gains, write_step
from nubila.pipeline.label_ground import Ground, StepJob, after
from nubila.pipeline.label_steps import do_step
from nubila.pipeline.record import Record, file_hash, joined_key, step_key
from nubila.pipeline.seen import Seen, look
from nubila.raster.atomic import atomic_path, make_folder
from nubila.recipe import Recipe
from nubila.recipe.labels import AutoMask, FoldStep, LabelStep
from nubila.train.folder import changed_since, checkpoint_hashes

__all__ = ["LabelsDone", "StepDone", "run_labels"]

_KEY: Final = "key.txt"


@dataclass(frozen=True)
class StepDone:
    """What became of a step.

    Attributes:
        name: ``labels/2-train``.
        skipped: whether it was done already.
        outputs: the files that it left.
    """

    name: str
    skipped: bool
    outputs: tuple[Path, ...]


@dataclass(frozen=True)
class LabelsDone:
    """What the steps left to the stages after them.

    Attributes:
        recipe: the effort, with the manifest that the steps made.
        key: of the last step and the files that it left; empty for none.
        steps: what became of each.
    """

    recipe: Recipe
    key: str
    steps: tuple[StepDone, ...]


def run_labels(
    recipe: Recipe,
    folder: Path,
    record: Record,
    *,
    needed: bool,
    wanted: bool,
    report: Callable[[str], None],
) -> LabelsDone:
    """Do the steps of a recipe's labels; those that are done are not done again.

    Args:
        recipe: the effort.
        folder: the run folder.
        record: of it.
        needed: whether what comes after rests on the steps.
        wanted: whether steps that are not done are to be done.
        report: called with each line for people.

    Raises:
        RecipeError: a step is needed, is not done, and is not wanted.
        NubilaError: whatever a step raises.
    """
    ground, before, done = Ground(), "", []
    for number, step in enumerate(recipe.labels.steps, start=1):
        name = f"labels/{number}-{step.name}"
        own = folder / name
        key = step_key(recipe, step, before)
        # A step that was killed before it was recorded has put other files in the place of those
        # that the record still has.
        outputs = record.outputs(name, key) if _is_of(own, step, key, recipe) else None
        if outputs is not None and wanted:
            report(f"{name}: done already: {told(read_report(own))}")
        if outputs is None and wanted:
            outputs = _do(StepJob(recipe, folder, own, ground, report), step, key)
            record.finish(name, key, outputs)
            done.append(StepDone(name, False, outputs))
        elif outputs is not None:
            done.append(StepDone(name, True, outputs))
        elif needed and step.name != "auto_mask":  # which may have been done by `nubila auto-mask`
            raise RecipeError(f"{own}: is not done yet; do the stage labels first")
        ground = after(step, own, ground)
        before = joined_key(key, *(file_hash(path) for path in outputs or ()))
    if ground.trained is not None and ground.trained.is_file():
        changes = {"manifest": ground.trained.absolute(), "dataset": None}
        data = recipe.data.model_copy(update=changes)
        tiling = recipe.tiling.model_copy(update={"splits": {}})
        recipe = recipe.model_copy(update={"data": data, "tiling": tiling})
    if wanted and done:
        reports = [read_report(folder / one.name) for one in done]
        report(str(write_gains(reports, folder / "labels/gains.csv")))
    return LabelsDone(recipe, before, tuple(done) if wanted else ())


def _do(job: StepJob, step: LabelStep, key: str) -> tuple[Path, ...]:
    """Do a step, going on with what a killed one left, but not with that of other settings."""
    name = f"labels/{job.folder.name}"
    if job.folder.is_dir() and not _is_of(job.folder, step, key, job.recipe):
        job.report(f"{name}: what it rests on has changed; it is done anew")
        shutil.rmtree(job.folder)
    make_folder(job.folder)
    _mark(job.folder, key, _look(job.recipe, step))
    job.report(f"{name}:")
    found = do_step(job, step)
    job.report(f"{name}: {told(found.report)}")
    return (*found.outputs, write_step(found.report, job.folder))


def _is_of(folder: Path, step: LabelStep, key: str, recipe: Recipe) -> bool:
    """Tell whether a folder holds what was made under a key, from samples and checkpoints as now.

    Samples that are gone, as checkpoints that are, are not held against it.
    """
    marker = folder / _KEY
    if not marker.is_file():
        return False
    own, *told = marker.read_text(encoding="utf-8").split("\n")
    if own != key:
        return False
    if len(told) == 2:
        before = Seen(*told)
        now = _look(recipe, step, before)
        if now is not None and now.content != before.content:
            return False
        if now not in (None, before):  # copied, or touched: not to be read again next time
            _mark(folder, key, now)
    runs, checkpoints = folder.glob("run/fold-*"), checkpoint_hashes(recipe)
    return not any(changed_since(run, checkpoints) for run in runs)


def _mark(folder: Path, key: str, seen: Seen | None) -> None:
    """Write down what a step's folder is made under."""
    lines = [key] if seen is None else [key, seen.stamp, seen.content]
    with atomic_path(folder / _KEY) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")


def _look(recipe: Recipe, step: LabelStep, before: Seen | None = None) -> Seen | None:
    """Return what the samples are now that a step rests on; None where they are gone."""
    try:
        return look(_source(recipe, step), before)
    except ManifestError:  # told by the step itself, if it is to be done
        return None


def _source(recipe: Recipe, step: LabelStep) -> list[SampleSpec]:
    """Return every sample that a step rests on, with a label or without.

    Raises:
        ManifestError: they cannot be listed, or a file is not there.
    """
    data = recipe.data
    if isinstance(step, AutoMask):
        tables = [*step.manifests]
    else:
        pools = [one.pool for one in recipe.labels.steps if isinstance(one, FoldStep)]
        own = [] if data.manifest is None else [data.manifest]
        tables = [*own, *(path for pool in pools for path in pool)]
    found = [s for path in tables for s in read_manifest(path, root=data.root, unlabelled=True)]
    if data.dataset is not None and not isinstance(step, AutoMask):
        found += read_collection(data.dataset, data.root)
    return found
