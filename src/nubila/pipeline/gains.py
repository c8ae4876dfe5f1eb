"""What each step of the labels gains on one and the same validation split."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from nubila.curate.predictions import Predictions
from nubila.curate.tallies import sample_tally
from nubila.datasets import SampleSpec, load_sample
from nubila.errors import ManifestError
from nubila.evaluate.scores import SCORED, differences, summarise
from nubila.evaluate.tally import SampleTally
from nubila.raster.atomic import atomic_path
from nubila.train.folder import read_json, write_json

__all__ = ["StepReport", "measure", "read_report", "told", "write_gains", "write_step"]

_FILE: Final = "step.json"
_COLUMNS: Final = (
    *("step", "what", "images", "class", "scenes", "iou", "iou_low", "iou_high"),
    *("gain", "gain_low", "gain_high"),
)


@dataclass(frozen=True)
class StepReport:
    """What a step did, and what it gained.

    Attributes:
        step: its folder's name.
        what: it did, in words.
        images: rows that are trained on after it.
        scores: class -> ``iou``, ``iou_interval`` and ``scenes``; empty where the step leaves the
            networks as they are.
        gain: class -> ``iou`` and ``iou_interval`` of the difference to the step before that has
            scores; empty for the first one.
    """

    step: str
    what: str
    images: int
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    gain: dict[str, dict[str, Any]] = field(default_factory=dict)


def measure(
    specs: Sequence[SampleSpec], kept: Sequence[Predictions], before: Sequence[Predictions]
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Score the mean of kept predictions, and its difference to that of an earlier step.

    Args:
        specs: the validation split.
        kept: predictions of each network.
        before: the same of the step before; none for the first one.

    Returns:
        Scores and gains, as `StepReport` has them.

    Raises:
        ManifestError: the labels tell none of the classes.
    """
    now, names = _tallies(specs, kept)
    scores = summarise(now, names)
    classes = [name for name in SCORED if name in scores]
    if not classes:
        raise ManifestError(
            f"{specs[0].manifest}: the labels of split {specs[0].split!r} tell none of the "
            f"classes, so that no gain can be measured"
        )
    gain = {}
    if before:
        found = differences(now, _tallies(specs, before)[0], classes)
        gain = {name: _brief(found[name]) for name in classes}
    return {name: _brief(scores[name]) for name in classes}, gain


def _brief(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in ("iou", "iou_interval", "scenes")}


def _tallies(
    specs: Sequence[SampleSpec], members: Sequence[Predictions]
) -> tuple[list[SampleTally], list[str]]:
    names = [output.name for output in members[0].outputs]
    return [_tally(spec, members) for spec in specs], names


def _tally(spec: SampleSpec, members: Sequence[Predictions]) -> SampleTally:
    found = np.stack([one.read(spec.id) for one in members])
    mean, first = found.mean(axis=0), members[0]
    return sample_tally(spec, load_sample(spec).label, mean, first.outputs, first.decision)


def write_step(found: StepReport, folder: Path) -> Path:
    """Write down what a step did, in its folder."""
    write_json(folder / _FILE, asdict(found))
    return folder / _FILE


def read_report(folder: Path) -> StepReport:
    """Return what `write_step` wrote.

    Raises:
        InputError: it is damaged.
    """
    advice = "delete the step's folder, and it is done anew"
    return StepReport(**read_json(folder / _FILE, advice))


def told(found: StepReport) -> str:
    """Return a step's gain, or the lack of it, in words."""
    if not found.scores:
        return f"{found.what}; the networks stay as they are"
    name, scores = next(iter(found.scores.items()))
    text = f"{found.what}; {name} IoU {100 * scores['iou']:.1f}{_between(scores)}"
    text += f" on {scores['scenes']} scenes of validation"
    if found.gain:
        change = found.gain[name]
        low, high = change["iou_interval"]
        text += f", gain {100 * change['iou']:+.1f}{_between(change, sign='+')}"
        if low is None or low <= 0 <= high:
            text += ", which may be chance"
    return text


def _between(values: Mapping[str, Any], sign: str = "") -> str:
    low, high = values["iou_interval"]
    if low is None or high is None:
        return ""
    return f" ({format(100 * low, sign + '.1f')} to {format(100 * high, sign + '.1f')})"


def write_gains(reports: Sequence[StepReport], path: Path) -> Path:
    """Write the table of all steps: a row for each class that a step is scored in."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for found in reports:
            head = [found.step, found.what, found.images]
            if not found.scores:
                writer.writerow([*head, *[""] * (len(_COLUMNS) - len(head))])
            for name, scores in found.scores.items():
                gain = found.gain.get(name)
                change = [gain["iou"], *gain["iou_interval"]] if gain else [""] * 3
                own = [scores["iou"], *scores["iou_interval"]]
                writer.writerow([*head, name, scores["scenes"], *own, *change])
    return path
