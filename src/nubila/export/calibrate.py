"""Calibration: a temperature that makes probabilities agree with how often they are right, after
a bias a class for what the training mixture shows more often than the Earth does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nubila.datasets import output_sets
from nubila.export.graph import statistics_of
from nubila.nn import Segmenter, partial_cross_entropy
from nubila.train.data import Labelled
from nubila.train.validate import logits_of

__all__ = ["Calibration", "fit_calibration"]

_EVERY: Final = 4  # neighbouring pixels say the same; a sixteenth of them is plenty
_RANGE: Final = (0.25, 4.0)


@dataclass(frozen=True)
class Calibration:
    """Calibrated logits are ``logits / temperature + biases``.

    Attributes:
        temperature: above 1 where the network is too sure of itself.
        biases: one a class, in the network's order.
        before: the loss without calibration.
        after: the loss with it.
    """

    temperature: float
    biases: tuple[float, ...]
    before: float = float("nan")
    after: float = float("nan")

    def apply(self, logits: Tensor) -> Tensor:
        """Return calibrated logits (C, ...) for logits (C, ...)."""
        biases = torch.tensor(self.biases).view(-1, *[1] * (logits.ndim - 1))
        return logits / self.temperature + biases


def fit_calibration(
    network: Segmenter,
    classes: Mapping[str, Sequence[str]],
    samples: Sequence[Labelled],
    biases: Sequence[float],
) -> Calibration:
    """Return the temperature with the least loss on samples, the biases being given.

    Logits are divided by the temperature (Guo et al. 2017, arXiv:1706.04599); the loss is the
    partial cross-entropy, convex in the inverse temperature for plain labels, found by golden
    section between 1/4 and 4.

    Args:
        network: gives the logits.
        classes: what counts as which output, as in a recipe.
        samples: to fit on.
        biases: one a class: the logarithm of how much rarer a class is than it was in training
            (Saerens et al. 2002, doi:10.1162/089976602753284446).
    """
    logits, labels = _collect(network, output_sets(classes), samples)

    def loss(log_temperature: float) -> float:
        fitted = Calibration(math.exp(log_temperature), tuple(biases))
        return float(partial_cross_entropy(fitted.apply(logits[0])[None], labels))

    best = _golden_section(loss, math.log(_RANGE[0]), math.log(_RANGE[1]))
    before = float(partial_cross_entropy(logits, labels))
    return Calibration(math.exp(best), tuple(biases), before, loss(best))


def _collect(
    network: Segmenter, outputs: NDArray[np.uint8], samples: Sequence[Labelled]
) -> tuple[Tensor, Tensor]:
    """Return logits (1, C, n, 1) and labels (1, n, 1) of the labelled pixels of a sparse grid."""
    found, labels = [], []
    for sample in samples:
        label = torch.from_numpy(outputs[sample.label[::_EVERY, ::_EVERY]])
        logits = logits_of(network, sample.image, _statistics(network, sample))
        found.append(logits[:, ::_EVERY, ::_EVERY][:, label != 0])
        labels.append(label[label != 0])
    return torch.cat(found, dim=1)[None, :, :, None], torch.cat(labels)[None, :, None]


def _statistics(network: Segmenter, sample: Labelled) -> Tensor | None:
    """Return the statistics (1, S, B) of a whole sample, if the network's normalisation has any."""
    names = statistics_of(network)
    if not names:
        return None
    return torch.from_numpy(sample.scene_statistics(names))[None]


def _golden_section(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where a function with one minimum has it, to 1e-3 (Kiefer 1953)."""
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = function(left), function(right)
    while high - low > 1e-3:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = function(right)
    return (low + high) / 2
