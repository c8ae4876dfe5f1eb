"""Whether a scale and an offset, from wherever they come, can make reflectance of counts."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from nubila.errors import InputError, MetadataError

__all__ = ["check_scaling", "given_scaling", "plain_number"]

# Reflectance is about 1. With a smaller scale the largest count of 32 bits stays below 0.43, with
# a larger one a single step is brighter than anything on Earth (inverse scales, overflows).
_LEAST_SCALE: Final = 1e-10
_MOST_SCALE: Final = 10.0
# The largest is Landsat's Level 1 under a grazing sun, 0.1 / sin(0.1 degrees) = 57.
_MOST_OFFSET: Final = 100.0


def check_scaling(
    scale: float,
    offset: float,
    *,
    scale_said: str,
    offset_said: str,
    error: type[InputError] = MetadataError,
) -> None:
    """Refuse a scale or an offset that is no number or that no reflectance has.

    Args:
        scale: reflectance = count * scale + offset.
        offset: see scale.
        scale_said: file, tag or field, and what it says, for the message.
        offset_said: the same of the offset.
        error: what is raised.

    Raises:
        InputError: or its child `error`.
    """
    formula = "reflectance (1 = 100 %) = count * scale + offset"
    if not _LEAST_SCALE <= scale <= _MOST_SCALE:
        raise error(
            f"{scale_said}; expected a positive scale, from {_LEAST_SCALE:g} to {_MOST_SCALE:g}: "
            f"{formula}, so that of reflectance x 10000 is 0.0001"
        )
    if not abs(offset) <= _MOST_OFFSET:
        raise error(
            f"{offset_said}; expected an offset from {-_MOST_OFFSET:g} to {_MOST_OFFSET:g}: "
            f"{formula}, so that of Sentinel-2 from baseline 04.00 is -0.1"
        )


def given_scaling(
    scale: float | None, offset: float | None, nodata: float | None
) -> tuple[float | None, float | None, float | None]:
    """Return what a caller gives for a raster as plain floats; None is what is not given.

    Raises:
        InputError: one is no number, or no reflectance has it.
    """
    said = {"scale": scale, "offset": offset, "nodata": nodata}
    numbers = {k: None if v is None else plain_number(v, k) for k, v in said.items()}
    check_scaling(
        1.0 if numbers["scale"] is None else numbers["scale"],
        numbers["offset"] or 0.0,
        scale_said=f"the given scale is {scale}",
        offset_said=f"the given offset is {offset}",
        error=InputError,
    )
    return numbers["scale"], numbers["offset"], numbers["nodata"]


def plain_number(value: Any, what: str, error: type[InputError] = InputError) -> float:  # noqa: ANN401 (refused unless it is a number)
    """Return a number of whatever type, or the only one of an array, as a float of Python's.

    To compare float32 values with an `np.float64`, NumPy widens them, and no -9999.9 is found.

    Args:
        value: a number; a text of one will do, as files have it.
        what: how a message calls it.
        error: what is raised.

    Raises:
        InputError: or its child `error`: it is something else.
    """
    try:
        number = np.asarray(value).item()
        if isinstance(number, bool):
            raise TypeError("a truth value is no number")
        return float(number)
    except (TypeError, ValueError) as trouble:
        raise error(f"{what} is {value!r}, expected a number") from trouble
