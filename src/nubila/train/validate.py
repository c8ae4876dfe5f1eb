"""Validation: whole samples, as they are, scored by pixels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nubila.classes import CLOUD_CODES, class_set
from nubila.nn import Segmenter
from nubila.recipe import Recipe
from nubila.train.data import Labelled, pad

__all__ = ["cloud_iou", "logits_of", "validate"]

_CLOUD_BITS = sum(1 << code for code in CLOUD_CODES)


def logits_of(network: Segmenter, image: NDArray[np.floating]) -> torch.Tensor:
    """Return logits (C, rows, columns) of a whole image (bands, rows, columns), any size."""
    rows, columns = image.shape[1:]
    padded = torch.from_numpy(pad(image.astype(np.float32), network.stride))
    with torch.inference_mode():
        batch = padded.unsqueeze(0).contiguous(memory_format=torch.channels_last)
        logits = network.calibrated(network(batch).float())
    return logits[0, :, :rows, :columns].float()


def cloud_iou(counts: NDArray[np.int64]) -> float:
    """Return TP / (TP + FP + FN), NaN where there is neither; counts are (TP, FP, FN)."""
    total = int(counts.sum())
    return float(counts[0]) / total if total else float("nan")


def validate(
    network: Segmenter, recipe: Recipe, real: Sequence[Labelled], synthetic: Sequence[Labelled]
) -> dict[str, float]:
    """Score a network: cloud IoU over all real pixels, by folder, and each synthetic class's IoU.

    A pixel whose label allows cloud and something else is not scored for cloud.
    """
    sets = [class_set(members) for members in recipe.classes.values()]
    cloudy = [output for output, members in enumerate(sets) if members & ~_CLOUD_BITS == 0]
    by_folder: defaultdict[str, NDArray[np.int64]] = defaultdict(lambda: np.zeros(3, np.int64))
    for sample, predicted in _predictions(network, real):
        truth = (sample.label & _CLOUD_BITS) != 0
        nothing_else = (sample.label | _CLOUD_BITS) == _CLOUD_BITS
        certain = (~truth | nothing_else) & (sample.label != 0)
        by_folder[sample.folder] += _counts(truth, np.isin(predicted, cloudy), certain)
    scores = {"cloud_iou": cloud_iou(sum(by_folder.values(), np.zeros(3, np.int64)))}
    scores |= {f"cloud_iou/{folder}": cloud_iou(c) for folder, c in sorted(by_folder.items())}
    return scores | _synthetic_scores(network, recipe, synthetic)


def _synthetic_scores(
    network: Segmenter, recipe: Recipe, chips: Sequence[Labelled]
) -> dict[str, float]:
    if not chips:
        return {}
    counts = np.zeros((len(recipe.classes), 3), np.int64)
    sets = [class_set(members) for members in recipe.classes.values()]
    for chip, predicted in _predictions(network, chips):
        for output, members in enumerate(sets):
            truth = (chip.label & members) != 0
            counts[output] += _counts(truth, predicted == output, chip.label != 0)
    names = recipe.classes
    return {f"synthetic_iou/{n}": cloud_iou(c) for n, c in zip(names, counts, strict=True)}


def _predictions(
    network: Segmenter, samples: Sequence[Labelled]
) -> Iterator[tuple[Labelled, NDArray[np.int64]]]:
    for sample in samples:
        yield sample, logits_of(network, sample.image).argmax(dim=0).numpy()


def _counts(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], judged: NDArray[np.bool_]
) -> NDArray[np.int64]:
    both = np.count_nonzero(truth & predicted & judged)
    extra = np.count_nonzero(~truth & predicted & judged)
    missed = np.count_nonzero(truth & ~predicted & judged)
    return np.array([both, extra, missed], np.int64)
