"""Running detectors over hard cases, and the figures of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES, NO_DATA, class_set
from nubila.datasets.sample import unseen
from nubila.detect import Detection, Detector, view_of
from nubila.errors import InputError
from nubila.evaluate.boundary import near_boundary
from nubila.evaluate.counts import Counts, rounded
from nubila.evaluate.hard.case import NOT_CLOUD, HardImage
from nubila.evaluate.panels import true_colour
from nubila.evaluate.tally import SCORED, called_sets, count_class, tally

__all__ = ["EDGE", "Figures", "Judged", "by_case", "judge_images"]

# Pixels from what has no data that count as its edge.
EDGE: Final = 8
_THICK, _THIN = class_set(["cloud"]), class_set(["thin cloud"])


@dataclass(frozen=True)
class Figures:
    """Pixels of one image or of several, by what is known of them and what a detector says.

    Attributes:
        cloud: of cloud, thin or thick.
        shadow: of cloud shadow; none where the label has no shadow, or the detector tells none.
        thick, thin: of pixels that are that and nothing else, hits are those called cloud of
            either kind.
        edge: of cloud, near what has no data.
        data: pixels with data.
        called: of them, those called cloud of either kind.
        unjudged: of them, those without an answer.
        invented: pixels without data that got a class all the same.
    """

    cloud: Counts = field(default_factory=Counts)
    shadow: Counts = field(default_factory=Counts)
    thick: Counts = field(default_factory=Counts)
    thin: Counts = field(default_factory=Counts)
    edge: Counts = field(default_factory=Counts)
    data: int = 0
    called: int = 0
    unjudged: int = 0
    invented: int = 0

    def __add__(self, other: Figures) -> Figures:
        counts = ("cloud", "shadow", "thick", "thin", "edge")
        numbers = ("data", "called", "unjudged", "invented")
        names = (*counts, *numbers)
        return Figures(**{name: getattr(self, name) + getattr(other, name) for name in names})

    def shares(self) -> dict[str, float | None]:
        """Return the figures as shares, None where there is nothing to divide by.

        ``false_cloud`` is of pixels that are no cloud, ``missed_cloud`` of those that are,
        ``missed_thick`` and ``missed_thin`` of theirs, ``edge_false_cloud`` of pixels that are no
        cloud and near what has no data, ``called_cloud`` and ``unjudged`` of pixels with data.
        """
        shadow = self.shadow.iou if self.shadow.positives else None
        found = {
            "false_cloud": _rest(self.cloud.figure("specificity")),
            "missed_cloud": _rest(self.cloud.figure("recall")),
            "cloud_iou": self.cloud.iou if self.cloud.positives else None,
            "missed_thick": _rest(self.thick.figure("recall")),
            "missed_thin": _rest(self.thin.figure("recall")),
            "shadow_iou": shadow,
            "edge_false_cloud": _rest(self.edge.figure("specificity")),
            "called_cloud": self.called / self.data if self.data else None,
            "unjudged": self.unjudged / self.data if self.data else None,
        }
        return {name: rounded(value) for name, value in found.items()}

    def document(self) -> dict[str, Any]:
        """Return shares, and the pixels that they are of."""
        pixels = {
            "pixels": self.data,
            "pixels_not_cloud": self.cloud.false_alarms + self.cloud.rejections,
            "pixels_cloud": self.cloud.positives,
            "pixels_invented": self.invented,
        }
        return self.shares() | pixels


@dataclass(frozen=True)
class Judged:
    """What detectors make of an image.

    Attributes:
        image: the hard case.
        picture: (rows, columns, 3) uint8, what they looked at; a suite's images would fill memory.
        label: (rows, columns) sets of allowed classes, 0 where nothing is known.
        figures: detector -> figures; those that cannot judge the image are absent.
        classes: detector -> (rows, columns) class codes.
        lacking: detector -> what it lacks, of those that cannot.
    """

    image: HardImage
    picture: NDArray[np.uint8]
    label: NDArray[np.uint8]
    figures: Mapping[str, Figures]
    classes: Mapping[str, NDArray[np.uint8]]
    lacking: Mapping[str, str]


def judge_images(
    detectors: Mapping[str, Detector],
    images: Sequence[HardImage],
    *,
    progress: Callable[[int], None] | None = None,
) -> list[Judged]:
    """Run every detector over every image, whole.

    Args:
        detectors: name -> detector.
        images: in the order of the answer.
        progress: called with the number of images done, after each.

    Raises:
        InputError: no detector can judge any of them.
        ManifestError: an image cannot be read, or does not fit its row.
        NubilaError: a detector fails on an image that it does not lack anything of.
    """
    judged = []
    for number, image in enumerate(images, 1):
        judged.append(_judge(detectors, image))
        if progress is not None:
            progress(number)
    if not any(one.figures for one in judged):
        words = dict.fromkeys(words for one in judged for words in one.lacking.values())
        raise InputError(
            f"{', '.join(detectors)}: none of the {len(judged)} images can be judged "
            f"({'; '.join(words)})"
        )
    return judged


def by_case(judged: Iterable[Judged], name: str) -> dict[tuple[str, str], Figures]:
    """Return (case, source) -> a detector's figures, of all images of the two that it judged."""
    found: dict[tuple[str, str], list[Figures]] = {}
    for one in judged:
        if name in one.figures:
            key = one.image.case, one.image.source
            found.setdefault(key, []).append(one.figures[name])
    return {key: reduce(lambda a, b: a + b, parts) for key, parts in found.items()}


def _judge(detectors: Mapping[str, Detector], image: HardImage) -> Judged:
    sample = image.read()
    view = view_of(sample)
    lacking = {n: words for n, d in detectors.items() if (words := d.lacks(view))}
    found = {n: d.detect(view) for n, d in detectors.items() if n not in lacking}
    empty = unseen(view.image, view.bands)
    return Judged(
        image=image,
        picture=true_colour(sample),
        label=sample.label,
        figures={n: _figures(detection, sample.label, empty) for n, detection in found.items()},
        classes={n: detection.classes for n, detection in found.items()},
        lacking=lacking,
    )


def _figures(detection: Detection, label: NDArray[np.uint8], empty: NDArray[np.bool_]) -> Figures:
    classes = detection.classes
    called = called_sets({output.code: output.bits for output in detection.outputs})
    table = tally(label, classes)
    near = near_boundary(np.where(empty, np.uint8(1), np.uint8(2)), EDGE)
    edge = tally(np.where(near, label, np.uint8(0)), classes)
    cloudy = [code for code in CLASS_NAMES if called[code] and not called[code] & NOT_CLOUD]
    cloud = np.isin(classes, cloudy)
    judged = classes != NO_DATA
    counted = count_class(table, SCORED["cloud shadow"], called)
    tells = any(output.bits == SCORED["cloud shadow"] for output in detection.outputs)
    return Figures(
        cloud=count_class(table, SCORED["cloud"], called),
        shadow=counted if tells and counted.positives else Counts(),
        thick=_found(label == _THICK, cloud, judged),
        thin=_found(label == _THIN, cloud, judged),
        edge=count_class(edge, SCORED["cloud"], called),
        data=int((~empty).sum()),
        called=int((cloud & ~empty).sum()),
        unjudged=int((~judged & ~empty).sum()),
        invented=int((judged & empty).sum()),
    )


def _found(where: NDArray[np.bool_], cloud: NDArray[np.bool_], judged: NDArray[np.bool_]) -> Counts:
    hits, misses = int((where & cloud).sum()), int((where & judged & ~cloud).sum())
    return Counts(hits=hits, misses=misses)


def _rest(share: float | None) -> float | None:
    return None if share is None else 1 - share
