"""Validation: whole samples, as they are, scored by pixels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES, CLOUD_CODES
from nubila.nn import CompactUNet
from nubila.train.data import Labelled, pad

__all__ = ["cloud_iou", "logits_of", "validate"]

_CLOUD_BITS = sum(1 << code for code in CLOUD_CODES)


def logits_of(network: CompactUNet, image: NDArray[np.floating]) -> torch.Tensor:
    """Return logits (6, rows, columns) of a whole image (7, rows, columns), any size."""
    rows, columns = image.shape[1:]
    padded = torch.from_numpy(pad(image.astype(np.float32), network.stride))
    with torch.inference_mode():
        batch = padded.unsqueeze(0).contiguous(memory_format=torch.channels_last)
        logits: torch.Tensor = network(batch)
    return logits[0, :, :rows, :columns].float()


def cloud_iou(counts: NDArray[np.int64]) -> float:
    """Return TP / (TP + FP + FN), NaN where there is neither; counts are (TP, FP, FN)."""
    total = int(counts.sum())
    return float(counts[0]) / total if total else float("nan")


def validate(
    network: CompactUNet, real: Sequence[Labelled], synthetic: Sequence[Labelled]
) -> dict[str, float]:
    """Score a network: cloud IoU over all real pixels, by folder, and each synthetic class's IoU.

    A pixel whose label allows cloud and something else is not scored for cloud.
    """
    by_folder: defaultdict[str, NDArray[np.int64]] = defaultdict(lambda: np.zeros(3, np.int64))
    for sample, predicted in _predictions(network, real):
        truth = (sample.label & _CLOUD_BITS) != 0
        nothing_else = (sample.label | _CLOUD_BITS) == _CLOUD_BITS
        certain = (~truth | nothing_else) & (sample.label != 0)
        by_folder[sample.folder] += _counts(truth, np.isin(predicted, CLOUD_CODES), certain)
    scores = {"cloud_iou": cloud_iou(sum(by_folder.values(), np.zeros(3, np.int64)))}
    scores |= {f"cloud_iou/{folder}": cloud_iou(c) for folder, c in sorted(by_folder.items())}
    return scores | _synthetic_scores(network, synthetic)


def _synthetic_scores(network: CompactUNet, chips: Sequence[Labelled]) -> dict[str, float]:
    counts = np.zeros((len(CLASS_NAMES), 3), np.int64)
    for chip, predicted in _predictions(network, chips):
        for code in CLASS_NAMES:
            counts[code] += _counts(chip.label == 1 << code, predicted == code, chip.label != 0)
    if not chips:
        return {}
    return {f"synthetic_iou/{CLASS_NAMES[code]}": cloud_iou(counts[code]) for code in CLASS_NAMES}


def _predictions(
    network: CompactUNet, samples: Sequence[Labelled]
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
