"""From the text of one row of a manifest to a `SampleSpec`."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

from nubila.bands import band_name
from nubila.datasets.codes import NUBILA_CODES, LabelCodes, parse_codes
from nubila.datasets.spec import LEFT_OUT, SampleSpec, located
from nubila.errors import BandError, ManifestError, nearest

__all__ = ["COLUMNS", "NEEDED", "Row"]

NEEDED: Final = ("image", "mask", "bands")
COLUMNS: Final = (
    *NEEDED,
    *("scale", "offset", "nodata", "codes", "sensor", "level", "split", "group", "resolution"),
    *("auxiliary", "coverage", "corner"),
)
# What stands in a list of bands for one without a common name.
_PLACEHOLDERS: Final = frozenset({LEFT_OUT, "_", "?", "none", "other", "unknown", "unused"})
# Common names of the STAC electro-optical extension that no sensor of nubila's has, and
# temperatures, which are no reflectance.
_UNUSED: Final = frozenset({"yellow", "green05", "lwir", "lwir11", "lwir12"})
_PRODUCTS: Final = (".zip", ".safe", ".tar", ".tgz", ".tar.gz", ".xml", "_mtl.txt", "_mtl.json")


@dataclass(frozen=True)
class Row:
    """A row's text, and how to read each column of it.

    Attributes:
        manifest: path of the manifest, or name of the collection.
        line: in the manifest, or 0.
        cells: column -> text.
        strict: whether an absent file is an error at once; else `SampleSpec.files` may name it.
        unlabelled: whether the mask may be empty.
    """

    manifest: str
    line: int
    cells: Mapping[str, str]
    strict: bool = True
    unlabelled: bool = False

    def spec(self, base: Path) -> SampleSpec:
        """Return the row as a spec, its paths relative to `base`.

        Raises:
            ManifestError: with line, column, value and what was expected.
        """
        written = self._written("image")
        bands = self._bands()
        name = self._name(written)
        product = is_product(written[0])
        if not product and self._text("auxiliary"):
            raise self._error("auxiliary", "only a product can have auxiliary rasters")
        sizes = len(written), len(bands)
        return SampleSpec(
            manifest=self.manifest,
            line=self.line,
            id=name,
            folder=_folder(written[0], base),
            images=tuple(self._file("image", base, part) for part in written),
            mask=self._mask(base),
            bands=bands,
            scale=self._numbers("scale", "1", *sizes),
            offset=self._numbers("offset", "0", *sizes),
            nodata=self._numbers("nodata", "", *sizes),
            codes=self._codes(),
            sensor=self._text("sensor", "unknown"),
            level=self._text("level"),
            split=self._text("split"),
            group=self._text("group", name),
            resolution=self._resolution(),
            tags={key: text for key, text in self.cells.items() if key not in COLUMNS},
            scene=product,
            auxiliary=self._auxiliary(base),
            coverage=self._file("coverage", base, c) if (c := self._text("coverage")) else None,
            corner=self._corner(),
        )

    def _error(self, column: str, message: str) -> ManifestError:
        line = self.line or self._name([*self.cells.get("image", "").split(";"), "?"])
        return located(self.manifest, line, column, message)

    def _text(self, column: str, default: str = "") -> str:
        return self.cells.get(column, "") or default

    @staticmethod
    def _name(written: Sequence[str]) -> str:
        return str(PurePath(written[0]).with_suffix("")) if written[0] else "?"

    def _mask(self, base: Path) -> Path | None:
        if self.unlabelled and not self._text("mask").strip():
            return None
        return self._file("mask", base, self._written("mask")[0])

    def _written(self, column: str) -> list[str]:
        parts = [part.strip() for part in self._text(column).split(";") if part.strip()]
        if not parts:
            raise self._error(column, "empty; expected a path")
        return parts

    def _file(self, column: str, base: Path, written: str) -> Path:
        file = base / written
        # os.path: a collection has tens of thousands of files, and Path's own test is slow.
        there = os.path.exists if column == "image" and is_product(written) else os.path.isfile
        if self.strict and not there(file):
            names = [p.name for p in file.parent.iterdir()] if file.parent.is_dir() else []
            raise self._error(
                column,
                f"no file {written!r} in {base}{nearest(file.name, names)} (paths are relative "
                f"to the manifest, or to the root given; `nubila data check` lists all that "
                f"are absent)",
            )
        return file

    def _bands(self) -> tuple[str, ...]:
        names = [part.strip() for part in self._text("bands").replace(",", ";").split(";")]
        bands = tuple(self._band(name) for name in names)
        for band in bands:
            if band != LEFT_OUT and bands.count(band) > 1:
                raise self._error("bands", f"band {band!r} stands twice in {';'.join(names)!r}")
        if all(band == LEFT_OUT for band in bands):
            raise self._error("bands", f"no band with a common name in {';'.join(names)!r}")
        return bands

    def _band(self, name: str) -> str:
        if not name:
            raise self._error("bands", "an empty name; expected a common name such as red, or -")
        if name.lower() in _PLACEHOLDERS | _UNUSED:
            return LEFT_OUT
        try:
            return band_name(name)
        except BandError as error:
            raise self._error("bands", f"{error}; write - for a band to leave out") from error

    def _numbers(self, column: str, default: str, files: int, bands: int) -> tuple[float, ...]:
        text = self._text(column, default)
        values = tuple(self._number(column, part) for part in text.split(";")) if text else ()
        if len(values) not in (1, files, bands) and text:
            raise self._error(
                column,
                f"{len(values)} numbers in {text!r}; expected one, or one for each of {files} "
                f"files or {bands} bands",
            )
        if column != "nodata" and not all(math.isfinite(v) for v in values):
            raise self._error(column, f"{text!r} is not finite")
        return values

    def _number(self, column: str, text: str) -> float:
        try:
            return float(text)
        except ValueError as error:
            raise self._error(column, f"{text!r} is no number") from error

    def _codes(self) -> LabelCodes:
        try:
            return parse_codes(self._text("codes", NUBILA_CODES))
        except ManifestError as error:
            raise self._error("codes", str(error)) from error

    def _resolution(self) -> float | None:
        text = self._text("resolution")
        value = self._number("resolution", text) if text else None
        if value is not None and not (math.isfinite(value) and value > 0):
            raise self._error("resolution", f"{text!r} is not a positive number of metres")
        return value

    def _auxiliary(self, base: Path) -> tuple[tuple[str, Path], ...]:
        entries = [part for part in self._text("auxiliary").split(";") if part.strip()]
        found = []
        for entry in entries:
            name, separator, path = entry.partition("=")
            if not separator:
                raise self._error(
                    "auxiliary", f"{entry!r} is not of the form band=path (elevation=dem.tif)"
                )
            try:
                found.append((band_name(name), self._file("auxiliary", base, path.strip())))
            except BandError as error:
                raise self._error("auxiliary", str(error)) from error
        return tuple(found)

    def _corner(self) -> tuple[int, int] | None:
        text = self._text("corner")
        if not text:
            return None
        try:
            row, column = (int(part) for part in text.split(";"))
        except ValueError as error:
            raise self._error("corner", f"{text!r} is not row;column") from error
        return row, column


def is_product(written: str) -> bool:
    """Tell whether an image is a product with metadata of its own, by its name."""
    name = written.lower().rstrip("/")
    return name.endswith(_PRODUCTS) or "." not in PurePath(name).name


def _folder(written: str, base: Path) -> str:
    """Return the first part of a path as written; of an absolute one, the first below the root."""
    path = PurePath(written)
    if path.is_absolute() and path.is_relative_to(base.absolute()):
        path = path.relative_to(base.absolute())
    parts = [part for part in path.parts[:-1] if part not in (path.anchor, "..")]
    return parts[0] if parts else "."
