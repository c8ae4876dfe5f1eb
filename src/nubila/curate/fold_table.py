"""From a manifest to a manifest with folds, and the report of how even they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import CLOUD_CODES
from nubila.curate.folds import Column, deal_folds, join_groups, unevenness
from nubila.datasets.row import Row
from nubila.datasets.sample import mask_codes
from nubila.errors import InputError, nearest
from nubila.evaluate.strata import measured, range_of

__all__ = ["DERIVED", "Folds", "make_folds"]

Cells = Mapping[str, str]
Table = tuple[str, Sequence[tuple[int, Cells]]]

# Columns that are worked out where the manifest does not have them.
DERIVED: Final = ("location", "year", "month", "hour", "cloud_cover")
# More different numbers than this are cut into ranges of as many samples each.
_MEASURED: Final = 8
_RANGES: Final = 4
_DEALS: Final = 20

_CLOUD_BITS: Final = sum(1 << code for code in CLOUD_CODES)


@dataclass(frozen=True)
class Folds:
    """The rows of a manifest with a column ``fold``, and how even the folds are.

    Attributes:
        rows: of the whole manifest; ``fold`` is empty for those that stay out.
        report: ``{"samples": [...], "columns": {name: {"unevenness": ..., "at_random": ...,
            "counts": {value: [by fold]}}}, ...}``
        pool: the rows of the pool in order, each with its ``fold``.
    """

    rows: tuple[dict[str, str], ...]
    report: dict[str, Any]
    pool: tuple[dict[str, str], ...] = ()


def make_folds(
    source: str,
    rows: Sequence[tuple[int, Cells]],
    base: Path,
    count: int,
    *,
    by: Sequence[str] | None = None,
    together: Sequence[str] = ("group",),
    apart: Sequence[str] = ("test",),
    pool: Sequence[Table] = (),
    seed: int = 0,
) -> Folds:
    """Deal the rows of a manifest out to folds.

    Rows of a pool count for nothing in how even the folds are; each gets the fold of the rows that
    it is kept together with, else the one that has the fewest rows.

    Args:
        source: of the rows, for messages.
        rows: line and cells of each row, as `datasets.manifest.manifest_rows` gives them.
        base: what paths are relative to.
        count: number of folds.
        by: columns to be even in, of the manifest or of `DERIVED`; default all of `DERIVED` that
            there are.
        together: columns whose values stay in one fold; empty for none.
        apart: splits whose rows get no fold.
        pool: tables of images without a label, each as its name and its rows.
        seed: of the order in which equals are taken.

    Raises:
        InputError: there is no such column, one to keep together has no values, or there are fewer
            groups than folds, no row is left, or rows that are to stay in one fold, of the pool
            too, are in a split that gets none.
        ManifestError: a mask cannot be read for its cloud cover.
        MissingExtraError: iterative-stratification is not installed.
    """
    taken = [(line, cells) for line, cells in rows if cells.get("split", "") not in apart]
    if not taken:
        raise InputError(
            f"{source}: none of its {len(rows)} rows is left to be dealt out; their splits, "
            f"{', '.join(sorted(set(apart)))}, are all left out"
        )
    _check_apart(source, rows, together, apart, pool)
    columns = _columns(source, taken, base, by)
    joined = _joined(source, taken, together, pool)
    # A row of the pool may join two groups of the manifest, so that it has to be there now.
    _, groups = np.unique(joined[: len(taken)], return_inverse=True)
    folds = deal_folds(columns, groups.tolist(), count, seed=seed)
    numbers = iter(folds.tolist())
    chosen = [cells.get("split", "") not in apart for _, cells in rows]
    found = tuple(
        dict(cells) | {"fold": str(next(numbers)) if inside else ""}
        for (_, cells), inside in zip(rows, chosen, strict=True)
    )
    report = {
        "manifest": source,
        "folds": count,
        "seed": seed,
        "together": list(together),
        "left_out": len(rows) - len(taken),
        "groups": int(groups.max()) + 1,
        "largest_group": int(np.bincount(groups).max()),
        "samples": np.bincount(folds, minlength=count).tolist(),
        "columns": {c.name: _evenness(c, folds, groups, count) for c in columns},
    }
    return Folds(found, report, _pooled(pool, joined, folds, count))


def _check_apart(
    source: str,
    rows: Sequence[tuple[int, Cells]],
    together: Sequence[str],
    apart: Sequence[str],
    pool: Sequence[Table],
) -> None:
    """Raise if rows that are to stay together are in and out of the folds."""
    for name in together:
        inside: dict[str, str] = {}
        outside = []
        for (line, cells), value in zip(rows, _values(source, name, rows), strict=True):
            if (split := cells.get("split", "")) in apart:
                outside.append((line, split, value))
            elif value:
                inside.setdefault(value, f"on line {line}")
        for table, waiting in pool:
            for (line, _), value in zip(waiting, _values(table, name, waiting), strict=True):
                if value:
                    inside.setdefault(value, f"on line {line} of the pool, {table},")
        for line, split, value in outside:
            if value in inside:
                raise InputError(
                    f"{source}: line {line}: {name} {value!r} is in the split {split!r}, which "
                    f"gets no fold, and {inside[value]} in one that does; give all its rows one "
                    f"split"
                )


def _joined(
    source: str, rows: Sequence[tuple[int, Cells]], together: Sequence[str], pool: Sequence[Table]
) -> NDArray[np.intp]:
    """Return the group of each row, then of each of the pool."""
    if not together:
        return np.arange(len(rows) + sum(len(waiting) for _, waiting in pool))
    columns = []
    for name in together:
        of_pool = [value for table, waiting in pool for value in _values(table, name, waiting)]
        columns.append([*_shared(source, name, rows), *of_pool])
    return join_groups(columns)


def _pooled(
    pool: Sequence[Table], joined: NDArray[np.intp], folds: NDArray[np.intp], count: int
) -> tuple[dict[str, str], ...]:
    """Return the rows of a pool, each with its group's fold or the one that has the fewest rows."""
    dealt = dict(zip(joined[: len(folds)].tolist(), folds.tolist(), strict=True))
    sizes = np.bincount(folds, minlength=count)
    waiting = [cells for _, table in pool for _, cells in table]
    found = []
    for group, cells in zip(joined[len(folds) :].tolist(), waiting, strict=True):
        fold = dealt.setdefault(group, int(sizes.argmin()))
        sizes[fold] += 1
        found.append({**cells, "fold": str(fold)})
    return tuple(found)


def _evenness(
    column: Column, folds: NDArray[np.intp], groups: NDArray[np.intp], count: int
) -> dict[str, Any]:
    """Return a column's unevenness, that of groups dealt out at random, and counts by value."""
    random = np.random.default_rng(0)
    number = int(groups.max()) + 1
    deals = [random.permutation(np.arange(number) % count)[groups] for _ in range(_DEALS)]
    at_random = float(np.mean([unevenness(column, deal, count) for deal in deals]))
    values = np.array(column.values)
    return {
        "unevenness": round(unevenness(column, folds, count), 4),
        "at_random": round(at_random, 4),
        "counts": {
            kind: np.bincount(folds[values == kind], minlength=count).tolist()
            for kind in column.kinds
        },
    }


def _columns(
    source: str, rows: Sequence[tuple[int, Cells]], base: Path, by: Sequence[str] | None
) -> list[Column]:
    found = []
    for name in DERIVED if by is None else by:
        values = _values(source, name, rows, base, needed=by is not None)
        if len(set(values) - {""}) > 1:
            found.append(Column(name, tuple(_ranges(values))))
    return found


def _shared(source: str, name: str, rows: Sequence[tuple[int, Cells]]) -> list[str]:
    """Return the values of a column whose rows are kept together."""
    values = _values(source, name, rows)
    if rows and name != "group" and not any(values):  # without a group, each image is one
        raise InputError(
            f"{source}: nothing to keep together by {name!r}: no row has a value of it"
            + (" (it is the column 'place')" if name == "location" else "")
        )
    return values


def _values(
    source: str,
    name: str,
    rows: Sequence[tuple[int, Cells]],
    base: Path | None = None,
    *,
    needed: bool = True,
) -> list[str]:
    """Return the values of a column of the manifest, or of one derived."""
    known = list(dict.fromkeys(column for _, cells in rows for column in cells))
    if name in known:
        return [cells.get(name, "") for _, cells in rows]
    if name == "group":
        return [""] * len(rows)  # each image is a group of its own
    if name == "cloud_cover" and base is not None:
        return [_cloud_cover(source, line, cells, base) for line, cells in rows]
    if name in _DERIVE:
        return [_DERIVE[name](cells) for _, cells in rows]
    if not needed:
        return [""] * len(rows)
    raise InputError(
        f"{source}: no column {name!r}{nearest(name, [*known, *DERIVED])} (found: "
        f"{', '.join(known)}; worked out: {', '.join(DERIVED)})"
    )


def _cloud_cover(source: str, line: int, cells: Cells, base: Path) -> str:
    """Return the share of a mask's labelled pixels that are cloud and nothing else."""
    spec = Row(source, line, cells).spec(base)
    label = spec.codes.apply(mask_codes(spec))
    labelled = np.count_nonzero(label)
    cloud = np.count_nonzero((label != 0) & (label & ~np.uint8(_CLOUD_BITS) == 0))
    return f"{cloud / labelled:.6f}" if labelled else ""


def _moment(cells: Cells) -> datetime | None:
    for name in ("datetime", "date", "time"):
        try:
            return datetime.fromisoformat(cells.get(name, "").strip())
        except ValueError:
            continue
    return None


def _hour(cells: Cells) -> str:
    """Return the hour, where a column says the time of day too."""
    for name in ("datetime", "date", "time"):
        if found := re.search(r"(?:[T ]|^)(\d\d):\d\d", cells.get(name, "").strip()):
            return found[1]
    return ""


_DERIVE: Final[Mapping[str, Callable[[Cells], str]]] = {
    "location": lambda cells: cells.get("place", ""),
    "year": lambda cells: str(moment.year) if (moment := _moment(cells)) else "",
    "month": lambda cells: f"{moment.month:02d}" if (moment := _moment(cells)) else "",
    "hour": _hour,
}


def _ranges(values: Sequence[str]) -> list[str]:
    """Return values as they are, or the range of each where they are measurements."""
    numbers = {value: measured(value) for value in set(values) if value}
    known = [number for number in numbers.values() if number is not None]
    if len(known) < len(numbers) or len(set(known)) <= _MEASURED:
        return list(values)
    every = [number for value in values if (number := numbers.get(value)) is not None]
    edges = np.unique(np.percentile(every, np.linspace(0, 100, _RANGES + 1)))
    return ["" if (n := numbers.get(v)) is None else range_of(n, edges.tolist()) for v in values]
