"""Put trained models where they ship from, with their validation scores on the card.

    python recipes/ship.py runs/compare/scores.json runs/default/compact.onnx ...

The scores are of `nubila compare` or `nubila evaluate` on the same files. `make weights` ends so.
Nothing is written before all models are found good: whole, scored, and no worse than what they
replace, unless --worse says that they may be.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from nubila.errors import InputError
from nubila.export.card import read_scores, write_item
from nubila.models_io import CalibrationError, ModelCard, load_model
from nubila.models_io.metadata import copy_with_card
from nubila.models_io.registry import WEIGHTS

# Another machine rounds otherwise, and what was trained again is not the same to the last bit.
_TOLERANCE: Final = 0.005


def main() -> None:
    """Ship the models that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scores", type=Path, help="of nubila compare or nubila evaluate")
    parser.add_argument("models", type=Path, nargs="+", help="ONNX files of nubila export")
    parser.add_argument("--worse", action="store_true", help="replace better models, too")
    given = parser.parse_args()
    for path in ship(given.models, given.scores, WEIGHTS, worse=given.worse):
        print(path)


@dataclass(frozen=True)
class Parcel:
    """A model that is ready to be written.

    Attributes:
        source: of the model.
        card: with its scores.
        when: it was trained.
        architecture: its name.
        batch: of the graph, None for any.
    """

    source: Path
    card: ModelCard
    when: datetime
    architecture: str
    batch: int | None

    def write(self, folder: Path) -> Path:
        """Write model and STAC item, named after the card, and return the model's path.

        Raises:
            OutputError: the folder cannot be written to.
        """
        target = folder / f"{self.card.name}.onnx"
        copy_with_card(self.source, target, self.card)
        write_item(self.card, target, self.when, self.architecture, self.batch)
        return target


def ship(sources: Sequence[Path], scores: Path, folder: Path, *, worse: bool = False) -> list[Path]:
    """Write models and their STAC items to a folder, named after their cards; all or none.

    Args:
        sources: of `nubila export`, with their STAC items beside them, which say when they were
            trained and of which architecture they are.
        scores: file of `nubila compare` or `nubila evaluate`, of which the cards keep a part.
        folder: what lies there under the models' names is replaced.
        worse: also where that has the better score.

    Raises:
        ModelError: a source is no model.
        InputError: the scores or an item cannot be read, or the scores are of other models, or
            of another file of this name, or worse than those of what would be replaced.
        OutputError: the folder cannot be written to.
    """
    parcels = [_parcel(source, scores) for source in sources]
    for parcel in parcels:
        if not worse:
            _no_worse(parcel.card, folder / f"{parcel.card.name}.onnx")
    return [parcel.write(folder) for parcel in parcels]


def _parcel(source: Path, scores: Path) -> Parcel:
    model = load_model(source)
    kept = read_scores(scores, model.card.name, model.sha256)
    card = model.card.model_copy(update={"scores": kept})
    if card.calibration_error is None:
        measured = _calibration_error(scores, card.name, *kept)
        card = card.model_copy(update={"calibration_error": measured})
    when, architecture = _trained(source.with_suffix(".stac.json"))
    return Parcel(source, card, when, architecture, model.batch)


def _no_worse(card: ModelCard, there: Path) -> None:
    """Refuse a card whose cloud IoU of a whole split is lower than that of what is there."""
    if not there.is_file():
        return
    old = load_model(there).card
    for split in card.scores.keys() & old.scores.keys():
        new, before = (c.scores[split]["overall"]["cloud"]["iou"] for c in (card, old))
        if new < before - _TOLERANCE:
            raise InputError(
                f"{there}: version {old.version} has a cloud IoU of {before:.3f} on the split "
                f"{split}, version {card.version} would have {new:.3f}; if it shall ship all the "
                f"same, say --worse"
            )


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
