"""Calibration: a temperature that makes probabilities agree with how often they are right, after
a bias a class for what the training mixture shows more often than the Earth does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nubila.classes import SCORED, class_set
from nubila.datasets import output_sets
from nubila.datasets.reliability import expected_calibration_error, reliability
from nubila.export.graph import statistics_of
from nubila.nn import Segmenter, partial_cross_entropy
from nubila.train.data import Labelled
from nubila.train.validate import logits_of

__all__ = ["Calibration", "fit_calibration"]

_EVERY: Final = 4  # neighbouring pixels say the same; a sixteenth of them is plenty
_RANGE: Final = (0.25, 4.0)
_PRECISION: Final = 1e-3  # of the temperature's logarithm


@dataclass(frozen=True)
class Calibration:
    """Calibrated logits are ``logits / temperature + biases``.

    Attributes:
        temperature: above 1 where the network is too sure of itself.
        biases: one a class, in the network's order.
        before: the loss without calibration.
        after: the loss with it.
        ece_before: scored class -> expected calibration error without calibration.
        ece_after: the same with it.
    """

    temperature: float
    biases: tuple[float, ...]
    before: float = float("nan")
    after: float = float("nan")
    ece_before: Mapping[str, float] = field(default_factory=dict)
    ece_after: Mapping[str, float] = field(default_factory=dict)

    @property
    def at_end(self) -> bool:
        """Whether the temperature is at an end of the range searched: the best may lie beyond."""
        return any(abs(math.log(self.temperature / end)) < _PRECISION for end in _RANGE)

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
        samples: to fit on; some pixel has a label.
        biases: one a class: the logarithm of how much rarer a class is than it was in training
            (Saerens et al. 2002, doi:10.1162/089976602753284446).
    """
    few = not any(sample.label[::_EVERY, ::_EVERY].any() for sample in samples)
    found = [_collect(network, sample, 1 if few else _EVERY) for sample in samples]
    known = [sample.sets for sample in samples]
    outputs = output_sets(classes)
    logits = torch.cat([f for f, _ in found], dim=1)[None, :, :, None]
    labels = torch.from_numpy(np.concatenate([outputs[bits] for _, bits in found]))[None, :, None]

    def loss(log_temperature: float) -> float:
        fitted = Calibration(math.exp(log_temperature), tuple(biases))
        return float(partial_cross_entropy(fitted.apply(logits[0])[None], labels))

    best = _golden_section(loss, math.log(_RANGE[0]), math.log(_RANGE[1]))
    fitted = Calibration(math.exp(best), tuple(biases))
    sets = [class_set(members) for members in classes.values()]
    return replace(
        fitted,
        before=float(partial_cross_entropy(logits, labels)),
        after=loss(best),
        ece_before=_errors([(f.softmax(0), bits) for f, bits in found], known, sets),
        ece_after=_errors([(fitted.apply(f).softmax(0), bits) for f, bits in found], known, sets),
    )


def _collect(network: Segmenter, sample: Labelled, every: int) -> tuple[Tensor, NDArray[np.uint8]]:
    """Return logits (C, n) and label sets (n,) of the labelled pixels among every so many."""
    label = sample.label[::every, ::every]
    logits = logits_of(network, sample.image, _statistics(network, sample))
    there = label != 0
    return logits[:, ::every, ::every][:, torch.from_numpy(there)], label[there]


def _errors(
    found: Sequence[tuple[Tensor, NDArray[np.uint8]]],
    known: Sequence[tuple[int, ...]],
    outputs: Sequence[int],
) -> dict[str, float]:
    """Return the expected calibration error of each class that some label names.

    Args:
        found: probabilities (C, n) and label sets (n,) of each sample.
        known: the sets that each sample's label can hold; empty takes those that it holds.
        outputs: the set of classes that each output stands for.
    """
    tables: dict[str, NDArray[np.float64]] = {}
    for (probabilities, bits), held in zip(found, known, strict=True):
        # As in scoring: a sample whose labels cannot tell a class says nothing of it, even where
        # none of its pixels may have it. Those would only make the error look small.
        possible = set(held or bits.tolist())
        names = [n for n, s in SCORED.items() if _decides(possible, s)]
        values = probabilities.numpy()[:, :, None]
        for name, table in reliability(bits[:, None], values, outputs, names).items():
            tables[name] = tables.get(name, 0) + table
    errors = {
        name: expected_calibration_error(table) for name, table in tables.items() if table[2].any()
    }
    return {name: round(error, 6) for name, error in errors.items() if error is not None}


def _decides(labels: set[int], wanted: int) -> bool:
    named = any(bits & ~wanted == 0 for bits in labels)
    return named or all(bits & wanted == 0 for bits in labels)


def _statistics(network: Segmenter, sample: Labelled) -> Tensor | None:
    """Return the statistics (1, S, B) of a whole sample, if the network's normalisation has any."""
    names = statistics_of(network)
    if not names:
        return None
    return torch.from_numpy(sample.scene_statistics(names))[None]


def _golden_section(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where a function with one minimum has it, to `_PRECISION` (Kiefer 1953)."""
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = function(left), function(right)
    while high - low > _PRECISION:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = function(right)
    return (low + high) / 2
