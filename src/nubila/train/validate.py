"""Validation: whole samples, as they are, scored by pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nubila.classes import CLOUD_CODES, class_code, class_set
from nubila.datasets import output_sets
from nubila.infer.decide import kinds_of, likeliest
from nubila.nn import Segmenter
from nubila.recipe import Recipe
from nubila.train.data import Labelled, pad
from nubila.train.samples import folders

__all__ = ["Loss", "Tally", "classes_of", "cloud_iou", "logits_of", "statistics_of", "validate"]

# loss(logits (N, K, H, W), allowed (N, H, W) uint8, weights (N, H, W) or None) -> scalar
Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]

_CLOUD_BITS = sum(1 << code for code in CLOUD_CODES)


def logits_of(
    network: Segmenter, image: NDArray[np.floating], statistics: Tensor | None = None
) -> Tensor:
    """Return calibrated logits (C, rows, columns) of a whole image (bands, rows, columns).

    Args:
        network: in evaluation mode, on any device.
        image: any size; it is padded with no data to a multiple of the network's stride.
        statistics: (1, S, bands) of the whole scene; None where the normalisation needs none.
    """
    return network.calibrated(_raw_logits(network, image, statistics))[0].float()


def _raw_logits(
    network: Segmenter, image: NDArray[np.floating], statistics: Tensor | None
) -> Tensor:
    """Return logits (1, K, rows, columns) as the loss takes them."""
    rows, columns = image.shape[1:]
    padded = torch.from_numpy(pad(image.astype(np.float32), network.stride))
    device = next(network.parameters()).device
    with torch.inference_mode():
        batch = padded.unsqueeze(0).contiguous(memory_format=torch.channels_last).to(device)
        scene = None if statistics is None else statistics.to(device)
        logits: Tensor = network(batch, scene)
        return logits.float()[:, :, :rows, :columns]


def classes_of(network: Segmenter, recipe: Recipe, sample: Labelled) -> NDArray[np.int64]:
    """Return the output that each pixel of a whole sample is decided for, (rows, columns)."""
    logits = _raw_logits(network, sample.image, _statistics(network, sample))
    return _decided(network, recipe, logits)


def statistics_of(network: Segmenter) -> tuple[str, ...]:
    """Return the names of the scene statistics that a network's normalisation takes."""
    return tuple(getattr(network.normalise, "statistics", ()))


def cloud_iou(counts: NDArray[np.int64]) -> float:
    """Return TP / (TP + FP + FN), NaN where there is neither; counts are (TP, FP, FN)."""
    total = int(counts.sum())
    return float(counts[0]) / total if total else float("nan")


@dataclass
class Tally:
    """Counts over the samples that one process validates; the sum over processes is the whole.

    Attributes:
        cloud: (folders, 3) TP, FP, FN of cloud.
        outputs: (outputs, 3) the same of each output, where the label tells.
        synthetic: (outputs, 3) the same over synthetic chips.
        loss: sum over judged pixels, and their number.
    """

    cloud: NDArray[np.int64]
    outputs: NDArray[np.int64]
    synthetic: NDArray[np.int64]
    loss: NDArray[np.float64]

    def flat(self) -> Tensor:
        """Return all counts as one vector, to be summed over processes (exact to 2^53)."""
        parts = (self.cloud, self.outputs, self.synthetic, self.loss)
        return torch.from_numpy(np.concatenate([p.ravel() for p in parts]).astype(np.float64))

    def filled(self, flat: Tensor) -> Tally:
        """Return a tally of the same shapes with the values of such a vector."""
        sizes = [p.size for p in (self.cloud, self.outputs, self.synthetic)]
        counts = np.split(flat.numpy(), np.cumsum(sizes))
        cloud, outputs, synthetic = (c.astype(np.int64).reshape(-1, 3) for c in counts[:3])
        return Tally(cloud, outputs, synthetic, counts[3])


def validate(
    network: Segmenter,
    recipe: Recipe,
    real: Sequence[Labelled],
    synthetic: Sequence[Labelled],
    *,
    loss: Loss | None = None,
    share: slice = slice(None),
    total: Callable[[Tensor], Tensor] = lambda values: values,
) -> dict[str, float]:
    """Score a network on real samples, and each class on synthetic ones.

    Cloud is judged where the label allows nothing but cloud, or no cloud; an output where the
    label allows it alone, or does not allow it. `mean_iou` is the mean over the outputs that
    some label names alone.

    Args:
        network: in evaluation mode.
        recipe: its classes.
        real: labelled samples.
        synthetic: chips with exact labels.
        loss: gives ``validation_loss``, the mean over samples weighted by their judged pixels.
        share: samples that this process takes, such as ``slice(rank, None, processes)``.
        total: gives the sum over processes.

    Returns:
        ``cloud_iou``, ``mean_iou``, ``validation_loss``, ``iou/<class>``,
        ``cloud_iou/<folder>`` and ``synthetic_iou/<class>``.
    """
    places = sorted(set(folders(real)))
    outputs = len(recipe.classes)
    tally = Tally(
        np.zeros((len(places), 3), np.int64),
        np.zeros((outputs, 3), np.int64),
        np.zeros((outputs, 3), np.int64),
        np.zeros(2),
    )
    allowed_sets = output_sets(recipe.classes)
    for sample in real[share]:
        logits = _raw_logits(network, sample.image, _statistics(network, sample))
        allowed, predicted = allowed_sets[sample.label], _decided(network, recipe, logits)
        tally.cloud[places.index(sample.folder)] += _cloud_counts(recipe, sample.label, predicted)
        tally.outputs += _output_counts(allowed, predicted, outputs)
        if loss is not None:
            pixels = np.count_nonzero(allowed)
            target = torch.from_numpy(allowed)[None].to(logits.device)
            value = float(loss(logits, target, None)) if pixels else 0.0
            tally.loss += np.array([value * pixels, pixels])
    for sample in synthetic[share]:
        predicted = classes_of(network, recipe, sample)
        tally.synthetic += _output_counts(allowed_sets[sample.label], predicted, outputs)
    return _scores(tally.filled(total(tally.flat())), recipe, places, bool(synthetic))


def _scores(
    tally: Tally, recipe: Recipe, places: Sequence[str], synthetic: bool
) -> dict[str, float]:
    ious = {name: cloud_iou(c) for name, c in zip(recipe.classes, tally.outputs, strict=True)}
    named = tally.outputs[:, 0] + tally.outputs[:, 2] > 0
    known = [iou for iou, there in zip(ious.values(), named, strict=True) if there]
    scores = {
        "cloud_iou": cloud_iou(tally.cloud.sum(axis=0)),
        "mean_iou": float(np.mean(known)) if known else float("nan"),
    }
    if tally.loss[1]:
        scores["validation_loss"] = float(tally.loss[0] / tally.loss[1])
    scores |= {f"iou/{name}": iou for name, iou in ious.items()}
    scores |= {f"cloud_iou/{f}": cloud_iou(c) for f, c in zip(places, tally.cloud, strict=True)}
    if synthetic:
        pairs = zip(recipe.classes, tally.synthetic, strict=True)
        scores |= {f"synthetic_iou/{name}": cloud_iou(counts) for name, counts in pairs}
    return scores


def _decided(network: Segmenter, recipe: Recipe, logits: Tensor) -> NDArray[np.int64]:
    codes = [class_code(name) for name in recipe.classes]
    shares = network.calibrated(logits)[0].float().softmax(dim=0).cpu().numpy()
    return likeliest(shares, kinds_of(codes, recipe.export.decision))[1].astype(np.int64)


def _statistics(network: Segmenter, sample: Labelled) -> Tensor | None:
    names = statistics_of(network)
    return torch.from_numpy(sample.scene_statistics(names))[None] if names else None


def _cloud_counts(
    recipe: Recipe, label: NDArray[np.uint8], predicted: NDArray[np.int64]
) -> NDArray[np.int64]:
    sets = [class_set(members) for members in recipe.classes.values()]
    cloudy = [output for output, members in enumerate(sets) if members & ~_CLOUD_BITS == 0]
    truth = (label & _CLOUD_BITS) != 0
    certain = (~truth | ((label | _CLOUD_BITS) == _CLOUD_BITS)) & (label != 0)
    return _counts(truth, np.isin(predicted, cloudy), certain)


def _output_counts(
    allowed: NDArray[np.uint8], predicted: NDArray[np.int64], outputs: int
) -> NDArray[np.int64]:
    counts = np.zeros((outputs, 3), np.int64)
    for output in range(outputs):
        alone, possible = allowed == 1 << output, (allowed >> output & 1) != 0
        judged = (alone | ~possible) & (allowed != 0)
        counts[output] = _counts(alone, predicted == output, judged)
    return counts


def _counts(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], judged: NDArray[np.bool_]
) -> NDArray[np.int64]:
    both = np.count_nonzero(truth & predicted & judged)
    extra = np.count_nonzero(~truth & predicted & judged)
    missed = np.count_nonzero(truth & ~predicted & judged)
    return np.array([both, extra, missed], np.int64)
