"""What is to be looked through, in which order: a manifest, or what a table ranks of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from nubila.datasets import SampleSpec
from nubila.datasets.tables import read_table
from nubila.errors import ManifestError, nearest

__all__ = ["Item", "read_items"]

_NAMES: Final = ("id", "sample")
_REASONS: Final = ("reason", "reasons")


@dataclass(frozen=True)
class Item:
    """A sample that is to be looked at.

    Attributes:
        spec: the sample.
        score: as the ranking has it, or None.
        reason: why it was ranked so, or ``""``.
    """

    spec: SampleSpec
    score: float | None = None
    reason: str = ""


def read_items(specs: Sequence[SampleSpec], ranking: Path | None = None) -> tuple[Item, ...]:
    """Return samples in the order of a ranking, or in their own without one.

    A ranking is a table with the column ``id`` (or ``sample``), and ``score`` and ``reason`` where
    it has them, best first. Of a sample with several rows the first place counts and the reasons
    are joined. Samples that it does not name are not looked at.

    Args:
        specs: of the manifest.
        ranking: CSV or Parquet, as `nubila audit` writes it.

    Raises:
        ManifestError: the table cannot be read, names no sample, names one that the manifest does
            not have, or a score is no number.
        MissingExtraError: Parquet without pyarrow.
    """
    if ranking is None:
        return tuple(Item(spec) for spec in specs)
    columns, rows = read_table(ranking)
    place = _column(columns, _NAMES)
    if place is None or not rows:
        found = ", ".join(columns) or "nothing"
        raise ManifestError(
            f"{ranking}: expected a table with a column {' or '.join(_NAMES)} and at least one row "
            f"(columns: {found}); nubila audit writes such a table"
        )
    known = {spec.id: spec for spec in specs}
    score, reason = _column(columns, ("score",)), _column(columns, _REASONS)
    items: dict[str, Item] = {}
    for line, cells in rows:
        name = cells[place]
        if name not in known:
            raise ManifestError(
                f"{ranking}: line {line}: sample {name!r} is not in the manifest"
                f"{nearest(name, known)}; give the manifest that was ranked"
            )
        new = Item(
            known[name],
            None if score is None else _number(ranking, line, cells[score]),
            "" if reason is None else cells[reason],
        )
        items[name] = _joined(items[name], new) if name in items else new
    return tuple(items.values())


def _column(columns: Sequence[str], names: Sequence[str]) -> int | None:
    return next((columns.index(name) for name in names if name in columns), None)


def _number(ranking: Path, line: int, text: str) -> float | None:
    try:
        value = float(text) if text else math.nan
    except ValueError as error:
        raise ManifestError(f"{ranking}: line {line}: score {text!r} is no number") from error
    return value if math.isfinite(value) else None


def _joined(first: Item, second: Item) -> Item:
    if not second.reason or second.reason in first.reason.split("; "):
        return first
    return replace(first, reason="; ".join(filter(None, (first.reason, second.reason))))
