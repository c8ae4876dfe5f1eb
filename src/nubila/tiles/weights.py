"""Weights that make up for rare classes, from counts of pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.datasets import output_sets
from nubila.errors import InputError, nearest

__all__ = ["CLASS_WEIGHT_RULES", "class_counts", "class_weights", "pos_weight"]

CLASS_WEIGHT_RULES: Final = ("inverse_frequency", "effective_number", "median_frequency")


def class_counts(
    label_sets: NDArray[np.integer], classes: Mapping[str, Sequence[str]]
) -> dict[str, int]:
    """Return how many pixels are surely of each output class.

    A pixel whose label allows several of them, or none, counts for none.

    Args:
        label_sets: (sets,) pixels of each label set, a set being its place (0 = ignored).
        classes: output -> the classes that count as it, as in a recipe.
    """
    outputs = output_sets(classes)[: len(label_sets)]
    return {
        name: int(label_sets[outputs == 1 << place].sum()) for place, name in enumerate(classes)
    }


def pos_weight(counts: Sequence[int]) -> float:
    """Return the weight of the positive class that balances two classes in binary cross-entropy.

    It is negative / positive, as `torch.nn.BCEWithLogitsLoss` takes it.

    Args:
        counts: pixels of the negative class (clear) and of the positive (cloud).

    Raises:
        InputError: there are not two counts, or one is not positive.

    >>> round(pos_weight((863_885_830, 374_744_570)), 4)
    2.3053
    """
    if len(counts) != 2 or min(counts) <= 0:
        raise InputError(
            f"pos_weight needs pixels of a negative and of a positive class, found {tuple(counts)}"
        )
    negative, positive = counts
    return negative / positive


def class_weights(
    counts: Mapping[str, int], rule: str, *, present: Mapping[str, int] | None = None
) -> dict[str, float]:
    """Return a weight a class, by one of three rules.

    - ``inverse_frequency``: all / (classes x count), so that the weighted counts are alike.
    - ``effective_number``: (1 - b) / (1 - b ** count), brought to a mean of 1 (Cui et al. 2019,
      doi:10.1109/CVPR.2019.00949), with their b = (N - 1) / N; N is taken to be all pixels,
      because with their 0.9999 any class of a hundred thousand pixels would weigh the same.
    - ``median_frequency``: median of the frequencies / frequency, where the frequency of a class
      is its count / pixels of the images in which it is present (Eigen & Fergus 2015,
      doi:10.1109/ICCV.2015.304).

    Args:
        counts: class -> pixels; a class without any gets weight 0.
        rule: see above.
        present: class -> labelled pixels of the images that have the class; for
            ``median_frequency``.

    Raises:
        InputError: the rule is unknown, every count is 0, or `present` is absent.
    """
    if rule not in CLASS_WEIGHT_RULES:
        raise InputError(
            f"unknown rule {rule!r} of class weights{nearest(rule, CLASS_WEIGHT_RULES)} (known: "
            f"{', '.join(CLASS_WEIGHT_RULES)})"
        )
    found = {name: count for name, count in counts.items() if count > 0}
    if not found:
        raise InputError(f"no pixel is surely of any class ({', '.join(counts)})")
    pixels = np.array(list(found.values()), np.float64)
    if rule == "inverse_frequency":
        weights = pixels.sum() / (len(pixels) * pixels)
    elif rule == "effective_number":
        weights = 1 / -np.expm1(pixels * np.log1p(-1 / pixels.sum()))
        weights = weights / weights.mean()
    elif present is None:
        raise InputError("median_frequency needs the pixels of the images that have each class")
    else:
        frequency = pixels / np.array([present[name] for name in found], np.float64)
        weights = np.median(frequency) / frequency
    return dict.fromkeys(counts, 0.0) | dict(zip(found, weights.tolist(), strict=True))
