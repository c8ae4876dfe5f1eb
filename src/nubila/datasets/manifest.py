"""Manifests: labelled images of any origin, listed in a CSV file.

One row an image, with the columns

======== ============================================================ ==========================
column   holds                                                        where empty or absent
======== ============================================================ ==========================
image    path; several joined by ``;`` where a band is a file         needed
mask     path of the label mask                                       needed
bands    common names in file order, joined by ``;`` or ``,``;        needed
         ``-`` for a band to leave out
scale    reflectance = value x scale + offset: one number, or one     1
offset   a band or a file joined by ``;``                             0
nodata   value without data: one, or one a band or a file             what the file itself says
codes    ``64=cloud shadow;128=clear|snow|water``; ``*=...`` for any  nubila's own class codes
         other code; codes not named are ignored
sensor   for the record                                               ``unknown``
level    for the record                                               ``""``
split    ``train``, ``validation``, ``test`` ...                      ``""``
group    scene or place: never in two splits, scored as one scene     the image's path
======== ============================================================ ==========================

Paths are relative to the CSV, or to a root given by the caller. Any other column is kept as a
tag; ``resolution`` (metres) is used where the image has no georeference.
"""

from __future__ import annotations

import csv
import difflib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

from nubila.bands import band_name
from nubila.datasets.codes import NUBILA_CODES, LabelCodes, parse_codes
from nubila.errors import BandError, ManifestError, nearest

__all__ = ["LEFT_OUT", "SampleSpec", "read_manifest"]

LEFT_OUT: Final = "-"

_NEEDED: Final = ("image", "mask", "bands")
_COLUMNS: Final = (
    *_NEEDED,
    *("scale", "offset", "nodata", "codes", "sensor", "level", "split", "group"),
)
# What stands in a list of bands for one without a common name.
_PLACEHOLDERS: Final = frozenset({LEFT_OUT, "_", "?", "none", "other", "unknown", "unused"})
# Common names of the STAC electro-optical extension that no sensor of nubila's has, and
# temperatures, which are no reflectance.
_UNUSED: Final = frozenset({"yellow", "green05", "lwir", "lwir11", "lwir12"})


@dataclass(frozen=True)
class SampleSpec:
    """A row of a manifest, checked but with no pixels read; `datasets.load_sample` reads them.

    Attributes:
        manifest: path of the CSV, and `line` the row's line in it, for error messages.
        id: the image's path as written, without suffix; unique in a manifest.
        folder: first part of the image's path as written, ``"."`` for a bare file name.
        images: one file, or one or more bands each.
        mask: the label mask.
        bands: common names in file order, ``"-"`` for a band that is left out.
        scale, offset, nodata: one value, or one a file, or one a band; `nodata` is empty for what
            the file itself says.
        codes: what the mask's codes stand for.
        resolution: metres as given in the column of that name, or None.
        tags: columns that nubila gives no meaning.
    """

    manifest: str
    line: int
    id: str
    folder: str
    images: tuple[Path, ...]
    mask: Path
    bands: tuple[str, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    nodata: tuple[float, ...]
    codes: LabelCodes
    sensor: str
    level: str
    split: str
    group: str
    resolution: float | None
    tags: Mapping[str, str]

    def error(self, column: str, message: str) -> ManifestError:
        """Return an error that says where in the manifest the trouble lies."""
        return _located(self.manifest, self.line, column, message)


def read_manifest(
    csv_path: str | Path, *, root: str | Path | None = None, split: str | None = None
) -> tuple[SampleSpec, ...]:
    """Read a manifest and check it; pixels are read later, by `datasets.load_sample`.

    Args:
        csv_path: the CSV file.
        root: folder that paths are relative to; default the CSV's own.
        split: keep only the rows of this split.

    Raises:
        ManifestError: with line, column, value and what was expected: a needed column is absent or
            one is misspelt, a band or class is unknown, a number is none, a file is absent, an
            image stands twice, a group stands in two splits, or no row is left.
    """
    path = Path(csv_path)
    base = Path(root) if root is not None else path.parent
    specs = tuple(_Row(path, line, cells).spec(base) for line, cells in _read_rows(path))
    if not specs:
        raise ManifestError(f"{path}: there is no row below the header")
    _check_duplicates(specs)
    _check_groups(specs)
    return specs if split is None else _select(path, specs, split)


def _located(path: str | Path, line: int, column: str, message: str) -> ManifestError:
    return ManifestError(f"{path}: line {line}, column {column!r}: {message}")


def _read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return (line number, column -> text) for each row that is not blank."""
    try:
        # utf-8-sig: spreadsheets write a byte-order mark.
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            header = [name.strip().lower() for name in next(reader, [])]
            _check_header(path, header)
            return [
                (reader.line_num, _cells(path, reader.line_num, header, row))
                for row in reader
                if any(cell.strip() for cell in row)
            ]
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{path}: not a CSV file in UTF-8: {error}") from error


def _check_header(path: Path, header: Sequence[str]) -> None:
    absent = [name for name in _COLUMNS if name not in header]
    for name in header:
        if header.count(name) > 1:
            raise ManifestError(f"{path}: line 1: column {name!r} stands twice")
        if name not in _COLUMNS and (near := difflib.get_close_matches(name, absent, 1, 0.75)):
            raise ManifestError(
                f"{path}: line 1: unknown column {name!r}; did you mean {near[0]!r}?"
            )
    for name in absent:
        if name in _NEEDED:
            raise ManifestError(
                f"{path}: line 1: column {name!r} is missing{nearest(name, header)} (found: "
                f"{', '.join(header) or 'nothing'}; needed: {', '.join(_NEEDED)})"
            )


def _cells(path: Path, line: int, header: Sequence[str], row: Sequence[str]) -> dict[str, str]:
    if len(row) != len(header):
        raise ManifestError(
            f"{path}: line {line}: {len(row)} cells under {len(header)} columns; a cell that holds "
            f"a comma needs quotes, or ; in its place"
        )
    return {name: cell.strip() for name, cell in zip(header, row, strict=True)}


@dataclass(frozen=True)
class _Row:
    """A row's text, and how to read each column of it."""

    path: Path
    line: int
    cells: Mapping[str, str]

    def error(self, column: str, message: str) -> ManifestError:
        return _located(self.path, self.line, column, message)

    def text(self, column: str, default: str = "") -> str:
        return self.cells.get(column, "") or default

    def spec(self, base: Path) -> SampleSpec:
        written = self._written("image")
        bands = self._bands()
        name = str(PurePath(written[0]).with_suffix(""))
        tags = {k: v for k, v in self.cells.items() if k not in (*_COLUMNS, "resolution")}
        return SampleSpec(
            manifest=str(self.path),
            line=self.line,
            id=name,
            folder=_folder(written[0], base),
            images=tuple(self._file("image", base, part) for part in written),
            mask=self._file("mask", base, *self._written("mask")[:1]),
            bands=bands,
            scale=self._numbers("scale", "1", len(written), len(bands)),
            offset=self._numbers("offset", "0", len(written), len(bands)),
            nodata=self._numbers("nodata", "", len(written), len(bands)),
            codes=self._codes(),
            sensor=self.text("sensor", "unknown"),
            level=self.text("level"),
            split=self.text("split"),
            group=self.text("group", name),
            resolution=self._resolution(),
            tags=tags,
        )

    def _written(self, column: str) -> list[str]:
        parts = [part.strip() for part in self.text(column).split(";") if part.strip()]
        if not parts:
            raise self.error(column, "empty; expected a path")
        return parts

    def _file(self, column: str, base: Path, written: str) -> Path:
        file = base / written
        if not file.is_file():
            names = [p.name for p in file.parent.iterdir()] if file.parent.is_dir() else []
            raise self.error(
                column,
                f"no file {written!r} in {base}{nearest(file.name, names)} (paths are relative "
                f"to the manifest, or to the root given)",
            )
        return file

    def _bands(self) -> tuple[str, ...]:
        names = [part.strip() for part in self.text("bands").replace(",", ";").split(";")]
        bands = tuple(self._band(name) for name in names)
        for band in bands:
            if band != LEFT_OUT and bands.count(band) > 1:
                raise self.error("bands", f"band {band!r} stands twice in {';'.join(names)!r}")
        if all(band == LEFT_OUT for band in bands):
            raise self.error("bands", f"no band with a common name in {';'.join(names)!r}")
        return bands

    def _band(self, name: str) -> str:
        if not name:
            raise self.error("bands", "an empty name; expected a common name such as red, or -")
        if name.lower() in _PLACEHOLDERS | _UNUSED:
            return LEFT_OUT
        try:
            return band_name(name)
        except BandError as error:
            raise self.error("bands", f"{error}; write - for a band to leave out") from error

    def _numbers(self, column: str, default: str, files: int, bands: int) -> tuple[float, ...]:
        text = self.text(column, default)
        values = tuple(self._number(column, part) for part in text.split(";")) if text else ()
        if len(values) not in (1, files, bands) and text:
            raise self.error(
                column,
                f"{len(values)} numbers in {text!r}; expected one, or one for each of {files} "
                f"files or {bands} bands",
            )
        if column != "nodata" and not all(math.isfinite(v) for v in values):
            raise self.error(column, f"{text!r} is not finite")
        return values

    def _number(self, column: str, text: str) -> float:
        try:
            return float(text)
        except ValueError as error:
            raise self.error(column, f"{text!r} is no number") from error

    def _codes(self) -> LabelCodes:
        try:
            return parse_codes(self.text("codes", NUBILA_CODES))
        except ManifestError as error:
            raise self.error("codes", str(error)) from error

    def _resolution(self) -> float | None:
        text = self.text("resolution")
        value = self._number("resolution", text) if text else None
        if value is not None and not (math.isfinite(value) and value > 0):
            raise self.error("resolution", f"{text!r} is not a positive number of metres")
        return value


def _folder(written: str, base: Path) -> str:
    """Return the first part of a path as written; of an absolute one, the first below the root."""
    path = PurePath(written)
    if path.is_absolute() and path.is_relative_to(base.absolute()):
        path = path.relative_to(base.absolute())
    parts = [part for part in path.parts[:-1] if part not in (path.anchor, "..")]
    return parts[0] if parts else "."


def _check_duplicates(specs: Sequence[SampleSpec]) -> None:
    seen: dict[tuple[Path, ...], int] = {}
    for spec in specs:
        if spec.images in seen:
            raise spec.error("image", f"{spec.id!r} stands on line {seen[spec.images]} already")
        seen[spec.images] = spec.line


def _check_groups(specs: Sequence[SampleSpec]) -> None:
    splits: dict[str, dict[str, int]] = defaultdict(dict)
    for spec in specs:
        if not spec.split:
            continue
        known = splits[spec.group]
        known.setdefault(spec.split, spec.line)
        if len(known) > 1:
            (first, line), *_ = known.items()
            raise spec.error(
                "group",
                f"{spec.group!r} is in split {spec.split!r} here and in {first!r} on line {line}: "
                f"scores would leak from one to the other. Give all its rows one split.",
            )


def _select(path: Path, specs: Sequence[SampleSpec], split: str) -> tuple[SampleSpec, ...]:
    chosen = tuple(spec for spec in specs if spec.split == split)
    if not chosen:
        known = sorted({spec.split for spec in specs if spec.split})
        raise ManifestError(
            f"{path}: no row has split {split!r}{nearest(split, known)} (found: "
            f"{', '.join(known) or 'no split at all'})"
        )
    return chosen
