"""What an image leaves for scoring: pixels by label and prediction, and nothing of the pixels.

For a class, a pixel is *positive* where the label allows nothing else, *negative* where the label
rules the class out, and left out where it stays open. ``cloud`` stands for cloud and thin cloud
together, so a label of "cloud or thin cloud" is positive for it, and either prediction is right.

A model may merge classes (its card's ``stands_for``). A class is scored only for models with an
output that stands for nothing else, and only such outputs count as calling it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES, NO_DATA, SCORED, class_set
from nubila.datasets import SampleSpec, unnamed_told
from nubila.errors import ManifestError
from nubila.evaluate.counts import Counts

__all__ = [
    "SCORED",
    "UNMERGED",
    "SampleTally",
    "agreeing",
    "called_sets",
    "check_scorable",
    "count_class",
    "tally",
]

_SETS: Final = 1 << len(CLASS_NAMES)
_THIN: Final = class_set(["thin cloud"])

# By class code: the set of classes that a prediction stands for, where a model merges none.
UNMERGED: Final = tuple(1 << code for code in CLASS_NAMES)


@dataclass(frozen=True)
class SampleTally:
    """All that scores need to know of a sample.

    Attributes:
        id, folder, group: as in the manifest.
        table: (64, 6) pixels by label set and predicted class code, from `tally`.
        sets: every set of classes that the sample's codes can stand for.
        not_judged: labelled pixels without a prediction.
        called: by class code, the set of classes that the model means by it; see `called_sets`.
        tags: column -> value, to score by.
        inner: `table` without the pixels near a boundary of the label, if counted.
        reliability: scored class -> (3, bins), see `nubila.datasets.reliability`.
        unnamed: as `Sample.unnamed`.
    """

    id: str
    folder: str
    group: str
    table: NDArray[np.int64]
    sets: tuple[int, ...]
    not_judged: int = 0
    called: tuple[int, ...] = UNMERGED
    tags: Mapping[str, str] = field(default_factory=dict)
    inner: NDArray[np.int64] | None = None
    reliability: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    unnamed: Mapping[int, float] = field(default_factory=dict)

    @property
    def scene(self) -> tuple[str, str]:
        """What tells the scene: images of one group in one folder are one scene."""
        return self.folder, self.group

    @property
    def agreement(self) -> float | None:
        """Share of labelled pixels whose predicted class the label allows; None for no pixel."""
        pixels = int(self.table.sum())
        return agreeing(self) / pixels if pixels else None

    def names(self, name: str) -> bool:
        """Tell whether some code of the label stands for this class and nothing else."""
        return any(s & ~SCORED[name] == 0 for s in self.sets)

    def decides(self, name: str) -> bool:
        """Tell whether the label can tell this class: named, or ruled out by every code."""
        return self.names(name) or all(s & SCORED[name] == 0 for s in self.sets)

    def tells(self, name: str) -> bool:
        """Tell whether the model has an output that stands for this class and nothing else."""
        return any(s and s & ~SCORED[name] == 0 for s in self.called)

    def counts(self, name: str) -> Counts:
        """Return the counts of a class; none where the label cannot tell it."""
        if not self.decides(name):
            return Counts()
        return count_class(self.table, SCORED[name], self.called)

    def without_thin_cloud(self) -> SampleTally:
        """Return the sample without the pixels that are labelled thin cloud and nothing else."""
        table = self.table.copy()
        table[_THIN] = 0
        return replace(self, table=table, sets=tuple(s for s in self.sets if s != _THIN))

    def without_boundaries(self) -> SampleTally:
        """Return the sample without the pixels near a boundary of its label."""
        return self if self.inner is None else replace(self, table=self.inner)


def check_scorable(
    specs: Sequence[SampleSpec], labelled: bool, unnamed: Sequence[Mapping[int, float]]
) -> None:
    """Raise where there is nothing to score.

    Args:
        specs: the samples.
        labelled: whether some pixel of them has a label.
        unnamed: of each sample, as `Sample.unnamed`.

    Raises:
        ManifestError: names the values of the masks that no code names, which is why, most often.
    """
    if labelled or not specs:
        return
    told = unnamed_told(unnamed)
    raise ManifestError(
        f"{specs[0].manifest}: none of {len(specs)} samples has a pixel with data and a label, so "
        f"that there is nothing to score{f': {told}' if told else ''}. nubila data check tells "
        f"what is wrong with a table"
    )


def called_sets(codes: Mapping[int, int]) -> tuple[int, ...]:
    """Return the set of classes by class code, 0 for codes that the model does not give.

    Args:
        codes: class code of each output -> the set that it stands for.
    """
    return tuple(codes.get(code, 0) for code in CLASS_NAMES)


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


def count_class(
    table: NDArray[np.int64], wanted: int, called: tuple[int, ...] = UNMERGED
) -> Counts:
    """Return the counts of the class, or classes taken together, of the set `wanted`.

    Args:
        table: (64, 6) from `tally`.
        wanted: the set of classes.
        called: by class code, the set of classes that a prediction stands for.
    """
    sets = np.arange(_SETS)
    positive = (sets != 0) & (sets & ~wanted == 0)
    negative = (sets != 0) & (sets & wanted == 0)
    named = np.array([bool(s) and s & ~wanted == 0 for s in called])
    return Counts(
        hits=int(table[positive][:, named].sum()),
        false_alarms=int(table[negative][:, named].sum()),
        misses=int(table[positive][:, ~named].sum()),
        rejections=int(table[negative][:, ~named].sum()),
    )


def agreeing(sample: SampleTally) -> int:
    """Return how many pixels have a prediction that stands for a class that their label allows."""
    allows = (np.arange(_SETS)[:, None] & np.array(sample.called)) != 0
    return int(sample.table[allows].sum())
