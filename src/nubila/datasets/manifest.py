"""Manifests: labelled images of any origin, listed in a table.

A table is a CSV or Parquet file, GeoJSON, or a STAC item collection (`tables.read_table` says what
of them is read). One row an image, with the columns

========== ========================================================== =========================
column     holds                                                      where empty or absent
========== ========================================================== =========================
image      path; several joined by ``;`` where a band is a file; or   needed
           a product (SAFE, zip, tar, MTL), which says itself how
           its counts become reflectance
mask       path of the label mask                                     needed, but where a step
                                                                      makes labels
bands      common names in file order, joined by ``;`` or ``,``;      needed
           ``-`` for a band to leave out; of a product, the names
           to read
scale      reflectance = value x scale + offset: one number, or one   1
offset     a band or a file joined by ``;``                           0
nodata     value without data: one, or one a band or a file           what the file itself says
codes      ``64=cloud shadow;128=clear|snow|water;0=ignored``;        nubila's own class codes
           ``*=...`` for any other code; codes not named are ignored,
           and so is the mask's own nodata unless it is named
sensor     for the record                                             ``unknown``
level      for the record                                             ``""``
split      ``train``, ``validation``, ``test`` ...                    ``""``
group      scene or place: never in two splits, scored as one scene   the image's path
resolution metres; where the image has no georeference, and at which  the product's own
           a product is read
auxiliary  of a product: ``elevation=dem.tif``, on any grid; several  none
           joined by ``;``
coverage   path of a raster that is 0 where the mask says nothing     none
corner     ``row;column`` in the mask of the image's first pixel      image and mask agree
========== ========================================================== =========================

Paths are relative to the table, or to a root given by the caller. Any other column is kept as a
tag; ``date`` and ``place`` are the ones that nubila's own collections fill. ``synthetic`` is 1
where ``nubila data generate`` made image and label, and ``judged`` is filled where detectors made
the label: cards do not count these as drawn by people.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nubila.datasets.row import COLUMNS, NEEDED, Row
from nubila.datasets.spec import LEFT_OUT, SampleSpec
from nubila.datasets.tables import read_table, write_table
from nubila.errors import ManifestError, nearest

__all__ = [
    "LEFT_OUT",
    "SampleSpec",
    "check_specs",
    "manifest_rows",
    "read_manifest",
    "select_split",
    "write_manifest",
]


def read_manifest(
    path: str | Path,
    *,
    root: str | Path | None = None,
    split: str | None = None,
    unlabelled: bool = False,
    present: bool = True,
) -> tuple[SampleSpec, ...]:
    """Read a manifest and check it; pixels are read later, by `datasets.load_sample`.

    Args:
        path: CSV, Parquet, GeoJSON or a STAC item collection.
        root: folder that paths are relative to; default the manifest's own.
        split: keep only the rows of this split.
        unlabelled: take rows without a mask too.
        present: whether a file that is absent is an error.

    Raises:
        ManifestError: with line, column, value and what was expected: a needed column is absent or
            one is misspelt, a band or class is unknown, a number is none, a file is absent, an
            image stands twice, a group stands in two splits, or no row is left.
        MissingExtraError: Parquet without pyarrow.
    """
    path = Path(path)
    base = Path(root) if root is not None else path.parent
    specs = tuple(
        Row(str(path), line, cells, strict=present, unlabelled=unlabelled).spec(base)
        for line, cells in manifest_rows(path)
    )
    check_specs(specs)
    return specs if split is None else select_split(str(path), specs, split)


def manifest_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return line (or number) and cells of each row of a manifest, its header checked.

    Raises:
        ManifestError: it cannot be read, a column is misspelt or absent, or there is no row.
    """
    columns, rows = read_table(path)
    _check_header(path, columns)
    if not rows:
        raise ManifestError(f"{path}: there is no row below the header")
    return [(line, dict(zip(columns, cells, strict=True))) for line, cells in rows]


def write_manifest(path: str | Path, rows: Iterable[Mapping[str, str]]) -> None:
    """Write rows of text, as a layout of a collection gives them, so that they can be edited.

    Args:
        path: its suffix says what is written: ``.csv``, ``.parquet`` or ``.geojson``.
        rows: column -> text.

    Raises:
        MissingExtraError: Parquet without pyarrow.
        OutputError: the suffix is unknown, or the file cannot be written.
    """
    write_table(Path(path), list(rows))


def check_specs(specs: Sequence[SampleSpec]) -> None:
    """Hold samples to what must be so of all of them together.

    Raises:
        ManifestError: an image stands twice, or a group stands in two splits.
    """
    _check_duplicates(specs)
    _check_groups(specs)


def select_split(name: str, specs: Sequence[SampleSpec], split: str) -> tuple[SampleSpec, ...]:
    """Return the samples of a split.

    Raises:
        ManifestError: there are none; the message names the splits that there are.
    """
    chosen = tuple(spec for spec in specs if spec.split == split)
    if not chosen:
        known = sorted({spec.split for spec in specs if spec.split})
        advice = "" if known else "; fill in the column split, or use nubila folds and train --fold"
        raise ManifestError(
            f"{name}: no row has split {split!r}{nearest(split, known)} (found: "
            f"{', '.join(known) or 'no split at all'}){advice}"
        )
    return chosen


def _check_header(path: Path, header: Sequence[str]) -> None:
    absent = [name for name in COLUMNS if name not in header]
    for name in header:
        if header.count(name) > 1:
            raise ManifestError(f"{path}: line 1: column {name!r} stands twice")
        if name not in COLUMNS and (near := difflib.get_close_matches(name, absent, 1, 0.75)):
            raise ManifestError(
                f"{path}: line 1: unknown column {name!r}; did you mean {near[0]!r}?"
            )
    for name in absent:
        if name in NEEDED:
            raise ManifestError(
                f"{path}: line 1: column {name!r} is missing{nearest(name, header)} (found: "
                f"{', '.join(header) or 'nothing'}; needed: {', '.join(NEEDED)})"
            )


def _check_duplicates(specs: Sequence[SampleSpec]) -> None:
    seen: dict[tuple[Path, ...], SampleSpec] = {}
    named: dict[str, SampleSpec] = {}
    for spec in specs:
        if (first := seen.setdefault(spec.images, spec)) is not spec:
            raise spec.error("image", f"{spec.id!r} stands on line {first.line} already")
        # Predictions, labels and scores are kept by the name, which has no suffix.
        if (first := named.setdefault(spec.id, spec)) is not spec:
            place = f"on line {first.line}" if first.line else f"of {first.images[-1]}"
            remedy = (
                "put a file first that is this sample's alone"
                if first.images[0] == spec.images[0]
                else "rename one of them"
            )
            raise spec.error(
                "image",
                f"{spec.images[0].name} would be called {spec.id!r}, as the sample {place} is; "
                f"{remedy}",
            )


def _check_groups(specs: Sequence[SampleSpec]) -> None:
    splits: dict[str, dict[str, SampleSpec]] = defaultdict(dict)
    for spec in specs:
        if not spec.split:
            continue
        known = splits[spec.group]
        known.setdefault(spec.split, spec)
        if len(known) > 1:
            split, first = next(iter(known.items()))
            place = f"on line {first.line}" if first.line else f"of {first.id}"
            raise spec.error(
                "group",
                f"{spec.group!r} is in split {spec.split!r} here and in {split!r} {place}: "
                f"scores would leak from one to the other. Give all its rows one split.",
            )
