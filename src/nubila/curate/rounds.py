"""Rounds of pseudo-labels: train, label what has no label, deal out anew, train again.

::

    folder/rounds.json            what the rounds were started with
    folder/rounds.csv             a row a round and class: score, gain, and their intervals
    folder/round-1/manifest.csv   the recipe's rows, and those of the pool that round 0 was sure of
    folder/round-1/run/           what `nubila train` leaves; of folds, what `--fold all` leaves
    folder/round-1/predictions/   of the validation split and of the pool, a folder a network
    folder/round-1/labels/        masks of the pool, made from them for round 2

Every step keeps its result and knows its own when it sees it, so that the same call goes on from
wherever it was killed.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from nubila.classes import class_set
from nubila.curate.automatic import Means
from nubila.curate.cross_validation import (
    fold_names,
    sample_probabilities,
    train_fold,
)
from nubila.curate.fold_table import make_folds
from nubila.curate.network import network_version
from nubila.curate.origin import image_digest
from nubila.curate.predictions import Output, Predictions, PredictionWriter, open_predictions
from nubila.curate.pseudo import Sureness
from nubila.curate.pseudo_label import PseudoLabels, label_rows, write_pseudo_labels
from nubila.curate.tallies import sample_tally
from nubila.curate.teachers import KeptDetector
from nubila.datasets import SampleSpec, load_sample, read_manifest, write_manifest
from nubila.datasets.manifest import check_specs, manifest_rows
from nubila.errors import ManifestError, RecipeError
from nubila.evaluate.scores import SCORED, differences, summarise
from nubila.evaluate.tally import SampleTally
from nubila.raster.atomic import atomic_path, make_folder
from nubila.recipe import Recipe
from nubila.train import fit
from nubila.train.folder import read_json, write_json
from nubila.train.samples import drop_stale_tiles
from nubila.train.state import load_weights

__all__ = ["Round", "RoundOptions", "best_round", "run_rounds"]

_COLUMNS: Final = (
    *("round", "class", "images", "added", "scenes", "iou", "iou_low", "iou_high"),
    *("gain", "gain_low", "gain_high"),
)
# What may differ from the rounds that are gone on with: none of it changes a number.
_FREE: Final = frozenset(
    {"labels", "export", "evaluation", "mask", "track", "workers", "checkpoint_minutes"}
)

Report = Callable[[str], None]


@dataclass(frozen=True)
class RoundOptions:
    """How rounds go.

    Attributes:
        rounds: at most, after the first training.
        sureness: when a pixel of a pseudo-label is sure.
        keep: an image of the pool is taken where more than this share of it is sure.
        folds: networks a round, each trained without one fold; 1 for one network of all.
    """

    rounds: int = 3
    sureness: Sureness = field(default_factory=lambda: Sureness(0.1, 0.9, "ignore"))
    keep: float = 0.9
    folds: int = 1


@dataclass(frozen=True)
class Round:
    """A finished round.

    Attributes:
        number: 0 for the training before any pseudo-label.
        folder: of the round.
        images: rows of the training split.
        added: those of them that are of the pool.
        scores: on the validation split, as `evaluate.scores.summarise` gives them.
        gain: class -> what it scores more than the round before, as `evaluate.scores.differences`
            gives it; empty for round 0.
        checkpoints: of its networks.
    """

    number: int
    folder: Path
    images: int
    added: int
    scores: Mapping[str, Any]
    gain: Mapping[str, Any]
    checkpoints: tuple[Path, ...]


def run_rounds(
    recipe: Recipe, pool: Path, folder: Path, options: RoundOptions, *, report: Report
) -> tuple[Round, ...]:
    """Train, label the pool, and train again, until the IoU on the validation split stops rising.

    The validation split is the recipe's own in all rounds: no row of the pool gets into it, and
    none of its groups may be in the pool. Each round labels the whole pool anew, so that a row may
    come and go; labels that the pool's rows have, such as those that an audit has dropped, are not
    looked at.

    Args:
        recipe: of the training; it has a manifest.
        pool: manifest of images to label, its paths relative to the recipe's ``data.root``.
        folder: of the rounds.
        options: how.
        report: called with each line for people.

    Raises:
        RecipeError: the recipe has no manifest, the folder holds rounds of something else, or the
            pool has rows that are to be scored on or stand in the training already.
        ManifestError: a group of the pool is in another split too.
        NubilaError: whatever training raises.
    """
    job = _Job.of(recipe, pool, make_folder(folder).absolute(), options, report)
    job.hold_to_same()
    rounds: list[Round] = []
    before: list[SampleTally] | None = None
    added: PseudoLabels | None = None
    for number in range(options.rounds + 1):
        own = make_folder(job.folder / f"round-{number}")
        rows = job.rows + (() if added is None else added.kept)
        checkpoints = _train(job, number, own, rows)
        last = number == options.rounds
        kept = _predict(job, own, checkpoints, job.validation + (() if last else job.pool))
        decision = job.recipe.export.decision
        tallies = [_mean_tally(spec, kept, decision) for spec in job.validation]
        rounds.append(_scored(number, own, rows, added, checkpoints, job, tallies, before, kept))
        _write_table(job.folder / "rounds.csv", rounds)
        report(_told(rounds[-1]))
        if number and (gain := _gain(rounds[-1])) is not None and gain <= 0:
            report(f"round {number} gained nothing: no more rounds")
            break
        if last:
            break
        added = _label(job, own, kept)
        before = tallies
        if not added.kept:
            report(f"no image of the pool is sure enough after round {number}: no more rounds")
            break
    return tuple(rounds)


def best_round(rounds: Sequence[Round]) -> Round:
    """Return the round with the best IoU of cloud, or of the first class that is scored."""
    name = _classes(rounds[0].scores)[0]
    return max(rounds, key=lambda found: found.scores[name]["iou"] or 0.0)


@dataclass(frozen=True)
class _Job:
    """What every round is given.

    Attributes:
        rows: cells of the recipe's manifest, without those that stand in the pool.
        pool_rows, pool: of the pool, all of the training split.
        validation: the samples that every round is scored on.
    """

    recipe: Recipe
    folder: Path
    options: RoundOptions
    report: Report
    sources: tuple[Path, Path]
    rows: tuple[dict[str, str], ...]
    pool_rows: tuple[dict[str, str], ...]
    pool: tuple[SampleSpec, ...]
    validation: tuple[SampleSpec, ...]

    @classmethod
    def of(
        cls, recipe: Recipe, pool: Path, folder: Path, options: RoundOptions, report: Report
    ) -> _Job:
        """Read both manifests, and hold them against each other."""
        data = recipe.data
        if data.manifest is None:
            raise RecipeError(
                f"data.dataset is {data.dataset!r}: rounds add rows to a manifest; write one with "
                f"`nubila folds {data.dataset} --root ...` and give it as data.manifest"
            )
        base = read_manifest(data.manifest, root=data.root, unlabelled=True)
        images = read_manifest(pool, root=data.root, unlabelled=True)
        used = (data.train, data.validation, data.test)
        taken = {spec.images: spec for spec in base if spec.split in used}
        for spec in images:
            if spec.split in (data.validation, data.test):
                raise RecipeError(
                    f"{pool}: line {spec.line} is of split {spec.split!r}, which is scored on; "
                    f"rows of the pool are trained on"
                )
            if (other := taken.get(spec.images)) is not None:
                raise RecipeError(
                    f"{pool}: line {spec.line}: {spec.id} stands in {data.manifest} already, in "
                    f"split {other.split!r}; take it out of one of the two"
                )
        mine = tuple(replace(spec, split=data.train) for spec in images)
        there = {spec.images for spec in mine}
        rest = [spec.images not in there for spec in base]
        check_specs([*(s for s, stays in zip(base, rest, strict=True) if stays), *mine])
        pairs = zip(manifest_rows(data.manifest), rest, strict=True)
        return cls(
            recipe=recipe,
            folder=folder,
            options=options,
            report=report,
            sources=(data.manifest, pool),
            rows=tuple(cells for (_, cells), stays in pairs if stays),
            pool_rows=tuple(cells | {"split": data.train} for _, cells in manifest_rows(pool)),
            pool=mine,
            validation=read_manifest(data.manifest, root=data.root, split=data.validation),
        )

    def hold_to_same(self) -> None:
        """Raise if the folder holds rounds of something else; else write down what these are of."""
        values = self.recipe.model_dump(mode="json")
        options = asdict(self.options)
        del options["rounds"]
        content = {
            "recipe": {k: v for k, v in values.items() if k not in _FREE},
            "options": options,
            "files": [hashlib.sha256(path.read_bytes()).hexdigest() for path in self.sources],
        }
        now = json.loads(json.dumps(content))
        path = self.folder / "rounds.json"
        if path.is_file():
            before = read_json(path, f"delete {self.folder} and start the rounds anew")
            changed = [name for name in now if now[name] != before.get(name)]
            if changed:
                raise RecipeError(
                    f"{path}: these rounds were started with other {', '.join(changed)}; name "
                    f"another folder with -o, or delete this one"
                )
        write_json(path, content)


def _train(
    job: _Job, number: int, folder: Path, rows: Sequence[Mapping[str, str]]
) -> tuple[Path, ...]:
    """Train the networks of a round; return their checkpoints."""
    data = job.recipe.data
    manifest = folder / "manifest.csv"
    changes: dict[str, Any] = {"manifest": manifest}
    if data.tiles is not None:  # a store holds its tiles' labels
        changes["tiles"] = data.tiles.with_name(f"{data.tiles.name}-round-{number}")
    recipe = job.recipe.model_copy(update={"data": data.model_copy(update=changes)})
    count = job.options.folds
    if count > 1:
        numbered = list(enumerate(rows, start=2))
        apart = sorted({cells.get("split", "") for cells in rows} - {data.train})
        # Written first, for errors name this table and its lines.
        write_manifest(manifest, rows)
        dealt = make_folds(str(manifest), numbered, data.root, count, apart=apart, seed=recipe.seed)
        rows = dealt.rows
    write_manifest(manifest, rows)
    job.report(f"round {number}: {manifest}")
    run = folder / "run"
    if count == 1:
        drop_stale_tiles(recipe, job.report)
        return (fit(recipe, run, resume=True, report=job.report),)
    names = fold_names(recipe)
    return tuple(train_fold(recipe, name, run, report=job.report) for name in names)


def _predict(
    job: _Job, folder: Path, checkpoints: Sequence[Path], specs: Sequence[SampleSpec]
) -> tuple[Predictions, ...]:
    """Keep the predictions of samples by each network; those that are there stay."""
    outputs = [Output(name, class_set(members)) for name, members in job.recipe.classes.items()]
    kept = []
    for place, checkpoint in enumerate(checkpoints):
        decision = job.recipe.export.decision
        version = network_version(folder.name, checkpoint, decision)
        target = folder / "predictions" / str(place)
        writer = PredictionWriter(target, outputs)
        left = writer.left(specs, version)
        network = load_weights(checkpoint) if left else None
        for spec in left:
            assert network is not None  # there is something left to predict
            digest = image_digest(spec)  # before it is read, for it may change meanwhile
            found = sample_probabilities(network, job.recipe, spec)
            writer.write(spec, found, model=version, decision=decision, digest=digest)
        kept.append(open_predictions(target))
    return tuple(kept)


def _mean_tally(spec: SampleSpec, kept: Sequence[Predictions], decision: str) -> SampleTally:
    mean = np.stack([predictions.read(spec.id) for predictions in kept]).mean(axis=0)
    return sample_tally(spec, load_sample(spec).label, mean, kept[0].outputs, decision)


def _label(job: _Job, folder: Path, kept: Sequence[Predictions]) -> PseudoLabels:
    """Label the pool with the mean of a round's networks."""
    means = Means(
        tuple(KeptDetector(predictions) for predictions in kept),
        sureness=job.options.sureness,
        indices=False,
        replace=True,
    )
    target = folder / "labels"
    root, keep = job.recipe.data.root, job.options.keep
    found = label_rows(job.pool_rows, job.pool, means, target, root=root, keep=keep)
    write_pseudo_labels(found, target)
    job.report(f"{found.made} of {len(job.pool)} images of the pool are sure enough")
    return found


def _scored(
    number: int,
    folder: Path,
    rows: Sequence[Mapping[str, str]],
    added: PseudoLabels | None,
    checkpoints: tuple[Path, ...],
    job: _Job,
    tallies: Sequence[SampleTally],
    before: Sequence[SampleTally] | None,
    kept: Sequence[Predictions],
) -> Round:
    scores = summarise(tallies, [output.name for output in kept[0].outputs])
    if not _classes(scores):
        raise ManifestError(
            f"{job.sources[0]}: the labels of split {job.recipe.data.validation!r} tell none of "
            f"the classes, so that no gain can be measured"
        )
    return Round(
        number=number,
        folder=folder,
        images=sum(cells.get("split") == job.recipe.data.train for cells in rows),
        added=0 if added is None else len(added.kept),
        scores=scores,
        gain={} if before is None else differences(tallies, before, _classes(scores)),
        checkpoints=checkpoints,
    )


def _classes(scores: Mapping[str, Any]) -> list[str]:
    return [name for name in SCORED if name in scores]


def _gain(found: Round) -> float | None:
    """Return the gain that decides: of cloud, or of the first class that is scored."""
    gain: float | None = next(iter(found.gain.values()))["iou"]
    return gain


def _told(found: Round) -> str:
    name = _classes(found.scores)[0]
    low, high = found.scores[name]["iou_interval"]
    text = f"round {found.number}: {name} IoU {found.scores[name]['iou']}" + _between(low, high)
    if found.gain:
        low, high = found.gain[name]["iou_interval"]
        text += f", gain {found.gain[name]['iou']:+.4f}" + _between(low, high)
    return f"{text}; {found.images} training images, {found.added} of the pool"


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" ({low:+.4f} to {high:+.4f})"


def _write_table(path: Path, rounds: Sequence[Round]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for found in rounds:
            for name in _classes(found.scores):
                own, gain = found.scores[name], found.gain.get(name)
                change = (gain["iou"], *gain["iou_interval"]) if gain else ("", "", "")
                head = found.number, name, found.images, found.added, own["scenes"]
                writer.writerow([*head, own["iou"], *own["iou_interval"], *change])
