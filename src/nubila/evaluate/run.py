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
from nubila.evaluate.scores import SampleTally, summarise, tally
from nubila.infer import MaskOptions
from nubila.infer.delivery import mask_in_memory, prepare
from nubila.models_io import Model, ModelCard
from nubila.scenes.array import scene_from_array

__all__ = ["Evaluation", "evaluate", "predict_sample"]

# Stands in where neither georeference nor manifest tells; pixels are never resampled here.
_UNKNOWN_RESOLUTION = 10.0


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
        BandError: a sample lacks a band that the model needs; the message names line and files.
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
    """Return what ``nubila mask`` would: (rows, columns) uint8 class codes, 255 = not judged.

    Raises:
        BandError: the sample lacks a band that the model needs.
        ModelError: the runtime refuses the input.
    """
    scene = scene_from_array(
        sample.image,
        sample.bands,
        scale=1.0,  # samples are reflectance already
        resolution=sample.meta.resolution or _UNKNOWN_RESOLUTION,
        name=f"{spec.manifest}: line {spec.line}: {'; '.join(str(p) for p in spec.images)}",
    )
    task = prepare(scene, model, MaskOptions(picture=False))
    return mask_in_memory(task, threads=1, progress=None).classes


def _tally_sample(spec: SampleSpec, sample: Sample, classes: NDArray[np.uint8]) -> SampleTally:
    return SampleTally(
        id=spec.id,
        folder=spec.folder,
        group=spec.group,
        table=tally(sample.label, classes),
        sets=spec.codes.all_sets,
        not_judged=int(((sample.label != 0) & (classes == NO_DATA)).sum()),
    )
