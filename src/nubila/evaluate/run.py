"""Running models over labelled samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nubila.classes import NO_DATA
from nubila.datasets import Sample, SampleSpec, load_sample
from nubila.datasets.reliability import reliability
from nubila.evaluate.boundary import Buffer, near_boundary
from nubila.evaluate.scores import differences, full_scores
from nubila.evaluate.strata import strata, tags_of
from nubila.evaluate.tally import SCORED, SampleTally, called_sets, check_scorable, tally
from nubila.infer import CloudMask, MaskOptions
from nubila.infer.decide import threshold_list
from nubila.infer.delivery import mask_in_memory, prepare
from nubila.infer.operating import point_of
from nubila.models_io import Model, ModelCard
from nubila.scenes.array import scene_from_array

__all__ = [
    "Evaluation",
    "compare",
    "evaluate",
    "evaluate_together",
    "graded",
    "mask_sample",
    "predict_sample",
]

# Stands in where neither georeference nor manifest tells; pixels are never resampled here.
_UNKNOWN_RESOLUTION = 10.0


@dataclass(frozen=True)
class Evaluation:
    """A model's counts on every sample, in the manifest's order.

    Attributes:
        card: of the model.
        tallies: one a sample.
        buffer: how far from boundaries pixels were left out of the inner tables; None = not.
        options: how probabilities became classes.
    """

    card: ModelCard
    tallies: tuple[SampleTally, ...]
    buffer: Buffer | None = None
    options: MaskOptions = field(default_factory=MaskOptions)

    @property
    def unnamed(self) -> list[Mapping[int, float]]:
        """Values of the mask of each sample that no code names, as `Sample.unnamed`."""
        return [sample.unnamed for sample in self.tallies]

    def scores(self, columns: Iterable[str] | None = None) -> dict[str, Any]:
        """Return ``{"overall": {...}, "folders": {name: {...}}, ...}``, as in ``scores.json``.

        Args:
            columns: of the manifest, to score by; default all that make a few strata.

        Raises:
            InputError: there is no such column.
        """
        return full_scores(
            self.tallies,
            self.card.classes,
            buffer=None if self.buffer is None else str(self.buffer),
            strata=strata(self.tallies, columns),
        )


def evaluate(
    model: Model,
    specs: Sequence[SampleSpec],
    *,
    buffer: Buffer | None = None,
    options: MaskOptions | None = None,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Run a model once over each sample and count; see `evaluate_together`."""
    return evaluate_together(
        [model], specs, buffer=buffer, options=options, threads=threads, progress=progress
    )[0]  # fmt: skip


def evaluate_together(
    models: Sequence[Model],
    specs: Sequence[SampleSpec],
    *,
    buffer: Buffer | None = None,
    options: MaskOptions | None = None,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> tuple[Evaluation, ...]:
    """Run models once over each sample and count, all on the pixels that every one judges.

    Args:
        models: one or more.
        specs: rows of a manifest.
        buffer: also count without the pixels so near to a boundary of the label.
        options: operating point, thresholds and post-processing; default the most probable class.
        threads: samples that are read and run side by side; the counts do not depend on it.
        progress: called with the number of samples done, after each.

    Returns:
        The evaluation of each model.

    Raises:
        BandError: a sample lacks a band that a model needs; the message names line and files.
        InputError: a model has no such operating point, or does not tell a class of a threshold.
        ManifestError: a file of a sample cannot be read, or does not fit its row, or no pixel of
            any sample is labelled.
        ModelError: the runtime refuses an input.
    """
    chosen = options or MaskOptions()
    for model in models:
        threshold_list(model.card, point_of(chosen, model.card).thresholds)
    counted: list[tuple[SampleTally, ...]] = []
    with ThreadPoolExecutor(threads) as pool:
        try:
            work = pool.map(lambda spec: _tally_sample(models, spec, buffer, chosen), specs)
            for done, tallies in enumerate(work, start=1):
                counted.append(tallies)
                if progress is not None:
                    progress(done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    # A labelled pixel is counted, or was not judged by one of the models.
    labelled = any(t.table.any() or t.not_judged for tallies in counted for t in tallies)
    check_scorable(specs, labelled, [tallies[0].unnamed for tallies in counted])
    return tuple(
        Evaluation(model.card, tuple(tallies[n] for tallies in counted), buffer, chosen)
        for n, model in enumerate(models)
    )


def compare(first: Evaluation, second: Evaluation) -> dict[str, Any]:
    """Return what the first model scores more than the second: class -> figures and intervals."""
    known = [e.scores([])["overall"] for e in (first, second)]
    names = [name for name in SCORED if all(name in scores for scores in known)]
    return differences(first.tallies, second.tallies, names)


def predict_sample(
    model: Model, sample: Sample, spec: SampleSpec, options: MaskOptions | None = None
) -> NDArray[np.uint8]:
    """Return what ``nubila mask`` would: (rows, columns) uint8 class codes, 255 = not judged.

    Raises:
        BandError: the sample lacks a band that the model needs.
        ModelError: the runtime refuses the input.
    """
    return mask_sample(model, sample, spec, options=options).classes


def mask_sample(
    model: Model,
    sample: Sample,
    spec: SampleSpec,
    *,
    probabilities: bool = False,
    options: MaskOptions | None = None,
) -> CloudMask:
    """Return the mask of a sample, with probabilities if asked for; raises as `predict_sample`."""
    where = f"line {spec.line}" if spec.line else f"sample {spec.id}"
    scene = scene_from_array(
        sample.image,
        sample.bands,
        scale=1.0,  # samples are reflectance already
        resolution=sample.meta.resolution or _UNKNOWN_RESOLUTION,
        name=f"{spec.manifest}: {where}: {'; '.join(str(p) for p in spec.images)}",
    )
    wanted = replace(options or MaskOptions(), picture=False, probabilities=probabilities)
    task = prepare(scene, model, wanted)
    return mask_in_memory(task, threads=1, progress=None)


def _tally_sample(
    models: Sequence[Model], spec: SampleSpec, buffer: Buffer | None, options: MaskOptions
) -> tuple[SampleTally, ...]:
    """Count what each model makes of a sample, on the pixels that all of them judge."""
    sample = load_sample(spec)
    masks = [
        mask_sample(m, sample, spec, probabilities=graded(m.card), options=options) for m in models
    ]
    judged = np.logical_and.reduce([mask.classes != NO_DATA for mask in masks])
    label = np.where(judged, sample.label, np.uint8(0))
    inner = None
    if buffer is not None:
        near = near_boundary(sample.label, _pixels(buffer, sample, spec))
        inner = np.where(near, np.uint8(0), label)
    tags = tags_of(spec)
    return tuple(
        replace(
            _tally(model, mask, spec, tags, (sample.label, label, inner)), unnamed=sample.unnamed
        )
        for model, mask in zip(models, masks, strict=True)
    )


def graded(card: ModelCard) -> bool:
    """Tell whether a model's graph gives probabilities, and not classes alone."""
    return card.output in ("probabilities", "logits")


def _pixels(buffer: Buffer, sample: Sample, spec: SampleSpec) -> float:
    """Return a buffer in pixels, at least one."""
    if buffer.unit == "px":
        return max(1.0, buffer.distance)
    if sample.meta.resolution is None:
        raise spec.error(
            "resolution",
            f"a buffer of {buffer} along boundaries needs metres a pixel, which neither the image "
            f"nor the manifest tells; give the column, or the buffer in pixels",
        )
    return max(1.0, buffer.distance / sample.meta.resolution)


def _tally(
    model: Model,
    mask: CloudMask,
    spec: SampleSpec,
    tags: dict[str, str],
    labels: tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8] | None],
) -> SampleTally:
    """Count one mask against a label: as it is, where all models judge, and off boundaries."""
    whole, label, inner = labels
    card = model.card
    counted = SampleTally(
        id=spec.id,
        folder=spec.folder,
        group=spec.group,
        table=tally(label, mask.classes),
        sets=spec.codes.all_sets,
        not_judged=int(((whole != 0) & (mask.classes == NO_DATA)).sum()),
        called=called_sets(dict(zip(card.class_codes, card.class_sets, strict=True))),
        tags=tags,
        inner=None if inner is None else tally(inner, mask.classes),
    )
    # A model that gives classes alone is certain of each: there is nothing to calibrate.
    if mask.probabilities is None:
        return counted
    names = [name for name in SCORED if counted.decides(name)]
    found = reliability(label, mask.probabilities, card.class_sets, names)
    return replace(counted, reliability=found)
