"""Weights of an ensemble: a linear combination of members' probabilities, fitted by least squares.

Stacked regression (Breiman 1996, doi:10.1007/BF00117832): the weights with the least mean squared
difference between the combined probability of each class and 1 where the label is the class, 0
where it rules the class out; where the label leaves the class open, it says nothing. Sums over
pixels are all that is needed, so that pixels are seen once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nubila.errors import InputError

__all__ = ["WEIGHTS", "Combination", "Moments", "Weights", "fit_weights", "mean_of"]

Weights = Literal["mean", "simplex", "free"]
WEIGHTS: Final[tuple[Weights, ...]] = get_args(Weights)

# All subsets of members are tried for weights that are not negative.
_MOST: Final = 12
# What a combined probability is at least, so that those of a pixel can be made to sum to one.
LEAST: Final = 1e-6
_NEGATIVE: Final = -1e-9


@dataclass(frozen=True)
class Combination:
    """How members' probabilities become one.

    Attributes:
        weights: (members, outputs).
        scaled: whether the sum over outputs has to be brought to 1; combined probabilities are
            then at least `LEAST` first.
    """

    weights: NDArray[np.float64]
    scaled: bool

    def apply(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (outputs, ...) for (members, outputs, ...)."""
        weights = self.weights.astype(np.float32)
        found: NDArray[np.float32] = np.einsum("mk...,mk->k...", probabilities, weights)
        if self.scaled:
            found = np.maximum(found, np.float32(LEAST))
            found /= found.sum(axis=0)
        return found


@dataclass(frozen=True)
class Moments:
    """What weights are fitted on: sums over the pixels whose label decides an output.

    Attributes:
        gram: (outputs, members, members), of the product of two members' probabilities.
        cross: (outputs, members), of a member's probability where the label is the output.
    """

    gram: NDArray[np.float64]
    cross: NDArray[np.float64]

    @classmethod
    def of(
        cls, probabilities: NDArray[np.float32], label: NDArray[np.uint8], outputs: Sequence[int]
    ) -> Moments:
        """Sum over pixels.

        Args:
            probabilities: (members, outputs, rows, columns); NaN is not counted.
            label: (rows, columns) sets of classes, 0 = ignored.
            outputs: the set of classes that each output stands for.
        """
        members = len(probabilities)
        gram = np.zeros((len(outputs), members, members))
        cross = np.zeros((len(outputs), members))
        judged = (label != 0) & ~np.isnan(probabilities).any(axis=(0, 1))
        for place, bits in enumerate(outputs):
            is_it = judged & (label & ~np.uint8(bits) == 0)
            decided = is_it | (judged & (label & np.uint8(bits) == 0))
            values = probabilities[:, place][:, decided].astype(np.float64)
            gram[place] = values @ values.T
            cross[place] = values @ is_it[decided]
        return cls(gram, cross)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.gram + other.gram, self.cross + other.cross)

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.gram - other.gram, self.cross - other.cross)


def mean_of(members: int, outputs: int) -> Combination:
    """Return the plain mean."""
    return Combination(np.full((members, outputs), 1 / members), scaled=False)


def fit_weights(moments: Moments, kind: Weights, *, per_class: bool = False) -> Combination:
    """Return the combination with the least squared error.

    Args:
        moments: of all pixels.
        kind: ``mean`` fits nothing; ``simplex``: not negative and summing to one; ``free``: any.
        per_class: weights of their own for each output. One that no label names gets the mean, for
            what labels only ever rule out would be fitted best by never saying it; and all the
            others then sum to one, lest an output outweigh another by how often labels name it.

    Raises:
        InputError: there are more than 12 members, or no label decides any output.
    """
    outputs, members = moments.cross.shape
    if members > _MOST:
        raise InputError(f"{members} members: weights are fitted for {_MOST} at most")
    if kind == "mean":
        return mean_of(members, outputs)
    if not moments.gram.any():
        raise InputError("no label decides any class, so that no weights can be fitted")
    solve = _simplex if kind == "simplex" else _free
    if not per_class:
        found = solve(moments.gram.sum(axis=0), moments.cross.sum(axis=0))
        return Combination(np.repeat(found[:, None], outputs, axis=1), scaled=kind == "free")
    named = moments.cross.any(axis=1)
    if kind == "free" and not named.all():
        solve = _free_summing_to_one
    columns = [
        solve(gram, cross) if cross.any() else np.full(members, 1 / members)
        for gram, cross in zip(moments.gram, moments.cross, strict=True)
    ]
    return Combination(np.stack(columns, axis=1), scaled=True)


def _free(gram: NDArray[np.float64], cross: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the least squares solution, the shortest where there are several."""
    found: NDArray[np.float64] = np.linalg.lstsq(gram, cross, rcond=1e-10)[0].astype(np.float64)
    return found


def _free_summing_to_one(
    gram: NDArray[np.float64], cross: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the solution that sums to one, weights of any sign."""
    scale = float(np.abs(gram).max())
    return _summing_to_one(gram / scale, cross / scale, range(len(cross)))


def _simplex(gram: NDArray[np.float64], cross: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the solution that is not negative and sums to one.

    Exactly: the best of those subsets of members whose own solution, which sums to one, is not
    negative. The largest subsets come first, so that members that say the same share alike.
    """
    members = len(cross)
    scale = float(np.abs(gram).max())
    gram, cross = gram / scale, cross / scale
    best, least = np.full(members, 1 / members), np.inf
    for size in range(members, 0, -1):
        for chosen in combinations(range(members), size):
            weights = np.zeros(members)
            weights[list(chosen)] = _summing_to_one(gram, cross, chosen)
            error = float(weights @ gram @ weights - 2 * cross @ weights)
            if (weights >= _NEGATIVE).all() and error < least - 1e-12:
                best, least = weights, error
    positive: NDArray[np.float64] = np.maximum(best, 0.0)
    positive /= positive.sum()
    return positive


def _summing_to_one(
    gram: NDArray[np.float64], cross: NDArray[np.float64], chosen: Sequence[int]
) -> NDArray[np.float64]:
    """Return the solution among some members by Lagrange's multiplier."""
    size = len(chosen)
    system = np.ones((size + 1, size + 1))
    system[:size, :size], system[size, size] = gram[np.ix_(chosen, chosen)], 0
    right = np.append(cross[list(chosen)], 1)
    return _free(system, right)[:size]
