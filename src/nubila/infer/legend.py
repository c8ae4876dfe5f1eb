"""What the values of a mask file mean: our classes, two values, or another product's codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES, COLOURS, NO_DATA, Validity, class_code
from nubila.codes import code_scheme
from nubila.errors import InputError

__all__ = ["VALIDITY_LEGEND", "Entry", "Legend", "make_legend"]

# What a binary mask marks when not told: what hides or darkens the ground.
_OBSTRUCTED = ("cloud", "thin cloud", "cloud shadow")


@dataclass(frozen=True)
class Entry:
    """A value of a mask file: its name, its colour, and the class codes that it stands for."""

    value: int
    name: str
    colour: tuple[int, int, int]
    codes: tuple[int, ...]


@dataclass(frozen=True)
class Legend:
    """The values of a mask file.

    Attributes:
        entries: the values that have a meaning, no data left out.
        nodata: value of no data.
        dtype: of the file.
    """

    entries: tuple[Entry, ...]
    nodata: int = NO_DATA
    dtype: str = "uint8"

    def apply(self, classes: NDArray[np.uint8]) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """Return the file's values for class codes; what has no entry becomes no data."""
        if self == _PLAIN:
            return classes
        table = np.full(256, self.nodata, self.dtype)
        for entry in self.entries:
            table[list(entry.codes)] = entry.value
        found: NDArray[np.uint8] = table[classes]
        return found

    @property
    def colours(self) -> dict[int, tuple[int, int, int]]:
        """Value -> colour, for a palette; no data is black."""
        return {e.value: e.colour for e in self.entries} | {self.nodata: COLOURS[NO_DATA]}

    @property
    def names(self) -> dict[int, str]:
        """Value -> name."""
        return {e.value: e.name for e in self.entries}


def make_legend(
    *, classes: Sequence[str] = (), binary: bool = False, codes: str | None = None
) -> Legend:
    """Return the legend of a mask file.

    Args:
        classes: names of the classes to keep, the others being called clear; default all. With
            `binary`, the classes that are marked; default cloud, thin cloud and cloud shadow.
        binary: 1 for the marked classes, 0 for the others.
        codes: name of a scheme of `nubila.codes`.

    Raises:
        InputError: a name is unknown, or `binary` and `codes` are both asked for.
    """
    if binary and codes is not None:
        raise InputError("a binary mask has the values 0 and 1; leave either binary or codes out")
    kept = {class_code(name) for name in classes}
    if binary:
        return _binary_legend(kept or {class_code(name) for name in _OBSTRUCTED})
    groups = _groups(kept or set(CLASS_NAMES))
    if codes is None:
        return Legend(
            tuple(Entry(c, CLASS_NAMES[c], COLOURS[c], group) for c, group in groups.items())
        )
    return _code_legend(groups, codes)


def _groups(kept: set[int]) -> dict[int, tuple[int, ...]]:
    """Return each kept class code and the codes that are written as it."""
    others = tuple(code for code in CLASS_NAMES if code not in kept)
    groups = {0: tuple(dict.fromkeys((0, *others)))}
    return groups | {code: (code,) for code in CLASS_NAMES if code in kept and code != 0}


def _binary_legend(marked: set[int]) -> Legend:
    names = " or ".join(CLASS_NAMES[code] for code in sorted(marked))
    others = tuple(code for code in CLASS_NAMES if code not in marked)
    return Legend(
        (
            Entry(0, "other", COLOURS[0], others),
            Entry(1, names, COLOURS[1], tuple(sorted(marked))),
        )
    )


def _code_legend(groups: dict[int, tuple[int, ...]], name: str) -> Legend:
    scheme = code_scheme(name)
    entries: dict[int, Entry] = {}
    for code, group in groups.items():
        value = scheme.to[code]
        old = entries.get(value)
        if old is not None:
            entries[value] = Entry(value, old.name, old.colour, (*old.codes, *group))
        else:
            entries[value] = Entry(value, scheme.names[value], COLOURS[code], group)
    ordered = tuple(entries[value] for value in sorted(entries))
    return Legend(ordered, scheme.to[NO_DATA], scheme.dtype)


_PLAIN = make_legend()

VALIDITY_LEGEND = Legend(
    (
        Entry(int(Validity.VALID), "valid", (0, 120, 80), ()),
        Entry(int(Validity.SATURATED), "saturated", (213, 94, 0), ()),
        Entry(int(Validity.NOT_JUDGED), "not judged", (204, 121, 167), ()),
    ),
    nodata=int(Validity.NO_DATA),
)
