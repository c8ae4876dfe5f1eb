"""What an evaluation leaves in its folder: JSON for machines, CSV for tables, PNG for eyes."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from nubila._version import __version__
from nubila.datasets import SampleSpec
from nubila.evaluate.panels import draw_panels
from nubila.evaluate.run import Evaluation
from nubila.evaluate.scores import PROTOCOL, SCORED, SampleTally
from nubila.models_io import Model
from nubila.raster.atomic import atomic_path, make_folder

__all__ = ["write_report"]

_FIGURES: Final = ("iou", "precision", "recall", "accuracy")


def write_report(
    evaluation: Evaluation,
    model: Model,
    specs: Sequence[SampleSpec],
    folder: str | Path,
    *,
    split: str | None = None,
) -> dict[str, Path]:
    """Write ``scores.json``, ``scores.csv``, ``samples.csv`` and ``panels.png``.

    Args:
        evaluation: of `model` on `specs`.
        model: runs again on the few samples that are drawn.
        specs: the samples, in the order of the evaluation.
        folder: made if it is not there.
        split: the split that was chosen, for the record.

    Returns:
        ``scores``, ``table``, ``samples``, ``panels``: the path of each.

    Raises:
        OutputError: a file cannot be written.
    """
    target = make_folder(folder)
    paths = {
        "scores": target / "scores.json",
        "table": target / "scores.csv",
        "samples": target / "samples.csv",
        "panels": target / "panels.png",
    }
    scores = evaluation.scores()
    document = scores | {"protocol": _protocol(model, specs, split)}
    with atomic_path(paths["scores"]) as path:
        path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    _write_csv(paths["table"], _table(scores))
    _write_csv(paths["samples"], [_sample(tally) for tally in evaluation.tallies])
    with atomic_path(paths["panels"]) as path:
        draw_panels(evaluation, model, specs).save(path)
    return paths


def _protocol(model: Model, specs: Sequence[SampleSpec], split: str | None) -> dict[str, Any]:
    return {
        "nubila": __version__,
        "model": model.card.name,
        "model_version": model.card.version,
        "model_sha256": model.sha256,
        "classes": list(model.card.classes),
        "manifest": Path(specs[0].manifest).name,
        "split": split,
        "rules": PROTOCOL,
    }


def _table(scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each folder and class, and first those of all folders."""
    rows = []
    for folder, found in ({"overall": scores["overall"]} | scores["folders"]).items():
        for name in SCORED:
            if name in found:
                values = dict(found[name])
                low, high = values.pop("iou_interval")
                values |= {"iou_low": low, "iou_high": high}
                if name == "cloud":
                    values |= {k: found[k] for k in ("all_cloud_iou", "all_clear_accuracy")}
                rows.append({"folder": folder, "class": name} | values)
    return rows


def _sample(tally: SampleTally) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": tally.id,
        "folder": tally.folder,
        "group": tally.group,
        "pixels": int(tally.table.sum()),
        "not_judged": tally.not_judged,
        "agreement": _short(tally.agreement),
    }
    for name in SCORED:
        if tally.decides(name):
            counts = tally.counts(name)
            row |= {f"{name} {f}": _short(getattr(counts, f)) for f in _FIGURES}
    return row


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows whose columns may differ; a figure that is undefined or absent stays empty."""
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
