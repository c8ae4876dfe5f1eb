"""Ensembles: what members and pairs of them score, alone and together, and weights for them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import DecisionRule, class_code
from nubila.curate.combination import Combination, Moments, Weights, fit_weights, mean_of
from nubila.curate.predictions import Output, Predictions
from nubila.curate.tallies import sample_tally
from nubila.datasets import SampleSpec, load_sample
from nubila.errors import InputError
from nubila.evaluate.scores import SCORED, summarise
from nubila.evaluate.tally import SampleTally
from nubila.infer.decide import kinds_of, likeliest
from nubila.raster.atomic import atomic_path

__all__ = ["Line", "Members", "Study", "study", "write_table"]

# Parts of the scenes; weights that are scored on one were fitted on the others.
_PARTS: Final = 5


@dataclass(frozen=True)
class Members:
    """Kept predictions of several models, brought to one order of outputs.

    Attributes:
        names: of the members.
        kept: their predictions.
        outputs: in the order of the first one's.
        order: of each member, the place of each output in its own.
    """

    names: tuple[str, ...]
    kept: tuple[Predictions, ...]
    outputs: tuple[Output, ...]
    order: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, kept: Mapping[str, Predictions]) -> Members:
        """Join members.

        Raises:
            InputError: there are fewer than two, or they tell different classes apart.
        """
        if len(kept) < 2:
            raise InputError(f"an ensemble has two members at least, got {len(kept)}")
        names, found = tuple(kept), tuple(kept.values())
        first = found[0].outputs
        for name, one in kept.items():
            if set(one.outputs) != set(first):
                raise InputError(
                    f"{names[0]} and {name} tell different classes apart; take members of one kind"
                )
        order = tuple(tuple(one.outputs.index(output) for output in first) for one in found)
        return cls(names, found, first, order)

    def decision(self, sample_id: str) -> DecisionRule:
        """How classes follow: by kind as soon as one member decides so, as the graph does."""
        return "kind" if any(one[sample_id].decision == "kind" for one in self.kept) else "class"

    def read(self, sample_id: str) -> NDArray[np.float32]:
        """Return (members, outputs, rows, columns), NaN where one of them did not judge.

        Raises:
            InputError: a member has no prediction of the sample, or of another size.
        """
        found: list[NDArray[np.float32]] = []
        for name, one, order in zip(self.names, self.kept, self.order, strict=True):
            values = one.read(sample_id)[list(order)]
            if found and values.shape != found[0].shape:
                raise InputError(
                    f"{one.folder}: {name}'s prediction of {sample_id} has {values.shape[1:]} "
                    f"pixels, {self.names[0]}'s {found[0].shape[1:]}; predict anew"
                )
            # Kept in steps of 0.4 %; what that takes from their sum is given back.
            found.append(values / values.sum(axis=0).clip(1e-6))
        whole = np.stack(found)
        whole[:, :, np.isnan(whole).any(axis=(0, 1))] = np.nan
        return whole


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Attributes:
        name: of the member, of the pair, or of all.
        scores: as `evaluate.scores.summarise` gives them.
        agreement: of a pair, the share of labelled pixels that both call the same; else None.
    """

    name: str
    scores: Mapping[str, Any]
    agreement: float | None = None

    @property
    def ious(self) -> dict[str, float]:
        """Class -> IoU of all pixels."""
        return {name: self.scores[name]["iou"] for name in SCORED if name in self.scores}


@dataclass(frozen=True)
class Study:
    """What an ensemble is made of.

    Attributes:
        lines: members, then the mean of each pair and of all; last, where weights are fitted, all
            by these: scored on parts of the scenes of which the weights did not know.
        combination: fitted on all samples.
    """

    lines: tuple[Line, ...]
    combination: Combination


def study(
    members: Members, specs: Sequence[SampleSpec], kind: Weights, *, per_class: bool = False
) -> Study:
    """Score members, pairs and all on the pixels that every member judges, and fit weights.

    Args:
        members: their predictions of the samples; out of fold, if weights are to be trusted.
        specs: labelled samples.
        kind: of the weights.
        per_class: weights of their own for each output.

    Raises:
        InputError: a prediction is missing, or no weights can be fitted.
        ManifestError: a sample cannot be read.
    """
    number, outputs = len(members.names), [output.classes for output in members.outputs]
    mean = mean_of(number, len(outputs))
    groups: list[tuple[int, ...]] = [(n,) for n in range(number)]
    groups += combinations(range(number), 2)
    groups += [tuple(range(number))] if number > 2 else []
    tallies: dict[tuple[int, ...], list[SampleTally]] = {group: [] for group in groups}
    same = dict.fromkeys(combinations(range(number), 2), 0)
    codes = [class_code(output.name) for output in members.outputs]
    labelled = 0
    parts = _parts(specs)
    moments = [_nothing(len(outputs), number)] * (max(parts) + 1)
    for spec, part, label, found in _samples(members, specs, parts):
        judged = (label != 0) & ~np.isnan(found[0, 0])
        decision = members.decision(spec.id)
        kinds = kinds_of(codes, decision)
        labelled += int(judged.sum())
        called = [likeliest(np.nan_to_num(one), kinds)[1] for one in found]
        for one, other in same:
            same[one, other] += int((called[one] == called[other])[judged].sum())
        for group in groups:
            mixed = found[list(group)].mean(axis=0)
            tallies[group].append(sample_tally(spec, label, mixed, members.outputs, decision))
        if kind != "mean":
            moments[part] = moments[part] + Moments.of(found, label, outputs)
    lines = []
    for group in groups:
        name = " + ".join(members.names[n] for n in group)
        pixels = same.get((group[0], group[-1])) if len(group) == 2 else None
        agreement = None if pixels is None or not labelled else pixels / labelled
        lines.append(Line(name, _summary(tallies[group], members), agreement))
    if kind == "mean":
        return Study(tuple(lines), mean)
    total = sum(moments, _nothing(len(outputs), number))
    if len(moments) > 1:
        fitted = [fit_weights(total - own, kind, per_class=per_class) for own in moments]
        held_out = [
            sample_tally(
                spec,
                label,
                fitted[part].apply(found),
                members.outputs,
                members.decision(spec.id),
            )
            for spec, part, label, found in _samples(members, specs, parts)
        ]
        lines.append(Line(f"all, {kind} weights", _summary(held_out, members)))
    return Study(tuple(lines), fit_weights(total, kind, per_class=per_class))


def write_table(path: Path, found: Study) -> None:
    """Write the table of members and pairs as CSV."""
    classes = list(dict.fromkeys(name for line in found.lines for name in line.ious))
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        head = [f"{name} {what}" for name in classes for what in ("iou", "low", "high")]
        writer.writerow(["members", *head, "agreement"])
        for line in found.lines:
            cells: list[Any] = []
            for name in classes:
                scores = line.scores.get(name, {})
                cells += [scores.get("iou"), *scores.get("iou_interval", ("", ""))]
            both = "" if line.agreement is None else f"{line.agreement:.6f}"
            writer.writerow([line.name, *cells, both])


def _samples(
    members: Members, specs: Sequence[SampleSpec], parts: Sequence[int]
) -> Iterator[tuple[SampleSpec, int, NDArray[np.uint8], NDArray[np.float32]]]:
    for spec, part in zip(specs, parts, strict=True):
        label, found = load_sample(spec).label, members.read(spec.id)
        if found.shape[2:] != label.shape:
            raise InputError(
                f"{members.kept[0].folder}: the prediction of {spec.id} has {found.shape[2:]} "
                f"pixels, its label {label.shape}; predict anew"
            )
        yield spec, part, label, found


def _parts(specs: Sequence[SampleSpec]) -> list[int]:
    """Return the part that each sample is in; those of a scene are in one."""
    scenes = list(dict.fromkeys((spec.folder, spec.group) for spec in specs))
    place = {scene: number % _PARTS for number, scene in enumerate(scenes)}
    return [place[spec.folder, spec.group] for spec in specs]


def _nothing(outputs: int, members: int) -> Moments:
    return Moments(np.zeros((outputs, members, members)), np.zeros((outputs, members)))


def _summary(tallies: Sequence[SampleTally], members: Members) -> dict[str, Any]:
    return summarise(tallies, [output.name for output in members.outputs])
