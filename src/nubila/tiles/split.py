"""Dealing samples out to splits, a whole group to one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from nubila.datasets import SampleSpec
from nubila.errors import ManifestError

__all__ = ["assign_splits"]


def assign_splits(
    specs: Sequence[SampleSpec], shares: Mapping[str, float], *, seed: int = 0
) -> tuple[str, ...]:
    """Return the split of each sample: its own, or one dealt out by group.

    A group some of whose samples have a split gives it to the others. The rest of the groups, in
    an order drawn by the seed, fill the splits in turn, each until it has its share of samples;
    a split with a share gets at least one group where there are enough.

    Args:
        specs: the samples.
        shares: split -> share of the samples without one; empty leaves them without.
        seed: of the order.

    Raises:
        ManifestError: a group stands in two splits, or there are fewer groups than splits.
    """
    known = _known_splits(specs)
    members: dict[str, int] = defaultdict(int)
    for spec in specs:
        if spec.group not in known:
            members[spec.group] += 1
    if shares and members:
        known |= _dealt(dict(members), {k: v for k, v in shares.items() if v > 0}, seed)
    return tuple(known.get(spec.group, "") for spec in specs)


def _known_splits(specs: Sequence[SampleSpec]) -> dict[str, str]:
    known: dict[str, str] = {}
    for spec in specs:
        if spec.split and known.setdefault(spec.group, spec.split) != spec.split:
            raise spec.error(
                "group",
                f"{spec.group!r} is in split {spec.split!r} here and in {known[spec.group]!r} "
                f"before: scores would leak from one to the other. Give all its rows one split.",
            )
    return known


def _dealt(members: Mapping[str, int], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    if len(members) < len(shares):
        raise ManifestError(
            f"{len(members)} groups cannot be dealt out to {len(shares)} splits "
            f"({', '.join(shares)}); name fewer splits, or finer groups"
        )
    groups = sorted(members)
    order = [groups[i] for i in np.random.default_rng(seed).permutation(len(groups))]
    names, total = list(shares), sum(members.values())
    ends = np.cumsum(list(shares.values())) / sum(shares.values()) * total
    dealt: dict[str, str] = {}
    place = filled = 0
    held = 0
    for number, group in enumerate(order):
        left = len(order) - number
        # On to the next split when this one is full, or when the rest need all groups left.
        full = filled + members[group] / 2 > ends[place] or left < len(names) - place
        if held and full and place + 1 < len(names):
            place, held = place + 1, 0
        dealt[group] = names[place]
        filled, held = filled + members[group], held + 1
    return dealt
