"""From probabilities to classes, and what is done to classes afterwards; pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import NO_DATA, ClassCode, Validity, class_code
from nubila.errors import InputError
from nubila.models_io.card import ModelCard

__all__ = [
    "PROBABILITY_NO_DATA",
    "PROBABILITY_SCALE",
    "binary",
    "decide",
    "keep_classes",
    "postprocess",
    "scale_probabilities",
    "threshold_list",
]

# Probabilities as bytes: probability = byte * scale, in steps of 0.4 %; 255 stays for no data.
PROBABILITY_SCALE: Final = 0.004
PROBABILITY_NO_DATA: Final = 255

_JUDGED: Final = (Validity.VALID, Validity.SATURATED)


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


def decide(
    probabilities: NDArray[np.float32],
    card: ModelCard,
    thresholds: Mapping[str, float] | None = None,
) -> NDArray[np.uint8]:
    """Return the class of each pixel.

    Without thresholds it is the most probable class. A class with a threshold is given wherever
    its probability reaches it (the most probable one where several do) and nowhere else; all other
    pixels get the most probable of the classes without a threshold. So a threshold of 0.3 for
    cloud finds more cloud than the most probable class would, one of 0.7 less.

    Args:
        probabilities: (classes, rows, columns) in the card's order.
        card: names the classes.
        thresholds: class name -> least probability.

    Returns:
        (rows, columns) uint8 class codes; 255 where any probability is not finite.
    """
    raise NotImplementedError


def scale_probabilities(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return probabilities as bytes of `PROBABILITY_SCALE`, 255 where they are not finite."""
    raise NotImplementedError


def keep_classes(classes: NDArray[np.uint8], names: Iterable[str]) -> NDArray[np.uint8]:
    """Return classes with those not named called clear; 255 stays."""
    raise NotImplementedError


def binary(classes: NDArray[np.uint8], names: Iterable[str]) -> NDArray[np.uint8]:
    """Return 1 where a pixel has one of the named classes, 0 elsewhere; 255 stays."""
    raise NotImplementedError


def postprocess(
    classes: NDArray[np.uint8],
    *,
    pixel_size: tuple[float, float],
    dilate_m: float = 0.0,
    min_area_m2: float = 0.0,
) -> NDArray[np.uint8]:
    """Return classes of a whole raster with small objects taken out, then clouds grown.

    Args:
        classes: (rows, columns) uint8, the whole raster, so that tiling leaves no trace.
        pixel_size: height and width of a pixel in metres.
        dilate_m: cloud, thin cloud and cloud shadow grow by a disc of this radius in metres.
        min_area_m2: connected objects of one class smaller than this are filled by the class
            around them.
    """
    raise NotImplementedError
