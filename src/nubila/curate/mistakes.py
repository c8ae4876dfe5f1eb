"""Labels made wrong on purpose, as labels are wrong: to learn from, and to test by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES, CLOUD_CODES
from nubila.curate.audit_scores import cloud_mask

__all__ = ["KINDS", "mistake", "mistakes"]

KINDS: Final = ("all clear", "inverted", "shifted", "swapped")

_CLOUD: Final = sum(1 << code for code in CLOUD_CODES)
_OTHER: Final = sum(1 << code for code in CLASS_NAMES) & ~_CLOUD
# A mistake that changes fewer of the pixels is none that anybody has to find.
_LEAST_CHANGE: Final = 0.05

_Label = NDArray[np.uint8]


def mistakes(
    label: _Label, other: _Label | None, random: np.random.Generator
) -> Iterator[tuple[str, _Label]]:
    """Give each kind of mistake that changes at least 5 % of a label's pixels.

    Args:
        label: (rows, columns) sets of classes.
        other: the label of another sample of the same shape, or None.
        random: of the shift.
    """
    for kind in KINDS:
        wrong = mistake(kind, label, other, random)
        if wrong is not None:
            yield kind, wrong


def mistake(
    kind: str, label: _Label, other: _Label | None, random: np.random.Generator
) -> _Label | None:
    """Return a label with one of `KINDS` of mistakes, or None if it changes too little.

    A shift is by an eighth to a quarter of both sides; what comes in from outside is ignored.
    """
    cloud = cloud_mask(label)
    wrong = label.copy()
    if kind == "swapped":
        if other is None or other.shape != label.shape:
            return None
        wrong = other.copy()
    elif kind == "shifted":
        wrong = _shifted(label, random)
    else:
        wrong[cloud == 1] = _usual(label[cloud == 0], _OTHER)
        if kind == "inverted":
            wrong[cloud == 0] = _usual(label[cloud == 1], _CLOUD)
    before, after = cloud, cloud_mask(wrong)
    both = np.isfinite(before) & np.isfinite(after)
    changed = float((before[both] != after[both]).mean()) if both.any() else 0.0
    return wrong if changed >= _LEAST_CHANGE else None


def _shifted(label: _Label, random: np.random.Generator) -> _Label:
    moves = [
        int(random.choice([-1, 1])) * int(random.integers(side // 8, max(side // 4, side // 8 + 1)))
        for side in label.shape
    ]
    wrong = np.zeros_like(label)
    to = tuple(slice(max(m, 0), n + min(m, 0)) for m, n in zip(moves, label.shape, strict=True))
    of = tuple(slice(max(-m, 0), n + min(-m, 0)) for m, n in zip(moves, label.shape, strict=True))
    wrong[to] = label[of]
    return wrong


def _usual(labels: _Label, default: int) -> int:
    """Return the commonest label, or a default for none."""
    return int(np.bincount(labels.ravel()).argmax()) if labels.size else default
