"""The networks of the labels' steps: trained a fold each, asked for predictions, made one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nubila.curate.combination import mean_of
from nubila.curate.cross_validation import fold_names, train_fold
from nubila.curate.ensemble import Members, study, write_table
from nubila.curate.ensemble_graph import write_ensemble
from nubila.curate.network import NetworkDetector
from nubila.curate.predict import keep_predictions
from nubila.curate.predictions import Predictions, open_predictions
from nubila.datasets import SampleSpec
from nubila.detect import flipped
from nubila.detect.own import ModelDetector
from nubila.errors import RecipeError
from nubila.export import export_onnx
from nubila.models_io import load_model
from nubila.pipeline.gains import StepReport, measure
from nubila.pipeline.label_ground import PREDICTIONS, Found, StepJob
from nubila.train.folder import renew_export

__all__ = ["combined", "predicted", "trained"]


def trained(job: StepJob, manifest: Path, what: str) -> Found:
    """Train a network a fold, predict the validation split by each, and measure the gain.

    Args:
        job: of the step.
        manifest: with folds.
        what: the step did before, in words.

    Raises:
        NubilaError: whatever training raises.
    """
    recipe = job.recipe_of(manifest)
    checkpoints = []
    for name in fold_names(recipe):
        job.report(f"  fold {name}:")
        checkpoints.append(
            train_fold(recipe, name, job.folder / "run", report=lambda s: job.report(f"    {s}"))
        )
    specs = job.specs(manifest, recipe.data.validation)
    kept = predicted(job, checkpoints, specs, job.folder / PREDICTIONS)
    scores, gain = measure(specs, kept, _last_predictions(job))
    images = len(job.specs(manifest, recipe.data.train))
    report = StepReport(job.folder.name, what, images, scores, gain)
    return Found((*checkpoints, *(one.folder for one in kept)), report)


def predicted(
    job: StepJob, checkpoints: Sequence[Path], specs: Sequence[SampleSpec], folder: Path
) -> tuple[Predictions, ...]:
    """Keep what each network says of samples, a folder each; what is there stays.

    Raises:
        NubilaError: whatever `keep_predictions` raises.
    """
    return tuple(
        keep_predictions(
            flipped(NetworkDetector.of(path, job.recipe), job.recipe.labels.flips),
            specs,
            folder / path.parent.name,
            report=job.report,
        )
        for path in checkpoints
    )


def combined(job: StepJob) -> Found:
    """Put the last networks into one file, and measure the gain over them; what is there stays.

    Raises:
        RecipeError: there is but one network.
        NubilaError: whatever exporting raises.
    """
    files = [_exported(job, run) for run in job.last_runs]
    models = [load_model(path) for path in files]
    if len(models) < 2:
        raise RecipeError(f"{job.folder}: an ensemble has two members at least")
    name = job.recipe.export.name
    combination = mean_of(len(models), len(models[0].card.classes))
    output = write_ensemble(models, combination, job.run / f"{name}.onnx", name=name)
    specs = job.specs(job.trained, job.recipe.data.validation)
    members = _last_predictions(job)
    names = [run.name.replace("-", " ") for run in job.last_runs]
    lines = study(Members.of(dict(zip(names, members, strict=True))), specs, "mean")
    write_table(job.folder / "ensemble.csv", lines)
    detector = flipped(ModelDetector(load_model(output)), job.recipe.labels.flips)
    kept = keep_predictions(
        detector, specs, job.folder / PREDICTIONS / "ensemble", report=job.report
    )
    scores, gain = measure(specs, (kept,), members)
    alone = [next(iter(line.ious.values())) for line in lines.lines[: len(names)]]
    text = ", ".join(f"{100 * iou:.1f}" for iou in alone)
    what = f"{len(names)} networks in one file, alone {text}"
    images = len(job.specs(job.trained, job.recipe.data.train))
    report = StepReport(job.folder.name, what, images, scores, gain)
    return Found((output, *files, job.folder / "ensemble.csv"), report)


def _exported(job: StepJob, run: Path) -> Path:
    """Export a network, unless a run that was killed has done so: its item is written last."""
    path = job.folder / f"{run.name}.onnx"
    item = path.with_suffix(".stac.json")
    renew_export(job.recipe, run)
    newer = max((run / name).stat().st_mtime_ns for name in ("recipe.yaml", "best.ckpt"))
    if path.is_file() and item.is_file() and item.stat().st_mtime_ns > newer:
        return path
    return export_onnx(run, path, report=lambda line: job.report(f"  {line}"))


def _last_predictions(job: StepJob) -> tuple[Predictions, ...]:
    """Return what the networks that were trained last say of the validation split, if any were."""
    if job.ground.networks is None:
        return ()
    return tuple(open_predictions(job.networks / PREDICTIONS / run.name) for run in job.last_runs)
