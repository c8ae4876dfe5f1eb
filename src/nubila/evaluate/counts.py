"""Hits, false alarms, misses and rejections, the figures that follow from them, and intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DIFFERENCES",
    "FIGURES",
    "RESAMPLES",
    "SEED",
    "Counts",
    "absent_interval",
    "absent_rate",
    "difference_intervals",
    "figure_values",
    "intervals",
    "middle",
    "resampled",
    "rounded",
    "scene_mean",
    "scene_mean_interval",
    "with_class",
]

RESAMPLES: Final = 1000
SEED: Final = 0

Numbers = NDArray[np.float64]
Interval = tuple[float | None, float | None]


def _share(part: Numbers, whole: Numbers) -> Numbers:
    """Return part / whole, NaN where the whole is 0."""
    share: Numbers = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=share, where=np.asarray(whole) != 0)
    return share


def _balanced(h: Numbers, f: Numbers, m: Numbers, r: Numbers) -> Numbers:
    mean: Numbers = (_share(h, h + m) + _share(r, r + f)) / 2
    return mean


# Each takes hits, false alarms, misses and rejections. IoU is Jaccard's index, Dice's coefficient
# is also called F1; precision is the user's accuracy and recall the producer's (Congalton 1991,
# doi:10.1016/0034-4257(91)90048-B); balanced accuracy is the mean of recall and specificity
# (Brodersen et al. 2010, doi:10.1109/ICPR.2010.764).
FIGURES: Final[Mapping[str, Callable[[Numbers, Numbers, Numbers, Numbers], Numbers]]] = {
    "iou": lambda h, f, m, r: _share(h, h + f + m),
    "dice": lambda h, f, m, r: _share(2 * h, 2 * h + f + m),
    "precision": lambda h, f, m, r: _share(h, h + f),
    "recall": lambda h, f, m, r: _share(h, h + m),
    "specificity": lambda h, f, m, r: _share(r, r + f),
    "accuracy": lambda h, f, m, r: _share(h + r, h + f + m + r),
    "balanced_accuracy": _balanced,
}

# Where a label lacks the class these are undefined, or 0 after one false pixel: a mean of all that
# are defined would be of other scenes for each detector.
_OF_THE_CLASS: Final = ("iou", "dice", "precision")

# What differences between two detectors are told of.
DIFFERENCES: Final = (*FIGURES, "iou_scene_mean", "false_positive_rate_absent")


@dataclass(frozen=True)
class Counts:
    """Pixels of one class: hits, false alarms, misses, and correct rejections."""

    hits: int = 0
    false_alarms: int = 0
    misses: int = 0
    rejections: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def positives(self) -> int:
        """Pixels that have the class."""
        return self.hits + self.misses

    @property
    def pixels(self) -> int:
        """All pixels that the label decides."""
        return self.positives + self.false_alarms + self.rejections

    @property
    def iou(self) -> float | None:
        """Intersection over union; None where the class is neither there nor predicted."""
        return self.figure("iou")

    def figure(self, name: str) -> float | None:
        """Return one of `FIGURES`; None where it would be a division by zero."""
        value = float(figure_values(np.array(astuple(self), np.float64), name))
        return None if np.isnan(value) else value


def figure_values(counts: NDArray[Any], name: str) -> Numbers:
    """Return a figure for each row of counts (..., 4): hits, false alarms, misses, rejections."""
    table = np.asarray(counts, np.float64)
    return FIGURES[name](table[..., 0], table[..., 1], table[..., 2], table[..., 3])


def scene_mean(scenes: Sequence[Counts], name: str) -> float | None:
    """Return the mean over scenes of a figure; the labels alone say which scenes count.

    IoU, Dice, precision, recall and balanced accuracy are of the scenes that have the class; where
    it is never called precision is 0, as IoU and Dice are. Specificity and balanced accuracy are of
    the scenes that have something else, accuracy of all. None where there is no such scene.
    """
    values = _scene_values(scenes, name)
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else None


def with_class(scenes: Sequence[Counts]) -> int:
    """Return how many scenes have the class in their label: the IoU's scene mean is of these."""
    return sum(scene.positives > 0 for scene in scenes)


def absent_rate(scenes: Sequence[Counts]) -> float | None:
    """Return the false positive rate over all pixels of the scenes whose label lacks the class.

    What `scene_mean` says nothing of. None where every scene has the class.
    """
    value = float(_false_rate(_absent(scenes).sum(axis=0)))
    return None if np.isnan(value) else value


def absent_interval(
    scenes: Sequence[Counts], *, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval:
    """Return the 95 % percentile bootstrap interval over scenes of `absent_rate`."""
    if len(scenes) < 2:
        return None, None
    return middle(_false_rate(_draws(len(scenes), resamples, seed) @ _absent(scenes)))


def intervals(
    scenes: Sequence[Counts], *, resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, Interval]:
    """Return the 95 % percentile bootstrap interval over scenes of each global figure.

    Scenes, not pixels, are drawn with replacement, since the pixels of one scene are alike (Efron
    & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13). With few scenes the interval
    is too narrow (Hesterberg 2015, doi:10.1080/00031305.2015.1089789).

    Returns:
        Figure -> low and high end; None and None for fewer than two scenes, or where no resample
        has the figure.
    """
    if len(scenes) < 2:
        return dict.fromkeys(FIGURES, (None, None))
    sums = _draws(len(scenes), resamples, seed) @ _table(scenes)
    return {name: middle(figure_values(sums, name)) for name in FIGURES}


def scene_mean_interval(
    scenes: Sequence[Counts], name: str, *, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval:
    """Return the 95 % percentile bootstrap interval over scenes of the scene mean of a figure."""
    if len(scenes) < 2:
        return None, None
    return middle(_drawn_means(scenes, name, _draws(len(scenes), resamples, seed)))


def difference_intervals(
    first: Sequence[Counts],
    second: Sequence[Counts],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Interval]:
    """Return the 95 % interval of `first` minus `second` for each figure of `DIFFERENCES`.

    Both are drawn together, scene by scene: what makes a scene hard for both cancels out, so the
    interval is narrower than those of the two figures would suggest (paired bootstrap, Efron &
    Tibshirani 1993, chapter 8).

    Args:
        first: counts of each scene.
        second: counts of the same scenes in the same order.
        resamples: how often scenes are drawn.
        seed: of the draws.
    """
    if len(first) < 2:
        return dict.fromkeys(DIFFERENCES, (None, None))
    drawn = _draws(len(first), resamples, seed)
    one, other = drawn @ _table(first), drawn @ _table(second)
    found = {name: figure_values(one, name) - figure_values(other, name) for name in FIGURES}
    found["iou_scene_mean"] = _drawn_means(first, "iou", drawn) - _drawn_means(second, "iou", drawn)
    rate, other_rate = (_false_rate(drawn @ _absent(scenes)) for scenes in (first, second))
    found["false_positive_rate_absent"] = rate - other_rate
    return {name: middle(values) for name, values in found.items()}


def resampled(tables: NDArray[Any], *, resamples: int = RESAMPLES, seed: int = SEED) -> Numbers:
    """Return the sums (resamples, ...) of scenes drawn with replacement.

    For figures of several counts together; the draws are those of `difference_intervals`.

    Args:
        tables: (scenes, ...) counts of each scene.
        resamples: how often scenes are drawn.
        seed: of the draws.
    """
    drawn = _draws(len(tables), resamples, seed)
    return np.tensordot(drawn, np.asarray(tables, np.float64), axes=1)


def middle(values: Numbers) -> Interval:
    """Return the 2.5th and 97.5th percentile of the finite values, None and None for none."""
    values = values[np.isfinite(values)]
    if not values.size:
        return None, None
    low, high = np.percentile(values, [2.5, 97.5])
    return rounded(low), rounded(high)


def rounded(value: float | None) -> float | None:
    """Return six digits: finer than any figure here means, and the same on every machine."""
    return None if value is None else round(float(value), 6)


def _table(scenes: Sequence[Counts]) -> Numbers:
    return np.array([astuple(s) for s in scenes], np.float64).reshape(-1, 4)


def _scene_values(scenes: Sequence[Counts], name: str) -> Numbers:
    """Return a figure in each scene, NaN in those that have no part in its mean."""
    table = _table(scenes)
    values = figure_values(table, name)
    if name in _OF_THE_CLASS:
        values = np.where(_has_class(table), np.nan_to_num(values), np.nan)
    return values


def _absent(scenes: Sequence[Counts]) -> Numbers:
    """Return the table of counts with zeros for the scenes whose label has the class."""
    table = _table(scenes)
    return np.where(_has_class(table)[:, None], 0.0, table)


def _has_class(table: Numbers) -> NDArray[np.bool_]:
    hits, _, misses, _ = table.T
    has: NDArray[np.bool_] = hits + misses > 0
    return has


def _false_rate(table: Numbers) -> Numbers:
    rate: Numbers = 1 - figure_values(table, "specificity")
    return rate


def _draws(scenes: int, resamples: int, seed: int) -> Numbers:
    """Return how often each resample (a row) draws each scene (a column)."""
    drawn = np.random.default_rng(seed).integers(0, scenes, (resamples, scenes))
    drawn += np.arange(resamples)[:, None] * scenes
    times = np.bincount(drawn.ravel(), minlength=resamples * scenes)
    return times.reshape(resamples, scenes).astype(np.float64)


def _drawn_means(scenes: Sequence[Counts], name: str, drawn: Numbers) -> Numbers:
    values = _scene_values(scenes, name)
    defined = np.isfinite(values)
    return _share(drawn @ np.where(defined, values, 0), drawn @ defined.astype(np.float64))
