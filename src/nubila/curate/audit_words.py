"""Flags and reasons: what a person is told about a sample that may be labelled wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from nubila.curate.alignment import Alignment
from nubila.curate.audit_checks import Duplicate, ImageFacts
from nubila.curate.audit_scores import Agreement
from nubila.recipe.labels import Flag

__all__ = ["Finding", "find"]

# Thresholds of flags, which explain; they were set on the samples of docs/labels.md.
_BLANK_SPREAD: Final = 0.0003
_SATURATED: Final = 0.5
_EMPTY_IMAGE: Final = 0.95
_CLOUDY: Final = 0.3
_CLEAR: Final = 0.05
_AGAINST: Final = -0.4
_GAIN: Final = 0.3
_GOOD_FIT: Final = 0.5

# What a flag says that measurements of label against prediction cannot: nothing to label, or two
# labels of one image of which one is wrong. It is the least score of such a sample.
_WEIGHTS: Final[dict[Flag, float]] = {"no data": 0.9, "blank": 0.9, "contradicts duplicate": 0.7}


@dataclass(frozen=True)
class Finding:
    """What stands out in a sample.

    Attributes:
        flags: short names, for choosing rows by.
        reason: the same in words.
        duplicate_of: id of another sample of the same image, or empty.
        weight: least score that the flags give.
    """

    flags: tuple[Flag, ...]
    reason: str
    duplicate_of: str = ""
    weight: float = 0.0


def find(
    facts: ImageFacts,
    image: Alignment,
    prediction: Alignment | None,
    agreement: Agreement | None,
    numbers: Mapping[str, float | None],
    duplicate: Duplicate | None,
) -> Finding:
    """Return the flags of a sample and their reason in words.

    Args:
        facts: of the image.
        image: fit of the mask to the image's brightness.
        prediction: fit of the mask to the prediction, if there is one.
        agreement: of label and prediction, if there is one.
        numbers: what the score is made from; ``label_cloud`` is read.
        duplicate: another sample of the same image, if there is one.
    """
    told = [*_of_image(facts), *_of_duplicate(duplicate)]
    told += _of_cover(numbers.get("label_cloud"), facts, agreement)
    of_prediction = [] if prediction is None else _of_fit(prediction, "the prediction")
    told += of_prediction or _of_fit(image, "the brightness of the image")
    flags = tuple(flag for flag, _ in told)
    words = [text for _, text in told] + _of_agreement(agreement)
    return Finding(
        flags=flags,
        reason="; ".join(words) or "nothing stands out",
        duplicate_of=duplicate.id if duplicate else "",
        weight=max((_WEIGHTS.get(flag, 0.0) for flag in flags), default=0.0),
    )


def _of_image(facts: ImageFacts) -> list[tuple[Flag, str]]:
    found: list[tuple[Flag, str]] = []
    if facts.empty > _EMPTY_IMAGE:
        found.append(("no data", f"{facts.empty:.0%} of the image has no data"))
    elif facts.spread < _BLANK_SPREAD:
        found.append(("blank", f"the image is of one shade (deviation {facts.spread:.4f})"))
    elif facts.saturated > _SATURATED:
        found.append(("saturated", f"{facts.saturated:.0%} of the image is saturated"))
    return found


def _of_duplicate(duplicate: Duplicate | None) -> list[tuple[Flag, str]]:
    if duplicate is None:
        return []
    same = "the same image as" if duplicate.exact else "nearly the same image as"
    text = f"{same} {duplicate.id} (correlation {duplicate.correlation:.3f})"
    found: list[tuple[Flag, str]] = [("duplicate" if duplicate.exact else "near duplicate", text)]
    if duplicate.contradicts:
        gap = duplicate.label_differs
        found.append(("contradicts duplicate", f"whose label differs in {gap:.0%} of the pixels"))
    return found


def _of_cover(
    label: float | None, facts: ImageFacts, agreement: Agreement | None
) -> list[tuple[Flag, str]]:
    """Tell an empty mask on a cloudy image, and a full one on a clear image."""
    if agreement is not None and not np.isnan(agreement.predicted_cloud):
        cover, by = agreement.predicted_cloud, "predicted cloud"
    else:
        cover, by = facts.cloudlike, "bright and white"
    if label is None or np.isnan(cover):
        return []
    if label < 1 - _CLEAR and label > _CLEAR:
        return []
    if label <= _CLEAR and cover >= _CLOUDY:
        words = "no cloud" if label == 0 else f"{label:.0%} cloud"
        return [("empty on cloudy", f"the label has {words}, {cover:.0%} is {by}")]
    if label >= 1 - _CLEAR and cover <= _CLEAR:
        return [("full on clear", f"the label has {label:.0%} cloud, {cover:.0%} is {by}")]
    return []


def _of_fit(fit: Alignment, what: str) -> list[tuple[Flag, str]]:
    if np.isnan(fit.own):
        return []
    if fit.gain >= _GAIN and fit.best >= _GOOD_FIT:
        text = (
            f"the mask fits {what} {fit.words} (correlation {fit.best:.2f} in place of "
            f"{fit.own:.2f})"
        )
        return [("flipped" if fit.turn else "shifted", text)]
    if fit.own <= _AGAINST:
        return [("inverted", f"the mask runs against {what} (correlation {fit.own:.2f})")]
    return []


def _of_agreement(agreement: Agreement | None) -> list[str]:
    if agreement is None or not agreement.pixels:
        return []
    found = []
    if agreement.confident >= _CLEAR:
        found.append(f"the model is sure that {agreement.confident:.0%} of the pixels are wrong")
    elif agreement.disagreement >= 2 * _CLEAR:
        found.append(f"the model doubts the label by {agreement.disagreement:.0%} on average")
    if agreement.iou < _GOOD_FIT:
        found.append(
            f"cloud IoU {agreement.iou:.2f} (label {agreement.label_cloud:.0%}, prediction "
            f"{agreement.predicted_cloud:.0%})"
        )
    return found
