"""Exports whose cards have scores, as a user makes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from nubila.export import ExportOptions, export_onnx

__all__ = ["scored_export", "write_scores"]


def write_scores(path: Path, sha256: str) -> Path:
    """Write scores of a file of the model toy, as `nubila evaluate` does."""
    protocol = {"model": "toy", "model_sha256": sha256}
    scores = {"overall": {"cloud": {"iou": 0.5}}, "protocol": protocol}
    path.write_text(json.dumps(scores), encoding="utf-8")
    return path


def scored_export(
    run: Path,
    output: Path,
    scores: Path,
    options: ExportOptions | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Export a run, write scores of the file, and export again with these."""
    first = export_onnx(run, output, report=lambda _: None)
    write_scores(scores, hashlib.sha256(first.read_bytes()).hexdigest())
    given = {} if options is None else {"options": options}
    return export_onnx(run, output, scores=scores, report=report, **given)
