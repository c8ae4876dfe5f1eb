"""What a tile store is made of: tiling, bands and the samples' files, as a text and as a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from nubila.datasets import SampleSpec
from nubila.datasets.content import content_hash
from nubila.errors import ManifestError
from nubila.tiles.cut import TilingPlan
from nubila.tiles.split import assign_splits

__all__ = [
    "BY_CONTENT",
    "listing",
    "made_of",
    "sample_date",
    "samples_of_tiling",
    "tiling_text",
]

# How files become tiles: raise it when the same files give others. 2: what no reflective band saw,
# or where a mask says that it has no data, has no label.
_RULES: Final = 2

# How a hash of labels by content begins: those of older stores are by the sizes of masks.
BY_CONTENT: Final = "sha256:"

# Of a row, what makes its pixels and labels.
_SAID: Final = (
    *("id", "images", "mask", "bands", "scale", "offset", "nodata", "codes", "group"),
    *("resolution", "auxiliary", "coverage", "corner"),
)

_FIELDS: Final = (
    *("size", "overlap", "resolution", "least_valid", "least_share", "windows", "dates"),
    *("splits", "seed"),
)


def tiling_text(tiling: TilingPlan) -> dict[str, Any]:
    """Return a tiling as JSON knows it."""
    values = ((name, getattr(tiling, name)) for name in _FIELDS)
    return {
        name: dict(v) if isinstance(v, Mapping) else list(v) if isinstance(v, tuple) else v
        for name, v in values
    }


def made_of(
    specs: Sequence[SampleSpec],
    tiling: TilingPlan,
    bands: Sequence[str],
    required: Sequence[str],
) -> str:
    """Return a hash that changes when the tiles of a store would.

    A file counts by its name, size and time of change, so that looking at thousands of them takes
    no longer than listing them; where they lie does not count.
    """
    found = hashlib.sha256()
    named = {"bands": list(bands), "required": list(required)}
    head = {"tiling": tiling_text(tiling), **named, "rules": _RULES}
    found.update(json.dumps(head, sort_keys=True).encode())
    for spec in specs:
        found.update(_spec_text(spec).encode())
    return found.hexdigest()


def listing(specs: Sequence[SampleSpec], splits: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return what tells whether samples and labels of a split are those that they were.

    Unlike `made_of` it leaves out what changes without them: times of files, further columns of
    the table, samples of other splits, the order of rows.

    Args:
        specs: the samples.
        splits: of each.

    Returns:
        Split -> hash of what the rows say, and the same with the contents of masks, which begins
        with `BY_CONTENT`; the latter is empty where a mask is not at hand.
    """
    by_split: dict[str, list[tuple[str, list[str | None]]]] = {}
    for spec, split in zip(specs, splits, strict=True):
        said = {name: getattr(spec, name) for name in _SAID}
        text = json.dumps(said, sort_keys=True, default=_named)
        masks = [path for path in (spec.mask, spec.coverage) if path is not None]
        by_split.setdefault(split, []).append((text, [content_hash(path) for path in masks]))
    found = {}
    for split, rows in by_split.items():
        rows.sort(key=lambda row: row[0])
        absent = any(None in contents for _, contents in rows)
        found[split] = (
            _hash([text for text, _ in rows]),
            "" if absent else BY_CONTENT + _hash(rows),
        )
    return found


def samples_of_tiling(
    specs: Sequence[SampleSpec], tiling: TilingPlan
) -> tuple[tuple[SampleSpec, ...], tuple[str, ...]]:
    """Return the samples that a tiling cuts, and the split of each.

    Raises:
        ManifestError: there is none, or a group is in two splits.
    """
    chosen = _of_dates(specs, tiling.dates)
    # Dealt out among all: evaluation, which is of all dates, has to find a group where it was.
    every = zip(specs, assign_splits(specs, tiling.splits, seed=tiling.seed), strict=True)
    dealt = {spec.group: split for spec, split in every}
    return chosen, tuple(dealt[spec.group] for spec in chosen)


def sample_date(spec: SampleSpec) -> str:
    """Return a sample's date as YYYY-MM-DD from its tag ``date`` or ``datetime``, or ``""``."""
    text = spec.tags.get("date") or spec.tags.get("datetime") or ""
    return text[:10]


def _of_dates(specs: Sequence[SampleSpec], dates: Sequence[str]) -> tuple[SampleSpec, ...]:
    if not specs:
        raise ManifestError("there is no sample to cut")
    if not dates:
        return tuple(specs)
    chosen = tuple(spec for spec in specs if sample_date(spec) in dates)
    if not chosen:
        known = sorted({sample_date(spec) for spec in specs})
        raise ManifestError(
            f"no sample is of tiling.dates {', '.join(dates)} (found: "
            f"{', '.join(filter(None, known[:12])) or 'no date at all'}); the date is read from "
            f"the column 'date' or 'datetime' of the manifest"
        )
    return chosen


def _spec_text(spec: SampleSpec) -> str:
    # Line and manifest are left out: they say where a sample is listed, not what it is.
    values = {k: v for k, v in vars(spec).items() if k not in ("manifest", "line")}
    return json.dumps(values, sort_keys=True, default=_plain)


def _hash(values: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _named(value: Any) -> Any:  # noqa: ANN401 (whatever a spec holds)
    if isinstance(value, Path):
        return value.name
    return dict(value) if isinstance(value, Mapping) else repr(value)


def _plain(value: Any) -> Any:  # noqa: ANN401 (whatever a spec holds)
    if isinstance(value, Path):
        there = value.stat() if value.exists() else None
        return [value.name, there.st_size, there.st_mtime_ns] if there else [value.name]
    if isinstance(value, Mapping):
        return dict(value)
    return repr(value)
