"""What the codes of a label mask stand for: sets of classes, one bit a class.

A label rarely tells all six classes apart. ``128=clear|snow|water`` says that a pixel of code 128
is one of three classes and the label does not say which; a prediction is right if it is any.
``0=ignored`` says that a code is known and teaches nothing, ``*=ignored`` that every other does.
A value that is not named is ignored too, but may be a mistake, so that people are told of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES, class_set
from nubila.errors import InputError, ManifestError

__all__ = [
    "NO_CODE",
    "NUBILA_CODES",
    "LabelCodes",
    "output_sets",
    "parse_codes",
    "unnamed_told",
    "values_told",
]

_OTHER: Final = "*"
_IGNORED: Final = "ignored"

# In a mask that has been read: where it says nothing, outside of it or by its own "no data". Lower
# than any code that a product has.
NO_CODE: Final = -(2**31)

_VALUES_SHOWN: Final = 8

NUBILA_CODES: Final = ";".join(f"{code}={name}" for code, name in CLASS_NAMES.items())


@dataclass(frozen=True)
class LabelCodes:
    """Mask codes and the set of classes that each allows (bits as in `classes.class_set`).

    Attributes:
        codes: in rising order.
        sets: for each code, the classes it allows.
        other: the classes that every other code allows; 0 = such pixels are ignored.
        names_other: whether ``*`` said so.
    """

    codes: tuple[int, ...]
    sets: tuple[int, ...]
    other: int = 0
    # No part of what tells one label from another: it changes no pixel.
    names_other: bool = field(default=False, repr=False, compare=False)

    @property
    def all_sets(self) -> tuple[int, ...]:
        """Every set that a label of these codes can hold, without the empty one."""
        return tuple(s for s in (*self.sets, self.other) if s)

    def apply(self, mask: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the set of allowed classes for each pixel of a mask, in the mask's shape.

        Args:
            mask: codes, of any integer type, bool, or float with whole numbers; `NO_CODE` and
                NaN are ignored, and ``*`` does not stand for them.
        """
        missing = _missing(mask)
        label = np.full(mask.shape, self.other, np.uint8)
        if self.codes:
            values = np.where(missing, 0, mask).astype(np.int64)
            codes = np.array(self.codes, np.int64)
            place = np.minimum(np.searchsorted(codes, values), len(codes) - 1)
            named = codes[place] == values
            label[named] = np.array(self.sets, np.uint8)[place[named]]
        label[missing] = 0
        return label

    def unnamed(self, mask: NDArray[Any]) -> dict[int, float]:
        """Return the values of a mask that no code names, each with its share of the pixels.

        Args:
            mask: as for `apply`.
        """
        if self.names_other:
            return {}
        found = mask[~(_missing(mask) | np.isin(mask, self.codes))]
        values, counts = np.unique(found, return_counts=True)
        return {int(v): int(n) / mask.size for v, n in zip(values, counts, strict=True)}


@lru_cache(maxsize=256)  # a collection repeats the same text in thousands of rows
def parse_codes(text: str) -> LabelCodes:
    """Read ``"64=cloud shadow;128=clear|snow|water;255=cloud"``; ``*`` stands for any other code.

    ``0=ignored`` names a code whose pixels have no label, so that it counts as known.

    Raises:
        ManifestError: an entry is not ``code=classes``, a code stands twice or is no whole
            number, or a class is unknown (the message suggests the nearest).
    """
    found: dict[int, int] = {}
    other, names_other = 0, False
    for entry in filter(None, (part.strip() for part in text.split(";"))):
        key, separator, names = entry.partition("=")
        if not separator or not names.strip():
            raise ManifestError(
                f"{entry!r} is not of the form code=class or code=class|class (such as "
                f"128=clear|snow|water)"
            )
        allowed = _classes(entry, names)
        if key.strip() == _OTHER:
            other, names_other = allowed, True
        elif (code := _code(entry, key)) in found:
            raise ManifestError(f"code {code} is given twice")
        else:
            found[code] = allowed
    if not any(found.values()) and not other:
        raise ManifestError("no code is given, so every pixel would be ignored")
    codes = tuple(sorted(found))
    return LabelCodes(codes, tuple(found[c] for c in codes), other, names_other)


def output_sets(classes: Mapping[str, Sequence[str]]) -> NDArray[np.uint8]:
    """Return the table from a label (a set of nubila's classes) to a set of a network's outputs.

    Args:
        classes: output name -> the classes that count as it, in the order of the outputs.

    Returns:
        (256,) uint8; bit k of entry s is set where the label s allows a class of output k.
    """
    labels = np.arange(256)
    sets = np.zeros(256, np.uint8)
    for output, members in enumerate(classes.values()):
        sets |= ((labels & class_set(members)) != 0).astype(np.uint8) << output
    return sets


def unnamed_told(masks: Sequence[Mapping[int, float]]) -> str:
    """Return what to say of values in masks that no code names; empty where there are none.

    Args:
        masks: of each mask, as `LabelCodes.unnamed` returns them.
    """
    held = [shares for shares in masks if shares]
    if not held:
        return ""
    values = sorted({value for shares in held for value in shares})
    mean = {v: sum(shares.get(v, 0.0) for shares in held) / len(held) for v in values}
    return (
        f"{len(held)} of {len(masks)} masks hold values that codes does not name, so that they are "
        f"ignored: {values_told(mean)} of their pixels. Name them in the column codes, or write "
        f"*=ignored there if that is meant"
    )


def values_told(shares: Mapping[int, float]) -> str:
    """Return ``"64 (20.5 %), 7 (< 0.1 %)"`` for values of masks and their shares, most first."""
    most = sorted(shares, key=lambda value: (-shares[value], value))
    told = ", ".join(f"{value} ({_percent(shares[value])})" for value in most[:_VALUES_SHOWN])
    return told + (f" and {len(most) - _VALUES_SHOWN} more" if len(most) > _VALUES_SHOWN else "")


def _percent(share: float) -> str:
    return "< 0.1 %" if share < 0.0005 else f"{100 * share:.1f} %"


def _missing(mask: NDArray[Any]) -> NDArray[np.bool_]:
    missing: NDArray[np.bool_]
    missing = ~np.isfinite(mask) if mask.dtype.kind == "f" else mask == NO_CODE
    return missing


def _classes(entry: str, names: str) -> int:
    if names.strip().lower() == _IGNORED:
        return 0
    try:
        return class_set(names.split("|"))
    except InputError as error:
        raise ManifestError(f"{error} in {entry!r}") from error


def _code(entry: str, key: str) -> int:
    try:
        return int(key)
    except ValueError as error:
        raise ManifestError(
            f"{key.strip()!r} in {entry!r} is no whole number; expected a code of the mask, or * "
            f"for every other"
        ) from error
