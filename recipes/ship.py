"""Put trained models where they ship from, with their validation scores on the card.

    python recipes/ship.py runs/compare/scores.json runs/default/compact.onnx ...

The scores are of `nubila compare` or `nubila evaluate` on the same files. `make weights` ends so.
"""

from __future__ import annotations

import argparse
import json
from datetime import datetime
from pathlib import Path

from nubila.errors import InputError
from nubila.export.card import read_scores, write_item
from nubila.models_io import CalibrationError, load_model
from nubila.models_io.metadata import copy_with_card
from nubila.models_io.registry import WEIGHTS


def main() -> None:
    """Ship the models that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scores", type=Path, help="of nubila compare or nubila evaluate")
    parser.add_argument("models", type=Path, nargs="+", help="ONNX files of nubila export")
    given = parser.parse_args()
    for model in given.models:
        print(ship(model, given.scores, WEIGHTS))


def ship(source: Path, scores: Path, folder: Path) -> Path:
    """Write a model and its STAC item to a folder, named after its card, and return its path.

    Args:
        source: of `nubila export`, with its STAC item beside it, which says when it was trained
            and of which architecture it is.
        scores: file of `nubila compare` or `nubila evaluate`, of which the card keeps a part.
        folder: what lies there under the model's name is replaced.

    Raises:
        ModelError: the source is no model.
        InputError: the scores or the item cannot be read, or the scores are of other models, or
            of another file of this name.
        OutputError: the folder cannot be written to.
    """
    model = load_model(source)
    kept = read_scores(scores, model.card.name, model.sha256)
    card = model.card.model_copy(update={"scores": kept})
    if card.calibration_error is None:
        measured = _calibration_error(scores, card.name, *kept)
        card = card.model_copy(update={"calibration_error": measured})
    when, architecture = _trained(source.with_suffix(".stac.json"))
    target = folder / f"{card.name}.onnx"
    copy_with_card(source, target, card)
    write_item(card, target, when, architecture, model.batch)
    return target


def _calibration_error(scores: Path, name: str, split: str) -> CalibrationError | None:
    """Return what scores say of a model's calibration, which of 8-bit integers is their own.

    Of the classes that some label has; those that labels only rule out would seem well calibrated.
    """
    document = json.loads(scores.read_text(encoding="utf-8"))
    found = document.get("models", {name: document})[name].get("calibration", {})
    there = {name for name, row in found.items() if any(b["frequency"] for b in row["bins"])}
    ece = {name: row["ece"] for name, row in found.items() if name in there}
    return CalibrationError(split=split, ece=ece) if ece else None


def _trained(item: Path) -> tuple[datetime, str]:
    """Return when the model of a STAC item was trained, and of which architecture it is."""
    try:
        properties = json.loads(item.read_text(encoding="utf-8"))["properties"]
        return datetime.fromisoformat(properties["datetime"]), str(properties["mlm:architecture"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{item}: expected the STAC item that nubila export writes beside a model, with "
            f"datetime and mlm:architecture; found {type(error).__name__}: {error}"
        ) from error


if __name__ == "__main__":
    main()
