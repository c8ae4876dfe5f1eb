"""The steps of a recipe's section `labels`, each in a folder of its own, from tables to tables.

::

    run/labels/gains.csv             what each step gains on the validation split
    run/labels/1-folds/              manifest.csv with folds, pool.csv, folds.json
    run/labels/2-train/run/          what `nubila train --fold all` leaves
    run/labels/2-train/predictions/  of the validation split, a folder a network
    run/labels/3-audit/              audit.csv
    run/labels/4-drop/               manifest.csv, pool.csv, dropped.csv; run/ and predictions/
    run/labels/5-pseudo_label/       teachers/ (of the pool), labels/, manifest.csv; run/ ...
    run/labels/8-ensemble/           an ONNX file a fold, ensemble.csv
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nubila.curate.audit import audit, write_audit
from nubila.curate.auto_mask import auto_mask
from nubila.curate.automatic import Means
from nubila.curate.fold_table import make_folds
from nubila.curate.predictions import open_predictions
from nubila.curate.pseudo import Sureness
from nubila.curate.pseudo_label import label_rows, write_pseudo_labels
from nubila.curate.teachers import KeptDetector
from nubila.datasets import collection_rows, read_manifest, write_manifest
from nubila.datasets.manifest import check_specs, manifest_rows
from nubila.datasets.tables import read_table
from nubila.detect import open_detector
from nubila.errors import InputError
from nubila.pipeline.gains import StepReport
from nubila.pipeline.label_ground import MANIFEST, POOL, PREDICTIONS, RANKING, Found, StepJob
from nubila.pipeline.label_networks import combined, predicted, trained
from nubila.recipe import Recipe
from nubila.recipe.labels import (
    Audit,
    AutoMask,
    Drop,
    Ensemble,
    FoldStep,
    LabelStep,
    PseudoLabel,
    TrainFolds,
)
from nubila.tiles.split import assign_splits
from nubila.train.folder import write_json

__all__ = ["do_step"]

Rows = Sequence[Mapping[str, str]]


def do_step(job: StepJob, step: LabelStep) -> Found:
    """Do a step.

    Raises:
        NubilaError: whatever the step raises.
    """
    match step:
        case AutoMask():
            return _auto_mask(job, step)
        case FoldStep():
            return _folds(job, step)
        case TrainFolds():
            return trained(job, job.manifest, "trained")
        case Audit():
            return _audit(job)
        case Drop():
            return _drop(job, step)
        case PseudoLabel():
            return _pseudo_label(job, step)
        case Ensemble():
            return combined(job)


def _auto_mask(job: StepJob, step: AutoMask) -> Found:
    data = job.recipe.data
    assert data.manifest is not None  # the recipe is checked for it
    detectors = tuple(open_detector(name) for name in step.clouds)
    means = Means(
        detectors,
        step.flips,
        Sureness(step.least),
        step.indices,
        step.cirrus,
        snow_line=step.snow_line,
        water=step.water,
    )
    found = auto_mask(
        step.manifests,
        data.manifest,
        means,
        root=data.root.absolute(),
        split=step.split,
        keep=step.keep,
        threads=job.recipe.threads,
    )
    what = f"{found.labelled} images labelled, {found.left_out} left out as not certain enough"
    return Found((found.manifest,), StepReport(job.folder.name, what, found.labelled))


def _folds(job: StepJob, step: FoldStep) -> Found:
    recipe = job.recipe
    rows = _source_rows(recipe)
    drawn = [(line, cells) for line, cells in rows if cells.get("mask", "").strip()]
    source = str(recipe.data.manifest or recipe.data.dataset)
    without = [(line, cells) for line, cells in rows if not cells.get("mask", "").strip()]
    pool = [(source, without), *((str(path), manifest_rows(path)) for path in step.pool)]
    for table, waiting in pool:
        _check_to_train_on(table, waiting, recipe.data.train)
    apart = sorted({cells.get("split", "") for _, cells in drawn} - {recipe.data.train})
    dealt = make_folds(
        source,
        drawn,
        recipe.data.root,
        step.count,
        by=step.by,
        together=step.together,
        apart=apart,
        pool=pool,
        seed=recipe.seed,
    )
    manifest = job.folder / MANIFEST
    write_manifest(manifest, dealt.rows)
    write_json(job.folder / "folds.json", dealt.report)
    outputs = [manifest, job.folder / "folds.json"]
    waiting_rows = [{**cells, "split": recipe.data.train} for cells in dealt.pool]
    if waiting_rows:
        outputs.append(_write_pool(job, waiting_rows))
    _check_apart(job, manifest, job.folder / POOL if waiting_rows else None)
    number = sum(dealt.report["samples"])
    what = f"{number} images in {step.count} folds, {len(waiting_rows)} without a label"
    return Found(tuple(outputs), StepReport(job.folder.name, what, number))


def _source_rows(recipe: Recipe) -> list[tuple[int, dict[str, str]]]:
    """Return line and cells of the recipe's samples, each with its split."""
    data, shares = recipe.data, recipe.tiling.splits
    if data.manifest is None:
        return [(0, dict(cells)) for cells in collection_rows(str(data.dataset), data.root)]
    rows = manifest_rows(data.manifest)
    if not shares:
        return rows
    specs = read_manifest(data.manifest, root=data.root, unlabelled=True)
    splits = assign_splits(specs, shares, seed=recipe.tiling.seed)
    return [(n, cells | {"split": s}) for (n, cells), s in zip(rows, splits, strict=True)]


def _check_to_train_on(source: str, rows: Sequence[tuple[int, dict[str, str]]], split: str) -> None:
    """Raise for a row of a pool that is of a split to be scored on."""
    for line, cells in rows:
        if cells.get("split", "") not in ("", split):
            raise InputError(
                f"{source}: line {line}: an image without a label in the split {cells['split']!r}; "
                f"the pool is pseudo-labelled and trained on, so leave the row out, or give it the "
                f"split {split!r} or none"
            )


def _write_pool(job: StepJob, rows: Rows) -> Path:
    write_manifest(job.folder / POOL, rows)
    return job.folder / POOL


def _check_apart(job: StepJob, manifest: Path, pool: Path | None) -> None:
    """Raise where an image or a group of the pool is in a split that is scored on."""
    root = job.recipe.data.root
    tables = [manifest] if pool is None else [manifest, pool]
    check_specs([s for t in tables for s in read_manifest(t, root=root, unlabelled=True)])


def _audit(job: StepJob) -> Found:
    specs = job.specs(job.manifest, job.recipe.data.train)
    kept = open_predictions(job.networks / "run" / PREDICTIONS)
    rows = audit(specs, kept, job.folder / "measured.jsonl", report=job.report)
    write_audit(rows, job.folder / RANKING)
    for row in rows[:3]:
        job.report(f"  {row.score:.2f} {row.spec.id}: {row.finding.reason}")
    flagged = sum(bool(row.finding.flags) for row in rows)
    what = f"{len(rows)} labels ranked, {flagged} of them flagged"
    return Found((job.folder / RANKING,), StepReport(job.folder.name, what, len(rows)))


def _drop(job: StepJob, step: Drop) -> Found:
    assert job.ground.ranking is not None  # the recipe is checked to have an audit before
    columns, table = read_table(job.ground.ranking)
    ranking = [dict(zip(columns, cells, strict=True)) for _, cells in table]
    worst = round(step.share * len(ranking))
    gone = {
        row["id"]: row
        for place, row in enumerate(ranking)
        if place < worst or set(step.flags) & set(row["flags"].split(";"))
    }
    cells = [row for _, row in manifest_rows(job.manifest)]
    specs = read_manifest(job.manifest, root=job.recipe.data.root)
    kept = [row for row, spec in zip(cells, specs, strict=True) if spec.id not in gone]
    dropped = [row for row, spec in zip(cells, specs, strict=True) if spec.id in gone]
    write_manifest(job.folder / MANIFEST, kept)
    if gone:
        write_manifest(job.folder / "dropped.csv", list(gone.values()))
    pool = [row for _, row in manifest_rows(job.ground.pool)] if job.ground.pool else []
    if pool or dropped:
        _write_pool(job, [*pool, *dropped])
    what = f"{len(gone)} of {len(ranking)} labels dropped"
    return trained(job, job.folder / MANIFEST, what)


def _pseudo_label(job: StepJob, step: PseudoLabel) -> Found:
    rows = [cells for _, cells in manifest_rows(job.manifest)]
    if job.ground.pool is None:
        write_manifest(job.folder / MANIFEST, rows)
        return trained(job, job.folder / MANIFEST, "no image is without a label")
    root = job.recipe.data.root
    pool = [cells for _, cells in manifest_rows(job.ground.pool)]
    specs = read_manifest(job.ground.pool, root=root, unlabelled=True)
    checkpoints = [run / "best.ckpt" for run in job.last_runs]
    teachers = predicted(job, checkpoints, specs, job.folder / "teachers")
    means = Means(
        tuple(KeptDetector(one) for one in teachers),
        sureness=Sureness(step.low, step.high, step.unsure),
        indices=False,
        replace=True,
    )
    target = job.folder / "labels"
    found = label_rows(pool, specs, means, target, root=root, keep=step.keep)
    write_pseudo_labels(found, target)
    write_manifest(job.folder / MANIFEST, [*rows, *found.kept])
    what = f"{found.made} of {len(pool)} images without a label won"
    return trained(job, job.folder / MANIFEST, what)
