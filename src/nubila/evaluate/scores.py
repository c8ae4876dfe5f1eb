"""Scores against labels that do not tell every class apart; pure functions of counts.

For a class, a pixel is *positive* where the label allows nothing else, *negative* where the label
rules the class out, and left out where it stays open. ``cloud`` stands for cloud and thin cloud
together, so a label of "cloud or thin cloud" is positive for it, and either prediction is right.

Everything is counted once, into one table an image: how many pixels have which label (a set of
classes) and which prediction. All scores of all classes follow from sums of such tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES, NO_DATA, class_set

__all__ = [
    "PROTOCOL",
    "SCORED",
    "Counts",
    "SampleTally",
    "bootstrap_interval",
    "count_class",
    "summarise",
    "tally",
]

# What is scored, and the set of classes that counts as it.
SCORED: Final[dict[str, int]] = {
    "cloud": class_set(["cloud", "thin cloud"]),
    "thin cloud": class_set(["thin cloud"]),
    "cloud shadow": class_set(["cloud shadow"]),
    "snow": class_set(["snow"]),
    "water": class_set(["water"]),
    "clear": class_set(["clear"]),
}

RESAMPLES: Final = 1000
SEED: Final = 0
_SETS = 1 << len(CLASS_NAMES)

PROTOCOL: Final[dict[str, str]] = {
    "images": "each image is seen once, whole, unchanged, at its own ground resolution",
    "pixels": (
        "pixels that the label ignores, or that have no data in any band, do not count; nor do "
        "those that the model gave no class for lack of a needed band (not_judged says how many)"
    ),
    "partial labels": (
        "for a class, a pixel is positive where the label allows nothing but the class, negative "
        "where it rules the class out, and left out where it cannot tell; agreement is the share "
        "of labelled pixels whose predicted class the label allows"
    ),
    "cloud": "cloud and thin cloud together, in labels and predictions",
    "classes reported": (
        "those that some code of the labels names for sure; images whose codes leave the class "
        "open everywhere do not count for it; cloud is also reported where the labels rule it out; "
        "classes that the model does not tell are left out"
    ),
    "iou, precision, recall, accuracy": "global: from the pixels of all images together",
    "scenes": "images of one group are one scene, their pixels pooled",
    "iou_scene_mean": (
        "mean over scenes of the IoU in each; a scene without the class, in label and prediction "
        "both, has no IoU and is left out; one where it is only predicted has an IoU of 0"
    ),
    "iou_interval": (
        f"95 % percentile bootstrap of the global IoU over scenes, {RESAMPLES} resamples, seed "
        f"{SEED}; null for fewer than two scenes"
    ),
    "baselines": (
        "all_cloud_iou: IoU of cloud when all is called cloud; all_clear_accuracy: accuracy of "
        "cloud when all is called clear"
    ),
    "null": "the figure would be a division by zero, or the labels cannot decide it",
}


@dataclass(frozen=True)
class Counts:
    """Pixels of one class: hits, false alarms, misses, and correct rejections."""

    hits: int = 0
    false_alarms: int = 0
    misses: int = 0
    rejections: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.hits + other.hits,
            self.false_alarms + other.false_alarms,
            self.misses + other.misses,
            self.rejections + other.rejections,
        )

    @property
    def positives(self) -> int:
        """Pixels that have the class."""
        return self.hits + self.misses

    @property
    def pixels(self) -> int:
        """All pixels that the label decides."""
        return self.positives + self.false_alarms + self.rejections

    @property
    def union(self) -> int:
        """Pixels that have the class or are called it."""
        return self.positives + self.false_alarms

    @property
    def iou(self) -> float | None:
        """Intersection over union; None where the class is neither there nor predicted."""
        return _share(self.hits, self.union)

    @property
    def precision(self) -> float | None:
        """Share of the predicted that is right; None where nothing is predicted."""
        return _share(self.hits, self.hits + self.false_alarms)

    @property
    def recall(self) -> float | None:
        """Share of the positives that is found; None where there are none."""
        return _share(self.hits, self.positives)

    @property
    def accuracy(self) -> float | None:
        """Share of the decided pixels that is right; None where there are none."""
        return _share(self.hits + self.rejections, self.pixels)


@dataclass(frozen=True)
class SampleTally:
    """All that scores need to know of a sample.

    Attributes:
        id, folder, group: as in the manifest.
        table: (64, 6) pixels by label set and predicted class code, from `tally`.
        sets: every set of classes that the sample's codes can stand for.
        not_judged: labelled pixels without a prediction.
    """

    id: str
    folder: str
    group: str
    table: NDArray[np.int64]
    sets: tuple[int, ...]
    not_judged: int = 0

    @property
    def agreement(self) -> float | None:
        """Share of labelled pixels whose predicted class the label allows; None for no pixel."""
        return _share(_agreeing(self.table), int(self.table.sum()))

    def names(self, name: str) -> bool:
        """Tell whether some code of the label stands for this class and nothing else."""
        return any(s & ~SCORED[name] == 0 for s in self.sets)

    def decides(self, name: str) -> bool:
        """Tell whether the label can tell this class: named, or ruled out by every code."""
        return self.names(name) or all(s & SCORED[name] == 0 for s in self.sets)

    def counts(self, name: str) -> Counts:
        """Return the counts of a class; none where the label cannot tell it."""
        return count_class(self.table, SCORED[name]) if self.decides(name) else Counts()


def tally(label: NDArray[np.uint8], classes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count pixels by label and prediction.

    Args:
        label: (rows, columns) sets of allowed classes; 0 = not counted.
        classes: (rows, columns) predicted class codes; 255 = not counted.

    Returns:
        (64, 6) pixels with each label set and class code; row 0 is zero.
    """
    counted = (label != 0) & (classes != NO_DATA)
    width = len(CLASS_NAMES)
    joint = label[counted].astype(np.intp) * width + classes[counted]
    return np.bincount(joint, minlength=_SETS * width).reshape(_SETS, width)


def count_class(table: NDArray[np.int64], wanted: int) -> Counts:
    """Return the counts of the class, or classes taken together, of the set `wanted`."""
    sets = np.arange(_SETS)
    positive = (sets != 0) & (sets & ~wanted == 0)
    negative = (sets != 0) & (sets & wanted == 0)
    called = np.array([bool(wanted >> code & 1) for code in CLASS_NAMES])
    return Counts(
        hits=int(table[positive][:, called].sum()),
        false_alarms=int(table[negative][:, called].sum()),
        misses=int(table[positive][:, ~called].sum()),
        rejections=int(table[negative][:, ~called].sum()),
    )


def bootstrap_interval(
    scenes: Sequence[Counts], *, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float | None, float | None]:
    """Return the 95 % percentile bootstrap interval of the global IoU over scenes.

    Scenes, not pixels, are drawn with replacement, since the pixels of one scene are alike (Efron
    & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13).

    Returns:
        Low and high end; None and None for fewer than two scenes, or where no resample has an IoU.
    """
    if len(scenes) < 2:
        return None, None
    drawn = np.random.default_rng(seed).integers(0, len(scenes), (resamples, len(scenes)))
    hits = np.array([s.hits for s in scenes], np.float64)[drawn].sum(axis=1)
    union = np.array([s.union for s in scenes], np.float64)[drawn].sum(axis=1)
    if not union.any():
        return None, None
    low, high = np.percentile(hits[union > 0] / union[union > 0], [2.5, 97.5])
    return _rounded(low), _rounded(high)


def summarise(samples: Sequence[SampleTally], told: Iterable[str]) -> dict[str, Any]:
    """Return the scores of samples together, in the structure of ``scores.json``.

    Args:
        samples: of one folder, or of all.
        told: names of the classes that the model tells apart.

    Returns:
        ``{"scenes": n, "cloud": {"iou": ...}, ..., "all_cloud_iou": ..., ...}``
    """
    known = class_set(told)
    cloud = sum((s.counts("cloud") for s in samples), Counts())
    pixels = sum(int(s.table.sum()) for s in samples)
    scores: dict[str, Any] = {"scenes": len({(s.folder, s.group) for s in samples})}
    for name, wanted in SCORED.items():
        if known & wanted and _is_reported(samples, name):
            scores[name] = _class_scores(list(_by_scene(samples, name).values()))
    return scores | {
        "all_cloud_iou": _rounded(_share(cloud.positives, cloud.pixels)),
        "all_clear_accuracy": _rounded(_share(cloud.false_alarms + cloud.rejections, cloud.pixels)),
        "agreement": _rounded(_share(sum(_agreeing(s.table) for s in samples), pixels)),
        "images": len(samples),
        "pixels": pixels,
        "not_judged": sum(s.not_judged for s in samples),
    }


def _is_reported(samples: Sequence[SampleTally], name: str) -> bool:
    if any(s.names(name) for s in samples):
        return True
    return name == "cloud" and any(s.decides(name) for s in samples)


def _by_scene(samples: Sequence[SampleTally], name: str) -> Mapping[tuple[str, str], Counts]:
    """Return the counts of each scene that the labels can tell the class in."""
    scenes: dict[tuple[str, str], Counts] = {}
    for sample in samples:
        if sample.decides(name):
            key = sample.folder, sample.group
            scenes[key] = scenes.get(key, Counts()) + sample.counts(name)
    return scenes


def _class_scores(scenes: Sequence[Counts]) -> dict[str, Any]:
    whole = sum(scenes, Counts())
    defined = [s.iou for s in scenes if s.iou is not None]
    return {
        "iou": _rounded(whole.iou),
        "iou_scene_mean": _rounded(float(np.mean(defined)) if defined else None),
        "iou_interval": list(bootstrap_interval(scenes)),
        "precision": _rounded(whole.precision),
        "recall": _rounded(whole.recall),
        "accuracy": _rounded(whole.accuracy),
        "scenes": len(scenes),
        "pixels": whole.pixels,
        "positive_pixels": whole.positives,
    }


def _agreeing(table: NDArray[np.int64]) -> int:
    """Return how many pixels have a predicted class that their label allows."""
    allows = np.arange(_SETS)[:, None] >> np.array(list(CLASS_NAMES)) & 1
    return int((table * allows).sum())


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _rounded(value: float | None) -> float | None:
    # Six digits: finer than any of these figures means, and the same on every machine.
    return None if value is None else round(float(value), 6)
