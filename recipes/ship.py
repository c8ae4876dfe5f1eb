"""Put trained models where they ship from, with their validation scores on the card.

    python recipes/ship.py runs/compare/scores.json runs/default/compact.onnx ...

The scores are of `nubila compare` or `nubila evaluate` on the same files. `make weights` ends so.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path

from nubila.export.card import read_scores, write_item
from nubila.models_io import load_model
from nubila.models_io.metadata import copy_with_card
from nubila.models_io.registry import WEIGHTS


def main() -> None:
    """Ship the models that the command line names."""
    scores, *models = map(Path, sys.argv[1:])
    for model in models:
        print(ship(model, scores, WEIGHTS))


def ship(source: Path, scores: Path, folder: Path) -> Path:
    """Write a model and its STAC item to a folder, named after its card, and return its path."""
    model = load_model(source)
    card = model.card.model_copy(update={"scores": read_scores(scores, model.card.name)})
    target = folder / f"{card.name}.onnx"
    copy_with_card(source, target, card)
    item = json.loads(source.with_suffix(".stac.json").read_text(encoding="utf-8"))["properties"]
    when = datetime.fromisoformat(item["datetime"])
    write_item(card, target, when, item["mlm:architecture"], model.batch)
    return target


if __name__ == "__main__":
    main()
