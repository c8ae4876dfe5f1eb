"""Four small samples with predictions, ready to be reviewed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from nubila.classes import class_set
from nubila.curate.predictions import Output, PredictionWriter, open_predictions
from nubila.curate.review import Review, ReviewStore, read_items
from nubila.datasets import read_manifest
from tests.curate.samples import write_samples

ROWS, COLUMNS = 48, 64
OUTPUTS = tuple(Output(name, class_set([name])) for name in ("clear", "cloud", "water"))


@dataclass(frozen=True)
class Folder:
    """Where everything lies."""

    path: Path

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.csv"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions"

    @property
    def decisions(self) -> Path:
        return self.path / "manifest.review.db"

    def predict(self, number: int, codes: np.ndarray) -> None:
        """Keep a prediction that is sure of `codes`, indices of `OUTPUTS`."""
        spec = read_manifest(self.manifest)[number]
        sure = np.eye(len(OUTPUTS), dtype=np.float32)[codes]
        PredictionWriter(self.predictions, OUTPUTS).write(spec, np.moveaxis(sure, -1, 0), model="m")

    def review(self, who: str = "anna") -> Review:
        return Review(
            read_items(read_manifest(self.manifest)),
            ReviewStore(self.decisions),
            who=who,
            predictions=open_predictions(self.predictions),
        )


def images(count: int = 4) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Noise with a square of one value in its middle, and a label with a cloud at the top left."""
    random = np.random.default_rng(3)
    found, masks = [], []
    for _ in range(count):
        image = random.uniform(0.05, 0.3, (4, ROWS, COLUMNS))
        image[:, 20:30, 25:40] = 0.6
        mask = np.zeros((ROWS, COLUMNS), np.uint8)
        mask[:8, :10] = 1
        found.append(image)
        masks.append(mask)
    found[0][:, -3:, :] = np.nan
    return found, masks


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path)
    write_samples(tmp_path, *images())
    codes = np.zeros((ROWS, COLUMNS), np.intp)
    codes[:, 32:], codes[40:] = 1, 2
    for number in range(3):
        made.predict(number, codes)
    return made


@pytest.fixture
def review(folder: Folder) -> Iterator[Review]:
    found = folder.review()
    yield found
    found.store.close()
