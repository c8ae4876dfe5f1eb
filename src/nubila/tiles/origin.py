"""What a tile store is made of: tiling, bands and the samples' files, as a text and as a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from nubila.datasets import SampleSpec
from nubila.errors import ManifestError
from nubila.tiles.cut import TilingPlan

__all__ = ["made_of", "of_dates", "sample_date", "tiling_text"]

# How files become tiles: raise it when the same files give others. 2: what no reflective band saw,
# or where a mask says that it has no data, has no label.
_RULES: Final = 2

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


def sample_date(spec: SampleSpec) -> str:
    """Return a sample's date as YYYY-MM-DD from its tag ``date`` or ``datetime``, or ``""``."""
    text = spec.tags.get("date") or spec.tags.get("datetime") or ""
    return text[:10]


def of_dates(specs: Sequence[SampleSpec], dates: Sequence[str]) -> tuple[SampleSpec, ...]:
    """Return the samples of some dates; all of them where no date is named.

    Raises:
        ManifestError: there is none.
    """
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


def _plain(value: Any) -> Any:  # noqa: ANN401 (whatever a spec holds)
    if isinstance(value, Path):
        there = value.stat() if value.exists() else None
        return [value.name, there.st_size, there.st_mtime_ns] if there else [value.name]
    if isinstance(value, Mapping):
        return dict(value)
    return repr(value)
