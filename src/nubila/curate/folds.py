"""Folds of a manifest: as even as can be in several labels at once, whole groups kept together.

Samples without groups are dealt out by iterative stratification (Sechidis, Tsoumakas & Vlahavas
2011, doi:10.1007/978-3-642-23808-6_10). Groups are dealt out whole, largest first, each to the fold
that stays the most even by it. Both are then mended by moves and exchanges, each of which makes
the folds more even, until none is left or enough were tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.errors import InputError, MissingExtraError

__all__ = ["Column", "deal_folds", "join_groups", "unevenness"]

# Exchanges that are tried for each item and pass; more than enough for a few hundred groups.
_PARTNERS: Final = 64
_PASSES: Final = 20


@dataclass(frozen=True)
class Column:
    """A label of each sample that folds are to be even in.

    Attributes:
        name: of the column, or of what is derived from one.
        values: of each sample; empty where it has none.
    """

    name: str
    values: tuple[str, ...]

    @property
    def kinds(self) -> list[str]:
        """The different values, without the empty one, sorted."""
        return sorted(set(self.values) - {""})

    def member(self) -> NDArray[np.float64]:
        """Return (samples, kinds): 1 where a sample has the value."""
        place = {kind: n for n, kind in enumerate(self.kinds)}
        table = np.zeros((len(self.values), len(place)))
        for row, value in enumerate(self.values):
            if value:
                table[row, place[value]] = 1
        return table


def deal_folds(
    columns: Sequence[Column], groups: Sequence[int], count: int, *, seed: int = 0
) -> NDArray[np.intp]:
    """Return the fold of each sample, the same for the same arguments.

    Args:
        columns: what the folds are to be even in; their number of samples comes first.
        groups: number of each sample's group, from 0 without gaps; a group is in one fold.
        count: number of folds.
        seed: of the order in which equals are taken.

    Raises:
        InputError: there are fewer groups than folds.
        MissingExtraError: iterative-stratification is not installed.
    """
    members = np.asarray(groups, np.intp)
    number = int(members.max()) + 1 if len(members) else 0
    if number < count:
        what = "groups" if number < len(members) else "samples"
        raise InputError(
            f"{number} {what} cannot be dealt out to {count} folds; ask for fewer folds, or keep "
            f"smaller groups together"
        )
    labels = _labels(columns, len(members))
    items = np.zeros((number, labels.shape[1]))
    np.add.at(items, members, labels)
    random = np.random.default_rng(seed)
    if number == len(members):
        dealt = _stratified(items[:, 1:] > 0, count, seed)
    else:
        dealt = _greedy(items, count, len(columns), random)
    return _mended(items, dealt, count, len(columns), random)[members]


def join_groups(columns: Sequence[Sequence[str]]) -> NDArray[np.intp]:
    """Return the group of each sample: samples that share a value in any column are of one group.

    Args:
        columns: values of each sample; an empty one is shared with no other.
    """
    samples = len(columns[0]) if columns else 0
    parent = list(range(samples))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for values in columns:
        first: dict[str, int] = {}
        for place, value in enumerate(values):
            if value:
                parent[root(place)] = root(first.setdefault(value, place))
    _, groups = np.unique([root(place) for place in range(samples)], return_inverse=True)
    return groups.astype(np.intp)


def unevenness(column: Column, folds: NDArray[np.intp], count: int) -> float:
    """Return how far folds are from the whole in a column, 0 (alike) to 1.

    The mean over folds of the total variation distance: half the sum over values of the difference
    between a value's share of the fold and its share of all samples that have a value.
    """
    member = column.member()
    if not member.size:
        return 0.0
    whole = member.sum(axis=0) / member.sum()
    found = []
    for fold in range(count):
        counts = member[folds == fold].sum(axis=0)
        share = counts / counts.sum() if counts.sum() else np.zeros_like(counts)
        found.append(0.5 * float(np.abs(share - whole).sum()))
    return float(np.mean(found))


def _labels(columns: Sequence[Column], samples: int) -> NDArray[np.float64]:
    """Return (samples, 1 + values): a column of ones, for the size, and one a value."""
    return np.concatenate([np.ones((samples, 1)), *(c.member() for c in columns)], axis=1)


def _stratified(labels: NDArray[np.bool_], count: int, seed: int) -> NDArray[np.intp]:
    try:
        from iterstrat.ml_stratifiers import IterativeStratification
    except ImportError as error:
        raise MissingExtraError("iterative-stratification", extra="curate") from error
    random = np.random.RandomState(seed)  # what the library takes
    dealt: NDArray[np.intp] = IterativeStratification(labels, np.full(count, 1 / count), random)
    return dealt.astype(np.intp)


def _weights(items: NDArray[np.float64], count: int, columns: int) -> NDArray[np.float64]:
    """Return the weight of each label's squared deviation, so that their sum is like chi-square.

    The number of samples weighs as much as all columns together.
    """
    weights: NDArray[np.float64] = count / np.maximum(items.sum(axis=0), 1)
    weights[0] *= max(columns, 1)
    return weights


def _greedy(
    items: NDArray[np.float64], count: int, columns: int, random: np.random.Generator
) -> NDArray[np.intp]:
    """Deal items out, largest first, each to the fold where the squares grow least."""
    weights = _weights(items, count, columns)
    order = np.lexsort((random.random(len(items)), -items[:, 0]))
    sums = np.zeros((count, items.shape[1]))
    dealt = np.zeros(len(items), np.intp)
    for item in order:
        # (s + x)² - s² = x (2 s + x); the term x² is the same for every fold.
        growth = (sums * items[item] * weights).sum(axis=1)
        dealt[item] = int(np.argmin(growth))
        sums[dealt[item]] += items[item]
    return dealt


def _mended(
    items: NDArray[np.float64],
    dealt: NDArray[np.intp],
    count: int,
    columns: int,
    random: np.random.Generator,
) -> NDArray[np.intp]:
    """Move and exchange items as long as that makes the folds more even; none is left empty."""
    weights = _weights(items, count, columns)
    dealt = dealt.copy()
    sums = np.zeros((count, items.shape[1]))
    np.add.at(sums, dealt, items)
    for _ in range(_PASSES):
        changed = False
        for item in random.permutation(len(items)):
            partners = random.integers(0, len(items), _PARTNERS)
            changed |= _improve(items, dealt, sums, weights, int(item), partners)
        if not changed:
            break
    return dealt


def _improve(
    items: NDArray[np.float64],
    dealt: NDArray[np.intp],
    sums: NDArray[np.float64],
    weights: NDArray[np.float64],
    item: int,
    partners: NDArray[np.intp],
) -> bool:
    """Make the best of an item's moves to other folds and of its exchanges with `partners`."""
    own = dealt[item]
    # What leaves the item's fold and comes to the other one: the item alone, or less the partner.
    alone = np.count_nonzero(dealt == own) == 1
    moves = np.arange(0 if alone else len(sums))
    to = np.concatenate([moves, dealt[partners]])
    moved = np.repeat(items[item][None], len(to), axis=0)
    moved[len(moves) :] -= items[partners]
    # Change of the squares of both sums: 2 d (s_to - s_own) + 2 d².
    change = (weights * moved * (sums[to] - sums[own] + moved)).sum(axis=1)
    change[to == own] = 0
    best = int(np.argmin(change))
    if change[best] >= -1e-9:
        return False
    if best >= len(moves):
        dealt[partners[best - len(moves)]] = own
    sums[own] -= moved[best]
    sums[to[best]] += moved[best]
    dealt[item] = to[best]
    return True
