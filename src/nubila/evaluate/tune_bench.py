"""Labelled samples with a model's probabilities on disk: a trial of thresholds runs no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nubila.classes import NO_DATA, SCORED
from nubila.datasets import SampleSpec, load_sample
from nubila.datasets.reliability import reliability
from nubila.evaluate.run import mask_sample
from nubila.evaluate.strata import tags_of
from nubila.evaluate.tally import SampleTally, called_sets, check_scorable, tally
from nubila.infer.decide import decide
from nubila.infer.postprocess import postprocess
from nubila.models_io import Model, ModelCard, OperatingPoint

__all__ = ["Bench"]


@dataclass(frozen=True)
class _Judged:
    """A sample as the model sees it.

    Attributes:
        empty: its tally, without pixels and with its reliability.
        label: (rows, columns) sets of allowed classes.
        probabilities: .npy file of (classes, rows, columns).
        pixel_size: height and width in metres.
    """

    empty: SampleTally
    label: NDArray[np.uint8]
    probabilities: Path
    pixel_size: tuple[float, float]


class Bench:
    """Samples on which operating points are tried, each as ``nubila evaluate`` would score it.

    Args:
        model: gives probabilities.
        specs: the samples.
        folder: takes the probabilities: 4 bytes a pixel and class.
        threads: samples side by side.
        progress: called with the number of samples that the model has run on.

    Raises:
        BandError, ManifestError, ModelError: as `evaluate_together`.
    """

    def __init__(
        self,
        model: Model,
        specs: Sequence[SampleSpec],
        folder: Path,
        *,
        threads: int = 1,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self.card = model.card
        self._threads = threads
        self._samples: list[_Judged] = []
        with ThreadPoolExecutor(threads) as pool:
            files = [folder / f"{number}.npy" for number in range(len(specs))]
            work = pool.map(lambda s, f: _judge(model, s, f), specs, files)
            for sample in work:
                self._samples.append(sample)
                if progress is not None:
                    progress(len(self._samples))
        labelled = any(sample.label.any() for sample in self._samples)
        check_scorable(specs, labelled, [sample.empty.unnamed for sample in self._samples])

    def tallies(self, point: OperatingPoint) -> tuple[SampleTally, ...]:
        """Return the counts of every sample at an operating point, in the samples' order."""
        with ThreadPoolExecutor(self._threads) as pool:
            return tuple(pool.map(lambda s: _tally(s, self.card, point), self._samples))


def _judge(model: Model, spec: SampleSpec, file: Path) -> _Judged:
    sample = load_sample(spec)
    mask = mask_sample(model, sample, spec, probabilities=True)
    assert mask.probabilities is not None  # asked for
    np.save(file, mask.probabilities)
    sets = dict(zip(model.card.class_codes, model.card.class_sets, strict=True))
    empty = SampleTally(
        id=spec.id,
        folder=spec.folder,
        group=spec.group,
        table=tally(np.zeros_like(sample.label), mask.classes),
        sets=spec.codes.all_sets,
        not_judged=int(((sample.label != 0) & (mask.classes == NO_DATA)).sum()),
        called=called_sets(sets),
        tags=tags_of(spec),
        unnamed=sample.unnamed,
    )
    names = [name for name in SCORED if empty.decides(name)]
    found = reliability(sample.label, mask.probabilities, model.card.class_sets, names)
    empty = replace(empty, reliability=found)
    return _Judged(empty, sample.label, file, mask.grid.pixel_size)


def _tally(sample: _Judged, card: ModelCard, point: OperatingPoint) -> SampleTally:
    """Count a sample at an operating point, by the steps that a mask takes."""
    probabilities = np.load(sample.probabilities, mmap_mode="r")
    classes = decide(probabilities, card, point.thresholds or None)
    classes = postprocess(
        classes,
        pixel_size=sample.pixel_size,
        dilate_m=point.dilate,
        min_area_m2=point.min_area,
    )
    return replace(sample.empty, table=tally(sample.label, classes))
