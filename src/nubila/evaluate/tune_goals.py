"""What each operating point is tuned for, and how far a choice among trials carries over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.evaluate.counts import Interval, figure_values, middle, resampled
from nubila.models_io import OperatingPoint

__all__ = [
    "GOALS",
    "SHADOW_SCENES",
    "SHADOW_WEIGHT",
    "TAKING",
    "Goal",
    "difference",
    "held_out",
]

Numbers = NDArray[np.float64]

# Cloud shadow counts a quarter of the goal, and only where so many scenes have some: fewer would
# tune its threshold to a place.
SHADOW_WEIGHT: Final = 0.25
SHADOW_SCENES: Final = 5
# What has at least this probability is more likely so than not.
TAKING: Final = 0.5


@dataclass(frozen=True)
class Goal:
    """What an operating point is tuned for.

    Attributes:
        figure: in words.
        about: what the point is for.
        of: counts (..., 4) of hits, false alarms, misses and rejections -> figure (...).
        taking: whether the point only takes clouds away, see `allows`.
    """

    figure: str
    about: str
    of: Callable[[Numbers], Numbers]
    taking: bool = False

    def allows(self, point: OperatingPoint) -> bool:
        """Tell whether a point does what this one is for, whatever it scores.

        One that is to keep clear pixels may not grow clouds and shadows over them, or call cloud
        what is more likely not: the figure, which counts cloud alone, would allow it on images
        whose labels are drawn wide.
        """
        certain = all(least >= TAKING for least in point.thresholds.values())
        return not self.taking or (certain and point.dilate == 0)

    def score(self, counts: NDArray[Any], shadow: bool) -> Numbers:
        """Return the score (...) of counts (..., 2, 4) of cloud, thin included, and cloud shadow.

        Args:
            counts: of scenes taken together.
            shadow: whether shadow counts.
        """
        cloud = self.of(counts[..., 0, :])
        if not shadow:
            return cloud
        return (1 - SHADOW_WEIGHT) * cloud + SHADOW_WEIGHT * self.of(counts[..., 1, :])


def _f_measure(beta: float) -> Callable[[Numbers], Numbers]:
    """Return the F measure: recall counts `beta` times as much as precision.

    van Rijsbergen 1979, Information Retrieval, chapter 7.
    """

    def figure(counts: Numbers) -> Numbers:
        hits, false_alarms, misses = counts[..., 0], counts[..., 1], counts[..., 2]
        most = (1 + beta**2) * hits
        whole = most + beta**2 * misses + false_alarms
        share = np.full(np.shape(whole), np.nan)
        np.divide(most, whole, out=share, where=whole != 0)
        return share

    return figure


GOALS: Final[Mapping[str, Goal]] = {
    "conservative": Goal(
        "F2", "few missed clouds: what it calls clear is clear, at more false alarms", _f_measure(2)
    ),
    "balanced": Goal(
        "IoU",
        "missed clouds and false alarms count alike",
        lambda counts: figure_values(counts, "iou"),
    ),
    "permissive": Goal(
        "F0.5",
        "few false alarms: keeps more clear pixels, at more missed clouds",
        _f_measure(0.5),
        taking=True,
    ),
}


def difference(goal: Goal, first: Numbers, second: Numbers, shadow: bool) -> tuple[float, Interval]:
    """Return how much more `first` scores, with the 95 % paired bootstrap interval over scenes.

    Args:
        goal: what is scored.
        first: (scenes, 2, 4) counts of each scene.
        second: the same scenes in the same order.
        shadow: whether shadow counts.
    """
    whole = [float(goal.score(counts.sum(axis=0), shadow)) for counts in (first, second)]
    if len(first) < 2:
        return whole[0] - whole[1], (None, None)
    drawn = [goal.score(resampled(counts), shadow) for counts in (first, second)]
    return whole[0] - whole[1], middle(drawn[0] - drawn[1])


def held_out(goal: Goal, trials: Sequence[Numbers], shadow: bool) -> Numbers:
    """Return the counts (scenes, 2, 4) of each scene by the trial that is best on the others.

    Leaving one scene out shows what choosing among trials is worth on a scene that took no part in
    the choice. The trials themselves were suggested by all scenes, so that a little is left in.

    Args:
        goal: by which the best is chosen.
        trials: (scenes, 2, 4) counts of each scene, a trial each; the first of equals is taken.
        shadow: whether shadow counts.
    """
    table = np.stack(trials)
    scores = goal.score(table.sum(axis=1, keepdims=True) - table, shadow)
    best = np.argmax(np.where(np.isnan(scores), -np.inf, scores), axis=0)
    chosen: Numbers = table[best, np.arange(table.shape[1])]
    return chosen
