"""Strata: samples that a column of the manifest puts together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Final

import numpy as np

from nubila.datasets import SampleSpec
from nubila.errors import InputError, nearest
from nubila.evaluate.tally import SampleTally

__all__ = ["check_columns", "measured", "range_of", "strata", "tags_of"]

# A column with more values than this describes images, not strata, unless it is asked for.
_MOST_VALUES: Final = 24
# So many different numbers are a measurement, which is cut into ranges.
_MEASURED: Final = 9
# Digits that tell any two floats apart.
_EXACT: Final = 17
_MONTHS: Final = ("Dec to Feb", "Mar to May", "Jun to Aug", "Sep to Nov")


def tags_of(spec: SampleSpec) -> dict[str, str]:
    """Return what a sample can be scored by: sensor, level, and the manifest's further columns.

    A tag that holds a date gives ``months`` too: Mar to May and so on.
    """
    tags = {"sensor": spec.sensor, "level": spec.level, "split": spec.split, **spec.tags}
    for value in spec.tags.values():
        if "months" not in tags and (month := _month(value)):
            tags["months"] = _MONTHS[month % 12 // 3]
    return tags


def strata(
    samples: Sequence[SampleTally], columns: Iterable[str] | None = None
) -> dict[str, dict[str, list[SampleTally]]]:
    """Return samples by the values of columns, folders first; empty values are left out.

    Numbers are cut into ranges: elevations of the sun every 10 degrees, others at their quartiles.

    Args:
        samples: all of them.
        columns: names; default every column that has at least two values, no more than 24, and
            on average two scenes or more for each.

    Returns:
        Column -> value -> samples.

    Raises:
        InputError: there is no such column.
    """
    found = {"folder": _grouped(samples, [s.folder for s in samples])}
    scenes = len({s.scene for s in samples})
    known = _known_columns([s.tags for s in samples], columns or ())
    for name in known if columns is None else columns:
        if name == "folder":
            continue
        groups = _grouped(samples, _ranges(name, [s.tags.get(name, "") for s in samples]))
        groups = dict(sorted(groups.items(), key=lambda group: _order(group[0])))
        if columns is not None or 2 <= len(groups) <= min(_MOST_VALUES, scenes / 2):
            found[name] = groups
    return found


def check_columns(specs: Sequence[SampleSpec], columns: Iterable[str]) -> None:
    """Raise, before anything is scored, if samples cannot be put in order by columns.

    Raises:
        InputError: there is no such column.
    """
    _known_columns([tags_of(spec) for spec in specs], columns)


def _known_columns(tags: Sequence[Mapping[str, str]], asked: Iterable[str]) -> list[str]:
    known = list(dict.fromkeys(name for one in tags for name in one))
    for name in asked:
        if name not in ("folder", *known):
            raise InputError(
                f"column {name!r}: no sample has it{nearest(name, known)} (known: "
                f"folder, {', '.join(known)})"
            )
    return known


def _grouped(samples: Sequence[SampleTally], values: Sequence[str]) -> dict[str, list[SampleTally]]:
    groups: dict[str, list[SampleTally]] = {}
    for sample, value in zip(samples, values, strict=True):
        if value:
            groups.setdefault(value, []).append(sample)
    return groups


def _ranges(name: str, values: Sequence[str]) -> list[str]:
    """Return values as they are, or the range of each where they are measurements."""
    numbers = [measured(value) for value in values]
    known = sorted({n for n in numbers if n is not None})
    if len(known) < _MEASURED or any(n is None and v for n, v in zip(numbers, values, strict=True)):
        return list(values)
    if "sun" in name and "elev" in name:
        edges = [10.0 * n for n in range(math.floor(known[0] / 10), math.floor(known[-1] / 10) + 2)]
    else:
        stated = [n for n in numbers if n is not None]
        edges = sorted(set(np.percentile(stated, [0, 25, 50, 75, 100]).tolist()))
    return ["" if n is None else range_of(n, edges) for n in numbers]


def range_of(number: float, edges: Sequence[float]) -> str:
    """Return in words which of the ranges between rising edges a number is in.

    Edges have as many digits as tell them apart, so that no two ranges go by one name.
    """
    place = min(max(int(np.searchsorted(edges, number, "right")) - 1, 0), len(edges) - 2)
    names = _names(edges)
    return f"{names[place]} to {names[place + 1]}"


def _names(edges: Sequence[float]) -> list[str]:
    """Return different numbers as different texts: their whole part, and four digits or more."""
    whole = len(str(int(max(map(abs, edges)))))
    digits = range(min(max(4, whole), _EXACT), _EXACT + 1)
    choices = ([f"{edge:.{count}g}" for edge in edges] for count in digits)
    return next(names for names in choices if len(set(names)) == len(edges))


def measured(text: str) -> float | None:
    """Return a cell of a manifest as a number, None where it is none or not finite."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _month(text: str) -> int | None:
    try:
        return date.fromisoformat(text[:10]).month if len(text) >= 10 else None
    except ValueError:
        return None


def _order(value: str) -> tuple[float, str]:
    """Return what sorts values: months as the year goes, numbers and ranges by size, words."""
    if value in _MONTHS:
        return _MONTHS.index(value), ""
    number = measured(value.split(" to ")[0])
    return (math.inf if number is None else number), value
