"""Running a model over the samples of a manifest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nubila.classes import NO_DATA
from nubila.datasets import Sample, SampleSpec, load_sample
from nubila.errors import BandError
from nubila.evaluate.scores import SampleTally, summarise, tally
from nubila.models_io import Model, ModelCard

__all__ = ["Evaluation", "evaluate", "predict_sample"]

_NEAR_INFRARED = {"nir": "nir08", "nir08": "nir"}


@dataclass(frozen=True)
class Evaluation:
    """A model's counts on every sample, in the manifest's order."""

    card: ModelCard
    tallies: tuple[SampleTally, ...]

    def scores(self) -> dict[str, Any]:
        """Return ``{"overall": {...}, "folders": {name: {...}}}``, as in ``scores.json``."""
        folders: dict[str, list[SampleTally]] = defaultdict(list)
        for sample in self.tallies:
            folders[sample.folder].append(sample)
        return {
            "overall": summarise(self.tallies, self.card.classes),
            "folders": {
                name: summarise(samples, self.card.classes) for name, samples in folders.items()
            },
        }


def evaluate(
    model: Model,
    specs: Sequence[SampleSpec],
    *,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Run a model once over each sample and count.

    Args:
        model: the model.
        specs: rows of a manifest.
        threads: samples that are read and run side by side; the counts do not depend on it.
        progress: called with the number of samples done, after each.

    Raises:
        BandError: a sample lacks a band that the model needs.
        ManifestError: a file of a sample cannot be read, or does not fit its row.
        ModelError: the runtime refuses an input.
    """

    def count(spec: SampleSpec) -> SampleTally:
        sample = load_sample(spec)
        return _tally_sample(spec, sample, predict_sample(model, sample, spec))

    tallies = []
    with ThreadPoolExecutor(threads) as pool:
        try:
            for done, counted in enumerate(pool.map(count, specs), start=1):
                tallies.append(counted)
                if progress is not None:
                    progress(done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return Evaluation(model.card, tuple(tallies))


def predict_sample(model: Model, sample: Sample, spec: SampleSpec) -> NDArray[np.uint8]:
    """Return the most probable class of each pixel: (rows, columns) uint8, 255 = not judged.

    Raises:
        BandError: the sample lacks a band that the model needs.
        ModelError: the runtime refuses the input.
    """
    card = model.card
    rows, columns = sample.label.shape
    values = _model_input(card, sample, spec)
    probabilities = model.run(values)[0, :, :rows, :columns]
    codes = np.array(card.class_codes, np.uint8)
    classes: NDArray[np.uint8] = codes[probabilities.argmax(axis=0)]
    needed = [i for i, band in enumerate(card.bands) if band.required]
    judged = np.isfinite(probabilities).all(axis=0)
    judged &= np.isfinite(values[0, needed, :rows, :columns]).all(axis=0)
    # A model that needs no band at all still cannot judge a pixel without any.
    judged &= np.isfinite(values[0, :, :rows, :columns]).any(axis=0)
    classes[~judged] = NO_DATA
    return classes


def _model_input(card: ModelCard, sample: Sample, spec: SampleSpec) -> NDArray[np.float32]:
    """Return (1, bands, rows, columns) in the card's order, NaN up to a multiple of the stride."""
    rows, columns = (-(-n // card.stride) * card.stride for n in sample.label.shape)
    values = np.full((1, len(card.bands), rows, columns), np.nan, np.float32)
    for target, band in zip(values[0], card.bands, strict=True):
        names = band.name, _NEAR_INFRARED.get(band.name, band.name)
        found = next((name for name in names if name in sample.bands), None)
        if found is not None:
            height, width = sample.label.shape
            target[:height, :width] = sample.image[sample.bands.index(found)]
        elif band.required:
            raise BandError(
                f"{spec.manifest}: line {spec.line}: model {card.name} needs band {band.name!r}, "
                f"and {'; '.join(str(p) for p in spec.images)} has {', '.join(sample.bands)}"
            )
    return values


def _tally_sample(spec: SampleSpec, sample: Sample, classes: NDArray[np.uint8]) -> SampleTally:
    return SampleTally(
        id=spec.id,
        folder=spec.folder,
        group=spec.group,
        table=tally(sample.label, classes),
        sets=spec.codes.all_sets,
        not_judged=int(((sample.label != 0) & (classes == NO_DATA)).sum()),
    )
