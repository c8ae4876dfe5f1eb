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

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from nubila.curate.audit import audit, write_audit
from nubila.curate.auto_mask import auto_mask
from nubila.curate.automatic import Means
from nubila.curate.combination import mean_of
from nubila.curate.cross_validation import fold_names, train_fold
from nubila.curate.ensemble import Members, study, write_table
from nubila.curate.ensemble_graph import write_ensemble
from nubila.curate.fold_table import make_folds
from nubila.curate.network import NetworkDetector
from nubila.curate.predict import keep_predictions
from nubila.curate.predictions import open_predictions
from nubila.curate.pseudo import Sureness
from nubila.curate.pseudo_label import label_rows, write_pseudo_labels
from nubila.curate.teachers import KeptDetector
from nubila.datasets import SampleSpec, collection_rows, read_manifest, write_manifest
from nubila.datasets.manifest import check_specs, manifest_rows
from nubila.datasets.tables import read_table
from nubila.detect import flipped, open_detector
from nubila.detect.own import ModelDetector
from nubila.errors import RecipeError
from nubila.export import export_onnx
from nubila.models_io import load_model
from nubila.pipeline.gains import StepReport, measure
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

__all__ = ["Found", "Ground", "StepJob", "after", "do_step"]

_MANIFEST: Final = "manifest.csv"
_POOL: Final = "pool.csv"
_RANKING: Final = "audit.csv"
_PREDICTIONS: Final = "predictions"

Rows = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Ground:
    """What a step works on: files that steps before it left.

    Attributes:
        manifest: rows that are trusted, with folds, and those of other splits; None before folds.
        trained: the same and what pseudo-labels added; the manifest of the last networks.
        pool: table of images without a label that is trusted; None for no such image.
        networks: folder of the step that trained last.
        ranking: the audit's table.
    """

    manifest: Path | None = None
    trained: Path | None = None
    pool: Path | None = None
    networks: Path | None = None
    ranking: Path | None = None


@dataclass(frozen=True)
class Found:
    """What a step gives: files, and what it did.

    Attributes:
        outputs: the files.
        report: what it did and gained.
    """

    outputs: tuple[Path, ...]
    report: StepReport


@dataclass(frozen=True)
class StepJob:
    """What every step is given.

    Attributes:
        recipe: the effort.
        run: the run folder.
        folder: of the step.
        ground: what steps before it left.
        report: called with each line for people.
    """

    recipe: Recipe
    run: Path
    folder: Path
    ground: Ground
    report: Callable[[str], None]

    @property
    def manifest(self) -> Path:
        """The rows with folds; the recipe is checked to have a step that makes them."""
        assert self.ground.manifest is not None
        return self.ground.manifest

    @property
    def networks(self) -> Path:
        """Folder of the step that trained last; the recipe is checked to have one."""
        assert self.ground.networks is not None
        return self.ground.networks

    def specs(self, manifest: Path, split: str) -> tuple[SampleSpec, ...]:
        """Read the samples of a split."""
        return read_manifest(manifest, root=self.recipe.data.root, split=split)


def after(step: LabelStep, folder: Path, ground: Ground) -> Ground:
    """Return what there is to work on once a step is done, whether now or before."""
    pool = folder / _POOL
    match step.name:
        case "folds":
            manifest = folder / _MANIFEST
            return Ground(manifest, manifest, pool if pool.is_file() else None)
        case "train":
            return replace(ground, networks=folder)
        case "audit":
            return replace(ground, ranking=folder / _RANKING)
        case "drop":
            manifest = folder / _MANIFEST
            pooled = pool if pool.is_file() else None
            return Ground(manifest, manifest, pooled, folder, ground.ranking)
        case "pseudo_label":
            return replace(ground, trained=folder / _MANIFEST, networks=folder)
    return ground


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
            return _train(job)
        case Audit():
            return _audit(job)
        case Drop():
            return _drop(job, step)
        case PseudoLabel():
            return _pseudo_label(job, step)
        case Ensemble():
            return _ensemble(job)


def _auto_mask(job: StepJob, step: AutoMask) -> Found:
    data = job.recipe.data
    assert data.manifest is not None  # the recipe is checked for it
    detectors = tuple(open_detector(name) for name in step.clouds)
    means = Means(
        detectors,
        step.flips,
        Sureness(step.least),
        step.indices,
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
    pool = [cells for _, cells in rows if not cells.get("mask", "").strip()]
    pool += [cells for path in step.pool for _, cells in manifest_rows(path)]
    apart = sorted({cells.get("split", "") for _, cells in drawn} - {recipe.data.train})
    source = str(recipe.data.manifest or recipe.data.dataset)
    dealt = make_folds(
        source,
        drawn,
        recipe.data.root,
        step.count,
        by=step.by,
        together=step.together,
        apart=apart,
        seed=recipe.seed,
    )
    manifest = job.folder / _MANIFEST
    write_manifest(manifest, dealt.rows)
    write_json(job.folder / "folds.json", dealt.report)
    outputs = [manifest, job.folder / "folds.json"]
    if pool:
        outputs.append(_write_pool(job, _dealt_like(dealt.rows, pool, recipe.data.train)))
    _check_apart(job, manifest, job.folder / _POOL if pool else None)
    number = sum(dealt.report["samples"])
    what = f"{number} images in {step.count} folds, {len(pool)} without a label"
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


def _dealt_like(rows: Rows, pool: Rows, split: str) -> list[dict[str, str]]:
    """Give images of the pool the fold of their group, or the one that has the fewest rows."""
    folds = {c.get("group") or c["image"]: c["fold"] for c in rows if c["fold"]}
    sizes = Counter(c["fold"] for c in rows if c["fold"])
    found = []
    for cells in sorted(pool, key=lambda c: (c.get("group", ""), c["image"])):
        group = cells.get("group") or cells["image"]
        fold = folds.setdefault(group, min(sizes, key=lambda name: (sizes[name], name)))
        sizes[fold] += 1
        found.append({**cells, "split": split, "fold": fold})
    return found


def _write_pool(job: StepJob, rows: Rows) -> Path:
    write_manifest(job.folder / _POOL, rows)
    return job.folder / _POOL


def _check_apart(job: StepJob, manifest: Path, pool: Path | None) -> None:
    """Raise where an image or a group of the pool is in a split that is scored on."""
    root = job.recipe.data.root
    tables = [manifest] if pool is None else [manifest, pool]
    check_specs([s for t in tables for s in read_manifest(t, root=root, unlabelled=True)])


def _train(job: StepJob) -> Found:
    return _trained(job, job.manifest, "trained")


def _trained(job: StepJob, manifest: Path, what: str) -> Found:
    """Train a network a fold, predict the validation split by each, and measure the gain."""
    recipe = _recipe_of(job, manifest)
    checkpoints = []
    for name in fold_names(recipe):
        job.report(f"  fold {name}:")
        checkpoints.append(
            train_fold(recipe, name, job.folder / "run", report=lambda s: job.report(f"    {s}"))
        )
    specs = job.specs(manifest, recipe.data.validation)
    kept = _predict(job, checkpoints, specs, job.folder / _PREDICTIONS)
    before = job.ground.networks
    scores, gain = measure(specs, kept, before and before / _PREDICTIONS)
    images = len(job.specs(manifest, recipe.data.train))
    report = StepReport(job.folder.name, what, images, scores, gain)
    return Found((*checkpoints, kept), report)


def _recipe_of(job: StepJob, manifest: Path) -> Recipe:
    """Return the recipe with another manifest; a store of tiles holds its labels."""
    data = job.recipe.data
    changes: dict[str, Any] = {"manifest": manifest.absolute(), "dataset": None}
    if data.tiles is not None:
        changes["tiles"] = data.tiles.with_name(f"{data.tiles.name}-{job.folder.name}")
    return job.recipe.model_copy(update={"data": data.model_copy(update=changes)})


def _predict(
    job: StepJob, checkpoints: Sequence[Path], specs: Sequence[SampleSpec], folder: Path
) -> Path:
    """Keep what each network says of samples, a folder each; what is there stays."""
    for checkpoint in checkpoints:
        detector = flipped(NetworkDetector.of(checkpoint, job.recipe), job.recipe.labels.flips)
        keep_predictions(detector, specs, folder / checkpoint.parent.name, report=job.report)
    return folder


def _audit(job: StepJob) -> Found:
    specs = job.specs(job.manifest, job.recipe.data.train)
    kept = open_predictions(job.networks / "run" / _PREDICTIONS)
    rows = audit(specs, kept, job.folder / "measured.jsonl", report=job.report)
    write_audit(rows, job.folder / _RANKING)
    for row in rows[:3]:
        job.report(f"  {row.score:.2f} {row.spec.id}: {row.finding.reason}")
    flagged = sum(bool(row.finding.flags) for row in rows)
    what = f"{len(rows)} labels ranked, {flagged} of them flagged"
    return Found((job.folder / _RANKING,), StepReport(job.folder.name, what, len(rows)))


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
    write_manifest(job.folder / _MANIFEST, kept)
    if gone:
        write_manifest(job.folder / "dropped.csv", list(gone.values()))
    pool = [row for _, row in manifest_rows(job.ground.pool)] if job.ground.pool else []
    if pool or dropped:
        _write_pool(job, [*pool, *dropped])
    what = f"{len(gone)} of {len(ranking)} labels dropped"
    return _trained(job, job.folder / _MANIFEST, what)


def _pseudo_label(job: StepJob, step: PseudoLabel) -> Found:
    rows = [cells for _, cells in manifest_rows(job.manifest)]
    if job.ground.pool is None:
        write_manifest(job.folder / _MANIFEST, rows)
        return _trained(job, job.folder / _MANIFEST, "no image is without a label")
    root = job.recipe.data.root
    pool = [cells for _, cells in manifest_rows(job.ground.pool)]
    specs = read_manifest(job.ground.pool, root=root, unlabelled=True)
    before = job.networks
    recipe = _recipe_of(job, job.manifest)
    checkpoints = [before / f"run/fold-{name}/best.ckpt" for name in fold_names(recipe)]
    teachers = _predict(job, checkpoints, specs, job.folder / "teachers")
    means = Means(
        tuple(KeptDetector(open_predictions(path)) for path in sorted(teachers.iterdir())),
        sureness=Sureness(step.low, step.high, step.unsure),
        indices=False,
        replace=True,
    )
    target = job.folder / "labels"
    found = label_rows(pool, specs, means, target, root=root, keep=step.keep)
    write_pseudo_labels(found, target)
    write_manifest(job.folder / _MANIFEST, [*rows, *found.kept])
    what = f"{found.made} of {len(pool)} images without a label won"
    return _trained(job, job.folder / _MANIFEST, what)


def _ensemble(job: StepJob) -> Found:
    trained = job.ground.trained
    assert trained is not None  # the recipe is checked to have folds before
    names = fold_names(_recipe_of(job, trained))
    files = []
    for name in names:
        run, path = job.networks / f"run/fold-{name}", job.folder / f"fold-{name}.onnx"
        files.append(export_onnx(run, path, report=lambda line: job.report(f"  {line}")))
    models = [load_model(path) for path in files]
    if len(models) < 2:
        raise RecipeError(f"{job.folder}: an ensemble has two members at least")
    name = job.recipe.export.name
    combination = mean_of(len(models), len(models[0].card.classes))
    output = write_ensemble(models, combination, job.run / f"{name}.onnx", name=name)
    specs = job.specs(trained, job.recipe.data.validation)
    kept = {f"fold {n}": open_predictions(job.networks / _PREDICTIONS / f"fold-{n}") for n in names}
    lines = study(Members.of(kept), specs, "mean")
    write_table(job.folder / "ensemble.csv", lines)
    detector = flipped(ModelDetector(load_model(output)), job.recipe.labels.flips)
    target = job.folder / _PREDICTIONS
    keep_predictions(detector, specs, target / "ensemble", report=job.report)
    scores, gain = measure(specs, target, job.networks / _PREDICTIONS)
    alone = [next(iter(line.ious.values())) for line in lines.lines[: len(names)]]
    text = ", ".join(f"{100 * iou:.1f}" for iou in alone)
    what = f"{len(names)} networks in one file, alone {text}"
    images = len(job.specs(trained, job.recipe.data.train))
    report = StepReport(job.folder.name, what, images, scores, gain)
    return Found((output, *files, job.folder / "ensemble.csv"), report)
