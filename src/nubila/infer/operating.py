"""Operating points: what options and card together say of how probabilities become classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from nubila.classes import class_code
from nubila.errors import InputError, nearest
from nubila.infer.provenance import MaskOptions
from nubila.models_io import ModelCard, OperatingPoint

__all__ = ["given_thresholds", "point_of"]


def point_of(options: MaskOptions, card: ModelCard) -> OperatingPoint:
    """Return thresholds and post-processing: what is given by itself goes before the point's.

    Without an operating point and without anything given, it is the most probable class.

    Raises:
        InputError: the card has no operating point of this name, a length or an area is negative
            or not finite, or thresholds are not a number for each class.
    """
    for name, value in (("dilate", options.dilate), ("min_area", options.min_area)):
        if value is not None and not (_is_number(value) and math.isfinite(value) and value >= 0):
            raise InputError(f"{name} must be a number from 0 up, got {value!r}")
    thresholds = given_thresholds(options.thresholds)
    point = _named(options.operating_point, card)
    given = {class_code(name) for name in thresholds}
    kept = {n: v for n, v in point.thresholds.items() if class_code(n) not in given}
    return OperatingPoint(
        thresholds=kept | thresholds,
        dilate=point.dilate if options.dilate is None else float(options.dilate),
        min_area=point.min_area if options.min_area is None else float(options.min_area),
        about=point.about,
    )


def given_thresholds(thresholds: Mapping[str, float] | None) -> dict[str, float]:
    """Return thresholds as a caller gives them, as a mapping of their own.

    Raises:
        InputError: they are no mapping of names to numbers.
    """
    if thresholds is None:
        return {}
    if not isinstance(thresholds, Mapping):
        raise InputError(
            f"thresholds are a mapping of class names to probabilities, such as "
            f"{{'cloud': 0.4}}; got {thresholds!r}"
        )
    for name, value in thresholds.items():
        if not _is_number(value):
            raise InputError(
                f"the threshold of class {name!r} must be a number from 0 to 1, got {value!r}; a "
                f"class that is to have none is left out"
            )
    return dict(thresholds)


def _is_number(value: Any) -> bool:  # noqa: ANN401 (what a caller gave)
    return isinstance(value, Real) and not isinstance(value, bool)


def _named(name: str | None, card: ModelCard) -> OperatingPoint:
    if name is None:
        return OperatingPoint()
    if name in card.operating_points:
        return card.operating_points[name]
    known = ", ".join(card.operating_points)
    told = f"it has: {known}" if known else "it has none; nubila tune makes them"
    raise InputError(
        f"model {card.name} has no operating point {name!r}"
        f"{nearest(name, card.operating_points)} ({told})"
    )
