"""`nubila audit`: samples in the order of how likely their label is wrong, and why.

What is measured of a sample is kept beside the table as it comes, so that an audit that was killed
goes on; a sample is measured anew when its files or its prediction change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.curate.alignment import Alignment, align
from nubila.curate.audit_checks import ImageFacts, brightness, find_duplicates, image_facts
from nubila.curate.audit_rank import IMAGE, PREDICTION, scores
from nubila.curate.audit_scores import Agreement, cloud_mask, cloud_probability, judge
from nubila.curate.audit_words import Finding, find
from nubila.curate.mistakes import mistakes
from nubila.curate.predictions import Predictions
from nubila.datasets import SampleSpec, load_sample
from nubila.datasets.sample import mask_codes
from nubila.datasets.tables import write_table
from nubila.errors import InputError

__all__ = ["AuditRow", "audit", "write_audit"]

_VERSION: Final = 5
# Samples whose labels are made wrong to learn from; more would not make the regression surer.
_TAUGHT: Final = 500
_SEED: Final = 0

_Numbers = dict[str, float | None]


@dataclass(frozen=True)
class AuditRow:
    """A sample's place in the ranking.

    Attributes:
        spec: the sample.
        score: 0 to 1; the greater, the likelier its label is wrong.
        finding: flags and reason.
        agreement: of label and prediction, or None without one.
        fold: that the prediction left out, or empty.
    """

    spec: SampleSpec
    score: float
    finding: Finding
    agreement: Agreement | None
    fold: str


@dataclass(frozen=True)
class _Measured:
    """All that is measured of a sample; it goes through JSON."""

    facts: ImageFacts
    image: Alignment
    prediction: Alignment | None
    agreement: Agreement | None
    right: _Numbers
    wrong: list[_Numbers]


def audit(
    specs: Sequence[SampleSpec],
    predictions: Predictions | None,
    journal: Path,
    *,
    report: Callable[[str], None],
) -> tuple[AuditRow, ...]:
    """Rank samples by how likely their label is wrong, the likeliest first.

    Args:
        specs: the samples.
        predictions: of them, best out of fold; None for none. A sample without one is ranked by
            its image alone.
        journal: file of what was measured, made if it is not there.
        report: called with each line for people.

    Raises:
        InputError: there are too few samples to tell what is usual.
        ManifestError: a sample cannot be read.
        MissingExtraError: cleanlab is not installed.
    """
    predicted = [spec.id for spec in specs if predictions is not None and spec.id in predictions]
    if predictions is not None and not predicted:
        raise InputError(
            f"{predictions.folder}: no prediction of any of the {len(specs)} samples (ids there "
            f"look like {next(iter(predictions), 'none')!r}, here like {specs[0].id!r})"
        )
    measured = list(_measure_all(specs, predictions, journal, report))
    found = _scores(specs, measured)
    duplicates = find_duplicates([s.id for s in specs], [m.facts for m in measured])
    rows = []
    for spec, each, score in zip(specs, measured, found, strict=True):
        other = duplicates.get(spec.id)
        finding = find(each.facts, each.image, each.prediction, each.agreement, each.right, other)
        total = 1 - (1 - float(score)) * (1 - finding.weight)
        fold = predictions[spec.id].fold if predictions and spec.id in predictions else ""
        rows.append(AuditRow(spec, round(total, 4), finding, each.agreement, fold))
    return tuple(sorted(rows, key=lambda row: (-row.score, row.spec.id)))


def write_audit(rows: Sequence[AuditRow], path: Path) -> None:
    """Write a ranking as a table: CSV, Parquet or GeoJSON.

    Raises:
        OutputError: it cannot be written.
    """
    write_table(path, [_cells(rank, row) for rank, row in enumerate(rows, start=1)])


def _cells(rank: int, row: AuditRow) -> dict[str, str]:
    agreement = asdict(row.agreement) if row.agreement else {}
    return {
        "rank": str(rank),
        "id": row.spec.id,
        "line": str(row.spec.line),
        "score": f"{row.score:.4f}",
        "reason": row.finding.reason,
        "flags": ";".join(row.finding.flags),
        "duplicate_of": row.finding.duplicate_of,
        "fold": row.fold,
        **{name: _text(value) for name, value in agreement.items()},
        "image": ";".join(str(path) for path in row.spec.images),
        "mask": str(row.spec.mask),
    }


def _text(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4f}" if isinstance(value, float) else str(value)


def _scores(specs: Sequence[SampleSpec], measured: Sequence[_Measured]) -> NDArray[np.float64]:
    """Score samples with a prediction by all that is measured, the others by their image."""
    groups = [f"{spec.folder}/{spec.group}" for spec in specs]
    right, wrong = [m.right for m in measured], [m.wrong for m in measured]
    there = np.array([m.agreement is not None for m in measured])
    found = np.zeros(len(specs))
    if there.any():
        chosen = np.flatnonzero(there)
        found[there] = scores(
            [right[n] for n in chosen],
            [wrong[n] for n in chosen],
            [groups[n] for n in chosen],
            (*IMAGE, *PREDICTION),
        )
    if not there.all():
        found[~there] = scores(right, wrong, groups, IMAGE)[~there]
    return found


def _measure_all(
    specs: Sequence[SampleSpec],
    predictions: Predictions | None,
    journal: Path,
    report: Callable[[str], None],
) -> Iterator[_Measured]:
    """Give the measurements of each sample, from the journal where they are there."""
    known = _read_journal(journal)
    if known:
        report(f"going on from {journal}: {len(known)} samples measured")
    every = max(1, -(-len(specs) // _TAUGHT))
    with journal.open("a", encoding="utf-8") as stream:
        for number, spec in enumerate(specs):
            taught = number % every == 0
            partner = specs[(number + len(specs) // 2) % len(specs)] if taught else None
            key = _key(spec, predictions, partner)
            if key in known:
                yield _measured(known[key])
                continue
            found = _measure(spec, predictions, partner)
            stream.write(json.dumps({"key": key, **asdict(found)}) + "\n")
            stream.flush()
            yield found


def _measure(
    spec: SampleSpec, predictions: Predictions | None, partner: SampleSpec | None
) -> _Measured:
    """Measure a sample, and its label made wrong if a partner to swap labels with is given."""
    sample = load_sample(spec)
    bright = brightness(sample)
    kept = predictions.read(spec.id) if predictions and spec.id in predictions else None
    if kept is not None and kept.shape[1:] != sample.label.shape:
        raise InputError(
            f"{spec.id}: its prediction has {kept.shape[1:]} pixels, the image "
            f"{sample.label.shape}; predict anew"
        )
    outputs = predictions.outputs if predictions else ()

    def one(label: NDArray[np.uint8]) -> tuple[Alignment, Alignment | None, Agreement | None]:
        mask = cloud_mask(label)
        if kept is None:
            return align(mask, bright), None, None
        fit = align(mask, cloud_probability(kept, outputs))
        return align(mask, bright), fit, judge(label, kept, outputs)

    random = np.random.default_rng([_SEED, *hashlib.sha256(spec.id.encode()).digest()[:4]])
    bad = []
    if partner is not None:
        other = partner.codes.apply(mask_codes(partner))
        wrong = mistakes(sample.label, other, random)
        bad = [_numbers(label, bright, *one(label)) for _, label in wrong]
    parts = one(sample.label)
    return _Measured(image_facts(sample), *parts, _numbers(sample.label, bright, *parts), bad)


def _numbers(
    label: NDArray[np.uint8],
    bright: NDArray[np.float32],
    image: Alignment,
    fit: Alignment | None,
    agreement: Agreement | None,
) -> _Numbers:
    """Return what the score is made from; None where it cannot be said."""
    mask = cloud_mask(label)
    told = np.isfinite(mask) & np.isfinite(bright)
    cloud = float(mask[told].mean()) if told.any() else float("nan")
    apart = [bright[told & (mask == value)] for value in (1, 0)]
    gap = float(apart[0].mean() - apart[1].mean()) if min(map(len, apart)) else float("nan")
    found = {
        "image_fit": image.own,
        "image_gain": image.gain,
        "no_image_fit": float(np.isnan(image.own)),
        "label_cloud": cloud,
        "label_empty": float(cloud == 0),
        "bright_gap": gap,
    }
    if fit is not None and agreement is not None:
        overlap = 0.0 if np.isnan(agreement.iou) else 1 - agreement.iou
        found |= {
            "cleanlab": 1 - agreement.cleanlab,
            "disagreement": agreement.disagreement,
            "confident": agreement.confident,
            "no_overlap": overlap,
            "sure_and_apart": float(np.sqrt(agreement.confident * overlap)),
            "prediction_fit": fit.own,
            "prediction_gain": fit.gain,
            "prediction_best": fit.best,
            "predicted_cloud": agreement.predicted_cloud,
            "same_move": _same_move(image, fit, label.shape),
            "no_prediction_fit": float(np.isnan(fit.own)),
            "cloud_gap": abs(agreement.label_cloud - agreement.predicted_cloud),
        }
    return {name: None if np.isnan(v) else round(float(v), 6) for name, v in found.items()}


def _same_move(image: Alignment, fit: Alignment, shape: tuple[int, ...]) -> float:
    """Return the lesser gain where image and prediction ask for one and the same move, else 0."""
    near = [
        abs(a - b) <= max(n // 16, 2) for a, b, n in zip(image.shift, fit.shift, shape, strict=True)
    ]
    alike = all(near) and image.turn == fit.turn and image.words
    return min(image.gain, fit.gain) if alike else 0.0


def _key(spec: SampleSpec, predictions: Predictions | None, partner: SampleSpec | None) -> str:
    """Return a hash that changes when what is measured would."""
    row = predictions.get(spec.id) if predictions else None
    other = partner and (_stamps([partner.label_file]), partner.codes)
    how = (spec.codes, spec.bands, spec.scale, spec.offset, spec.nodata, spec.corner)
    made = row and (row.model, row.digest)
    text = repr([_VERSION, _stamps(spec.files), made, other, how, spec.resolution])
    return hashlib.sha256(text.encode()).hexdigest()


def _stamps(files: Sequence[Path]) -> list[tuple[str, int, int]]:
    return [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files if p.exists()]


def _read_journal(path: Path) -> dict[str, Mapping[str, Any]]:
    """Return what was measured, without a line that a killed process left half-written."""
    found: dict[str, Mapping[str, Any]] = {}
    if not path.is_file():
        return found
    text = path.read_text(encoding="utf-8")
    if text and not text.endswith("\n"):
        with path.open("a", encoding="utf-8") as stream:
            stream.write("\n")
    for line in text.splitlines():
        try:
            record: Mapping[str, Any] = json.loads(line)
        except ValueError:
            continue
        found[record["key"]] = record
    return found


def _measured(record: Mapping[str, Any]) -> _Measured:
    """Return a line of the journal; one of another nubila, which has another key, need not fit."""
    fit, agreement = record["prediction"], record["agreement"]
    return _Measured(
        facts=ImageFacts(**record["facts"]),
        image=_alignment(record["image"]),
        prediction=None if fit is None else _alignment(fit),
        agreement=None if agreement is None else Agreement(**agreement),
        right=record["right"],
        wrong=record["wrong"],
    )


def _alignment(record: Mapping[str, Any]) -> Alignment:
    found = Alignment(**record)
    return replace(found, shift=(found.shift[0], found.shift[1]))
