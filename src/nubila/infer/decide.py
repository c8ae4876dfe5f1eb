"""From probabilities to classes, pixel by pixel; pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import KINDS, NO_DATA, ClassCode, Validity, class_code
from nubila.errors import InputError
from nubila.models_io.card import ModelCard

__all__ = [
    "PROBABILITY_NO_DATA",
    "PROBABILITY_SCALE",
    "Kind",
    "binary",
    "check_told",
    "decide",
    "keep_classes",
    "kinds_of",
    "likeliest",
    "scale_probabilities",
    "threshold_list",
]

# Probabilities as bytes: probability = byte * scale, in steps of 0.4 %; 255 stays for no data.
PROBABILITY_SCALE: Final = 0.004
PROBABILITY_NO_DATA: Final = 255

# Rows taken at a time where several passes go over the same pixels, so that they stay in cache.
_CHUNK: Final = 64


def judged(validity: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell where pixels have a class, given their `Validity`: the valid and the saturated."""
    table = np.zeros(256, bool)
    table[[Validity.VALID, Validity.SATURATED]] = True
    return table[validity]


def threshold_list(card: ModelCard, thresholds: Mapping[str, float] | None) -> list[float | None]:
    """Return the threshold of each class in the card's order, None for those without one.

    Args:
        card: names the classes.
        thresholds: class name -> least probability, 0 to 1.

    Raises:
        InputError: a class is unknown to the model, a value is outside 0 to 1, or every class has
            a threshold, so that nothing is left for the other pixels.
    """
    found: list[float | None] = [None] * len(card.classes)
    codes = card.class_codes
    for name, value in (thresholds or {}).items():
        code = class_code(name)
        if code not in codes:
            raise InputError(
                f"threshold for {name!r}: model {card.name} does not tell this class "
                f"(it tells: {', '.join(card.classes)})"
            )
        if not 0 <= value <= 1:
            raise InputError(f"threshold for {name!r} must be between 0 and 1, got {value}")
        found[codes.index(code)] = float(value)
    if None not in found:
        raise InputError("every class has a threshold; leave at least one (clear) without")
    return found


def check_told(card: ModelCard, names: Iterable[str]) -> None:
    """Refuse classes to be kept or marked that a model does not tell: none would be found.

    One that another class asked for stands for (`ModelCard.stands_for`) is found as that.

    Args:
        card: names the classes.
        names: of classes.

    Raises:
        InputError: a name is no class, or the model does not tell it.
    """
    asked = {class_code(name): name for name in names}
    for code, name in asked.items():
        holders = [
            holder
            for holder, members in zip(card.classes, card.class_sets, strict=True)
            if members >> code & 1
        ]
        if code in card.class_codes or any(class_code(holder) in asked for holder in holders):
            continue
        told = f"; its class {holders[0]!r} stands for it too" if holders else ""
        raise InputError(
            f"class {name!r}: model {card.name} does not tell it "
            f"(it tells: {', '.join(card.classes)}){told}"
        )


def decide(
    probabilities: NDArray[np.float32],
    card: ModelCard,
    thresholds: Mapping[str, float] | None = None,
) -> NDArray[np.uint8]:
    """Return the class of each pixel.

    Without thresholds it is the most probable class; by a card whose `decision` is ``kind``, the
    most probable class of the most probable kind. A class with a threshold is given wherever
    its probability reaches it (the most probable one where several do) and nowhere else; all other
    pixels get what is most probable among the classes without a threshold. So a threshold of 0.3
    for cloud finds more cloud than the most probable class would, one of 0.7 less. By kind, classes
    with a threshold count in the sum of their kind, too.

    Args:
        probabilities: (classes, rows, columns) in the card's order.
        card: names the classes.
        thresholds: class name -> least probability.

    Returns:
        (rows, columns) uint8 class codes; 255 where any probability is not finite.
    """
    limits = threshold_list(card, thresholds)
    codes = np.array(card.class_codes, np.uint8)
    without = [n for n, v in enumerate(limits) if v is None]
    kinds = kinds_of(card.class_codes, card.decision, without)
    rows = probabilities.shape[1]
    classes = np.empty(probabilities.shape[1:], np.uint8)
    for top in range(0, rows, _CHUNK):
        part = probabilities[:, top : top + _CHUNK]
        best, index = likeliest(part, kinds)
        reaching = [n for n, v in enumerate(limits) if v is not None]
        if reaching:
            index = _override(part, reaching, limits, index)
        chunk = codes[index]
        total = part.sum(axis=0)
        chunk[~(np.isfinite(total) & np.isfinite(best))] = NO_DATA
        classes[top : top + _CHUNK] = chunk
    return classes


@dataclass(frozen=True)
class Kind:
    """Classes that are decided for together.

    Attributes:
        members: places of the classes whose probabilities are summed.
        open: places of those that may be given, at least one.
    """

    members: tuple[int, ...]
    open: tuple[int, ...]


def kinds_of(
    codes: Sequence[int], decision: str, places: Sequence[int] | None = None
) -> list[Kind]:
    """Return the kinds that a decision is between, or all classes as one.

    Args:
        codes: of all classes, by place.
        decision: ``class`` or ``kind``, as of `ModelCard.decision`.
        places: of the classes that may be given; default all.
    """
    whole = tuple(range(len(codes)))
    given = whole if places is None else tuple(places)
    if decision == "class":
        return [Kind(whole, given)]
    found = (tuple(n for n in whole if codes[n] in kind) for kind in KINDS)
    kinds = [Kind(members, tuple(n for n in members if n in given)) for members in found]
    return [kind for kind in kinds if kind.open]


def likeliest(
    probabilities: NDArray[np.float32], kinds: Sequence[Kind]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return the most probable class of the kind with the largest sum, the first of equals.

    Args:
        probabilities: (classes, rows, columns).
        kinds: of `kinds_of`.

    Returns:
        (rows, columns) the class's probability, and its place.
    """
    best, index = _most_probable(probabilities, kinds[0].open)
    if len(kinds) > 1:
        largest = probabilities[list(kinds[0].members)].sum(axis=0)
        for kind in kinds[1:]:
            total = probabilities[list(kind.members)].sum(axis=0)
            higher = total > largest
            np.maximum(total, largest, out=largest)
            its, place = _most_probable(probabilities, kind.open)
            np.copyto(best, its, where=higher)
            np.copyto(index, place, where=higher)
    return best, index


def _most_probable(
    probabilities: NDArray[np.float32], places: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return the largest probability and its place, the first of equals."""
    best = probabilities[places[0]].copy()
    index = np.full(best.shape, places[0], np.uint8)
    higher = np.empty(best.shape, bool)
    for n in places[1:]:
        np.greater(probabilities[n], best, out=higher)
        np.maximum(probabilities[n], best, out=best)
        np.copyto(index, np.uint8(n), where=higher)
    return best, index


def _override(
    probabilities: NDArray[np.float32],
    reaching: list[int],
    limits: list[float | None],
    index: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Give the most probable of the classes that reach their thresholds, where any does."""
    best = np.full(index.shape, -1, np.float32)
    result = index.copy()
    for n in reaching:
        # Compared in float32, as the probabilities are: 0.3 reaches 0.3.
        there = (probabilities[n] >= np.float32(limits[n])) & (probabilities[n] > best)
        best[there] = probabilities[n][there]
        result[there] = n
    return result


def scale_probabilities(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return probabilities as bytes of `PROBABILITY_SCALE`, 255 where they are not finite."""
    scaled = np.empty(probabilities.shape, np.uint8)
    for target, plane in zip(scaled, probabilities, strict=True):
        steps = np.rint(plane * np.float32(1 / PROBABILITY_SCALE))
        finite = np.isfinite(steps)
        target[...] = np.where(finite, np.clip(steps, 0, 250), PROBABILITY_NO_DATA)
    return scaled


def keep_classes(classes: NDArray[np.uint8], names: Iterable[str]) -> NDArray[np.uint8]:
    """Return classes with those not named called clear; 255 stays.

    Raises:
        InputError: a name is no class.
    """
    kept = [class_code(name) for name in names]
    table = np.where(np.isin(np.arange(256), [*kept, NO_DATA]), np.arange(256), ClassCode.CLEAR)
    return table.astype(np.uint8)[classes]


def binary(classes: NDArray[np.uint8], names: Iterable[str]) -> NDArray[np.uint8]:
    """Return 1 where a pixel has one of the named classes, 0 elsewhere; 255 stays.

    Raises:
        InputError: a name is no class.
    """
    table = np.isin(np.arange(256), [class_code(name) for name in names]).astype(np.uint8)
    table[NO_DATA] = NO_DATA
    return table[classes]
