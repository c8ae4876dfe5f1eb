"""A score from measurements: how much a sample looks like one whose label was made wrong.

No threshold on agreement serves every data set and every predictor: a weak one disagrees with
right labels too, in its own ways. So each label is also made wrong on purpose (`mistakes`), the
same is measured, and a logistic regression learns what tells the two apart here; each group of
samples is scored by one that has not seen it. Labels that are wrong already are taken for right in
this, and cost little as long as they are few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.errors import InputError

__all__ = ["IMAGE", "PREDICTION", "Measured", "scores"]

# What is measured of label and image, and of label and prediction.
IMAGE: Final = (
    "image_fit",
    "image_gain",
    "no_image_fit",
    "label_cloud",
    "label_empty",
    "bright_gap",
)
PREDICTION: Final = (
    *("cleanlab", "disagreement", "confident", "no_overlap", "sure_and_apart"),
    *("prediction_fit", "prediction_gain", "prediction_best", "no_prediction_fit"),
    *("cloud_gap", "predicted_cloud", "same_move"),
)

Measured = Mapping[str, float | None]

_PARTS: Final = 5
_LEAST: Final = 5
# Strength of the prior that pulls weights of standardised measurements to 0.
_PULL: Final = 1.0
_STEPS: Final = 30


def scores(
    right: Sequence[Measured],
    wrong: Sequence[Sequence[Measured]],
    groups: Sequence[str],
    names: Sequence[str],
) -> NDArray[np.float64]:
    """Return a score for each sample, 0 to 1: the greater, the more like a wrong label.

    Args:
        right: measurements of each sample with its label as it is.
        wrong: measurements of each sample with labels made wrong on purpose; may be empty.
        groups: of each sample; those of one group are scored together by what has not seen them.
        names: of the measurements to use.

    Raises:
        InputError: there are too few samples, or none whose label can be made wrong.
    """
    kinds = sorted(set(groups))
    if len(kinds) < _LEAST or not any(wrong):
        raise InputError(
            f"{len(right)} samples of {len(kinds)} groups, {sum(map(bool, wrong))} of them with "
            f"labels of cloud and not cloud: too few to tell what is usual; expected {_LEAST} "
            f"groups and one such label at least"
        )
    part = {group: n % _PARTS for n, group in enumerate(_shuffled(kinds))}
    parts = np.array([part[group] for group in groups])
    good = _table(right, names)
    bad = _table([m for each in wrong for m in each], names)
    owner = np.repeat(parts, [len(each) for each in wrong])
    found = np.zeros(len(right))
    for held in range(_PARTS):
        seen, made = good[parts != held], bad[owner != held]
        if len(made) == 0:
            seen, made = good, bad
        table = np.concatenate([seen, made])
        answer = np.concatenate([np.zeros(len(seen)), np.ones(len(made))])
        found[parts == held] = _Regression(table, answer).chance(good[parts == held])
    return found


def _shuffled(kinds: Sequence[str]) -> list[str]:
    return [kinds[n] for n in np.random.default_rng(0).permutation(len(kinds))]


def _table(measured: Sequence[Measured], names: Sequence[str]) -> NDArray[np.float64]:
    rows = [[np.nan if (v := m.get(name)) is None else v for name in names] for m in measured]
    return np.array(rows, np.float64).reshape(len(measured), len(names))


class _Regression:
    """Logistic regression by Newton's method, both answers weighing the same."""

    def __init__(self, table: NDArray[np.float64], answer: NDArray[np.float64]) -> None:
        self._middle = np.nan_to_num(np.nanmean(table, axis=0))
        self._spread = np.maximum(np.nan_to_num(np.nanstd(table, axis=0)), 1e-6)
        design = self._design(table)
        ones = max(answer.sum(), 1)
        weight = np.where(answer == 1, 0.5 / ones, 0.5 / max(len(answer) - ones, 1)) * len(answer)
        pull = np.full(design.shape[1], _PULL)
        pull[0] = 1e-6
        self._weights = np.zeros(design.shape[1])
        for _ in range(_STEPS):
            chance = _logistic(design @ self._weights)
            slope = design.T @ (weight * (chance - answer)) + pull * self._weights
            curve = (design * (weight * chance * (1 - chance))[:, None]).T @ design
            step = np.linalg.solve(curve + np.diag(pull), slope)
            self._weights -= step
            if np.abs(step).max() < 1e-8:
                break

    def chance(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        return _logistic(self._design(table) @ self._weights)

    def _design(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        standard = np.nan_to_num((table - self._middle) / self._spread)  # unknown = usual
        return np.concatenate([np.ones((len(table), 1)), standard], axis=1)


def _logistic(values: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(values, -30, 30)))
    return found
