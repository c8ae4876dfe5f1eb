"""Running detectors of any kind on the same pixels, and what each scores more than the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES
from nubila.datasets import SampleSpec, load_sample
from nubila.datasets.reliability import reliability
from nubila.detect import Detection, Detector, open_detector, own_mask, view_of
from nubila.errors import InputError
from nubila.evaluate.boundary import near_boundary
from nubila.evaluate.scores import differences, full_scores, summarise
from nubila.evaluate.strata import strata, tags_of
from nubila.evaluate.tally import SCORED, SampleTally, called_sets, check_scorable, tally

__all__ = ["BASELINES", "Comparison", "Contender", "compare_detectors", "open_detectors"]

# Judged beside whatever is compared: what scores have to be better than.
BASELINES: Final = ("all-clear", "all-cloud")
# Pixels along a boundary of the label that one of the variants leaves out, as in an evaluation.
_BUFFER: Final = 2


@dataclass(frozen=True)
class Contender:
    """A detector in a comparison.

    Attributes:
        name: unique in the comparison.
        told: names of the classes that it gives.
        tallies: one a sample, in the manifest's order; None where it cannot judge.
        lacking: what it lacked, in words -> on how many samples.
    """

    name: str
    told: tuple[str, ...]
    tallies: tuple[SampleTally | None, ...]
    lacking: Mapping[str, int]

    @property
    def judged(self) -> list[SampleTally]:
        """The samples that it could judge."""
        return [tally for tally in self.tallies if tally is not None]


@dataclass(frozen=True)
class Comparison:
    """Detectors' counts on the same pixels of the same samples.

    Attributes:
        contenders: as given, then the baselines; those that could judge no sample are among them.
        disagreement: of each sample the share of its judged pixels that a pair of detectors calls
            cloud and not cloud, the mean of all pairs without the baselines; 0 for fewer than two.
    """

    contenders: tuple[Contender, ...]
    disagreement: tuple[float, ...]

    @property
    def scored(self) -> tuple[Contender, ...]:
        """The contenders that could judge some sample."""
        return tuple(contender for contender in self.contenders if contender.judged)

    @property
    def unnamed(self) -> list[Mapping[int, float]]:
        """Values of the mask of each sample that no code names, as `Sample.unnamed`."""
        return [sample.unnamed for sample in self._every]

    @property
    def _every(self) -> list[SampleTally]:
        """Tallies of all samples; baselines lack nothing."""
        return next(c for c in self.contenders if None not in c.tallies).judged

    def scores(self) -> dict[str, dict[str, Any]]:
        """Return name -> scores as in an evaluation, each detector's on all that it judged."""
        groups = strata(self._every)
        found = {}
        for contender in self.scored:
            own = {sample.id: sample for sample in contender.judged}
            cut = {
                column: {
                    value: [own[s.id] for s in samples if s.id in own]
                    for value, samples in values.items()
                }
                for column, values in groups.items()
            }
            found[contender.name] = full_scores(
                contender.judged, contender.told, buffer=f"{_BUFFER} px", strata=cut
            )
        # A variant of one is a variant of all: where no sample has thin cloud nothing is left out.
        names = list(dict.fromkeys(name for s in found.values() for name in s["variants"]))
        for scores in found.values():
            scores["variants"] = {n: scores["variants"].get(n, scores["overall"]) for n in names}
        return found

    def common(self) -> tuple[int, dict[str, dict[str, Any]]]:
        """Return on how many samples every scored detector judged, and their scores on those."""
        scored = self.scored
        kept = [
            place
            for place in range(len(self.disagreement))
            if all(c.tallies[place] is not None for c in scored)
        ]
        found = {}
        for contender in scored:
            samples = [t for place in kept if (t := contender.tallies[place]) is not None]
            found[contender.name] = summarise(samples, contender.told)
        return len(kept), found

    def pairs(self, folder: str | None = None) -> dict[str, dict[str, Any]]:
        """Return what each detector scores more than the first, on samples that both judged.

        Args:
            folder: only its samples; None for all.

        Returns:
            ``{"other − first": {class: {"samples": n, "scenes": n, "iou": difference,
            "iou_interval": [low, high], ...}}}``, of the samples whose labels can tell the class;
            pairs without a common sample or class are left out.
        """
        first, *others = self.scored
        found = {}
        for other in others:
            both = [
                (one, two)
                for one, two in zip(other.tallies, first.tallies, strict=True)
                if one is not None and two is not None and folder in (None, one.folder)
            ]
            if not both:
                continue
            one, two = [list(side) for side in zip(*both, strict=True)]
            known = summarise(one, other.told).keys() & summarise(two, first.told).keys()
            classes = differences(one, two, [name for name in SCORED if name in known])
            if classes:
                found[f"{other.name} − {first.name}"] = {
                    name: {"samples": sum(sample.decides(name) for sample in one)} | values
                    for name, values in classes.items()
                }
        return found


def open_detectors(
    names: Sequence[str], *, weights: Path | None = None, threads: int = 1
) -> dict[str, Detector]:
    """Open detectors and give each a name of its own; arguments as of `detect.open_detector`.

    Raises:
        InputError: one is named twice.
        NubilaError: one cannot be opened.
    """
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"detector {name!r} is named twice; name each once")
    opened = [open_detector(name, weights=weights, threads=threads) for name in names]
    own = [detector.name for detector in opened]
    stems = [Path(name).stem for name in names]
    found: dict[str, Detector] = {}
    for name, stem, given, detector in zip(own, stems, names, opened, strict=True):
        if own.count(name) > 1:  # two files of one name: by their paths, if need be
            name = stem if stems.count(stem) == 1 else given
        found[given if name in found else name] = detector
    return found


def compare_detectors(
    detectors: Mapping[str, Detector],
    specs: Sequence[SampleSpec],
    *,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Comparison:
    """Run detectors once over each sample, and count what they make of the same pixels.

    A detector that lacks something of a sample is left out there; the pixels of a sample are those
    that all the others judge. `BASELINES` are judged too.

    Args:
        detectors: name -> detector; the first is the one that the others are compared with.
        specs: rows of a manifest.
        threads: samples that are read and judged side by side; the counts do not depend on it.
        progress: called with the number of samples done, after each.

    Raises:
        InputError: the first detector can judge no sample.
        ManifestError: a file of a sample cannot be read, or does not fit its row, or no pixel of
            any sample is labelled.
        NubilaError: a detector fails on a sample that it does not lack anything of.
    """
    whole = dict(detectors)
    for name in BASELINES:
        whole.setdefault(name, open_detector(name))
    _check_first(*next(iter(whole.items())), specs)
    rows: list[_Row] = []
    with ThreadPoolExecutor(threads) as pool:
        try:
            for row in pool.map(lambda spec: _judge(whole, spec), specs):
                rows.append(row)
                if progress is not None:
                    progress(len(rows))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    contenders = tuple(_contender(name, whole[name], rows) for name in whole)
    found = Comparison(contenders, tuple(row.disagreement for row in rows))
    labelled = any(t.table.any() or t.not_judged for row in rows for t in row.tallies.values())
    check_scorable(specs, labelled, found.unnamed)
    return found


def _check_first(name: str, detector: Detector, specs: Sequence[SampleSpec]) -> None:
    """Raise if a detector can judge no sample, before hours of running the others."""
    lacking = []
    # What has most bands lacks least, so that one sample is read as a rule.
    for spec in sorted(specs, key=lambda spec: len(spec.bands), reverse=True):
        words = detector.lacks(view_of(load_sample(spec), own_mask(spec)))
        if not words:
            return
        lacking.append(words)
    raise InputError(
        f"{name} can judge none of the {len(specs)} samples ({'; '.join(dict.fromkeys(lacking))}); "
        f"name another detector first, since the others are compared with it"
    )


@dataclass(frozen=True)
class _Row:
    """A sample: the tally of each detector that can judge it, and what the others lack."""

    tallies: Mapping[str, SampleTally]
    lacking: Mapping[str, str]
    disagreement: float


def _contender(name: str, detector: Detector, rows: Sequence[_Row]) -> Contender:
    return Contender(
        name=name,
        told=tuple(CLASS_NAMES[output.code] for output in detector.outputs),
        tallies=tuple(row.tallies.get(name) for row in rows),
        lacking=Counter(row.lacking[name] for row in rows if name in row.lacking),
    )


def _judge(detectors: Mapping[str, Detector], spec: SampleSpec) -> _Row:
    """Count what each detector makes of a sample, on the pixels that all of them judge."""
    sample = load_sample(spec)
    view = view_of(sample, own_mask(spec))
    lacking = {n: words for n, detector in detectors.items() if (words := detector.lacks(view))}
    found = {n: detector.detect(view) for n, detector in detectors.items() if n not in lacking}
    judged = np.logical_and.reduce([detection.judged for detection in found.values()])
    label = np.where(judged, sample.label, np.uint8(0))
    near = near_boundary(sample.label, _BUFFER)
    inner = np.where(near, np.uint8(0), label)
    tallies = {}
    for name, detection in found.items():
        counted = _tally(detection, spec, label, inner)
        missed = int(((sample.label != 0) & ~detection.judged).sum())
        tallies[name] = replace(counted, not_judged=missed, unnamed=sample.unnamed)
    peers = [detection for name, detection in found.items() if name not in BASELINES]
    return _Row(tallies, lacking, _disagreement(peers, label != 0))


def _tally(
    detection: Detection, spec: SampleSpec, label: NDArray[np.uint8], inner: NDArray[np.uint8]
) -> SampleTally:
    classes, outputs = detection.classes, detection.outputs
    counted = SampleTally(
        id=spec.id,
        folder=spec.folder,
        group=spec.group,
        table=tally(label, classes),
        sets=spec.codes.all_sets,
        called=called_sets({output.code: output.bits for output in outputs}),
        tags=tags_of(spec),
        inner=tally(inner, classes),
    )
    # One that is certain of each pixel has nothing to calibrate.
    if not detection.graded:
        return counted
    names = [name for name in SCORED if counted.decides(name)]
    bits = [output.bits for output in outputs]
    return replace(counted, reliability=reliability(label, detection.probabilities, bits, names))


def _disagreement(detections: Sequence[Detection], counted: NDArray[np.bool_]) -> float:
    """Return the mean over pairs of the share of counted pixels that one of them calls cloud."""
    if len(detections) < 2 or not counted.any():
        return 0.0
    clouds = [_cloud(detection)[counted] for detection in detections]
    shares = [float((one != other).mean()) for one, other in combinations(clouds, 2)]
    return sum(shares) / len(shares)


def _cloud(detection: Detection) -> NDArray[np.bool_]:
    """Return where a detector says cloud, thin or not."""
    codes = [o.code for o in detection.outputs if o.bits & ~SCORED["cloud"] == 0]
    classes = detection.classes
    cloud: NDArray[np.bool_] = np.isin(classes, codes)
    return cloud
