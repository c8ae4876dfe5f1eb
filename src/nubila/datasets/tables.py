"""Tables of text, whichever file they stand in: CSV, Parquet, GeoJSON, STAC item collection."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from nubila.errors import ManifestError, MissingExtraError, OutputError
from nubila.raster.atomic import atomic_path

__all__ = ["Table", "check_suffix", "read_table", "write_table"]

# Columns, and for each row its line (or number) and its cells in the columns' order.
Table = tuple[list[str], list[tuple[int, list[str]]]]

_JSON: Final = (".geojson", ".json")
_PARQUET: Final = (".parquet", ".pq")
_WRITTEN: Final = (".csv", *_PARQUET, *_JSON)


def read_table(path: Path) -> Table:
    """Read a table as text; a CSV's rows are numbered by line, others from 1.

    Of GeoJSON the features' properties are read. Of a STAC item collection they are too, and where
    ``image`` or ``mask`` is absent, the assets of that name, or of the role ``data`` or
    ``labels``; ``datetime`` becomes the column ``date``.

    Raises:
        ManifestError: the file cannot be read as what its name says.
        MissingExtraError: Parquet without pyarrow.
    """
    try:
        if path.suffix.lower() in _PARQUET:
            return _records(_read_parquet(path))
        if path.suffix.lower() in _JSON:
            return _records(_read_features(path))
        return _read_csv(path)
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror or error}") from error


def check_suffix(path: Path) -> None:
    """Raise for a name that does not say what kind of table is to be written.

    Raises:
        OutputError: the suffix is none that `write_table` knows.
    """
    if path.suffix.lower() not in _WRITTEN:
        raise OutputError(
            f"{path}: a table is written as what its suffix says, and "
            f"{repr(path.suffix) if path.suffix else 'none'} says nothing (known: "
            f"{', '.join(_WRITTEN)})"
        )


def write_table(
    path: Path, rows: Sequence[Mapping[str, str]], *, columns: Sequence[str] = ()
) -> None:
    """Write rows of text as what the file's name says; a column absent from a row is empty.

    GeoJSON gets features without geometry, for a manifest knows none.

    Args:
        path: the file.
        rows: column -> text.
        columns: come first, and are there without any row too (but in GeoJSON, which has no head).

    Raises:
        MissingExtraError: Parquet without pyarrow.
        OutputError: the suffix is unknown, or the file cannot be written.
    """
    check_suffix(path)
    names = list(dict.fromkeys((*columns, *(name for row in rows for name in row))))
    whole = [{name: row.get(name, "") for name in names} for row in rows]
    with atomic_path(path) as temporary:
        if path.suffix.lower() in _PARQUET:
            arrow, parquet = _pyarrow()
            cells = {name: [row[name] for row in whole] for name in names}
            parquet.write_table(arrow.table(cells), temporary)
        elif path.suffix.lower() in _JSON:
            features = [{"type": "Feature", "geometry": None, "properties": r} for r in whole]
            collection = {"type": "FeatureCollection", "features": features}
            temporary.write_text(json.dumps(collection, indent=1))
        else:
            with temporary.open("w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, names, lineterminator="\n")
                writer.writeheader()
                writer.writerows(whole)


def _read_csv(path: Path) -> Table:
    try:
        # utf-8-sig: spreadsheets write a byte-order mark.
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            header = [name.strip().lower() for name in next(reader, [])]
            rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{path}: not a CSV file in UTF-8: {error}") from error
    for line, row in rows:
        if header and len(row) != len(header):
            raise ManifestError(
                f"{path}: line {line}: {len(row)} cells under {len(header)} columns; a cell that "
                f"holds a comma needs quotes, or ; in its place"
            )
    return header, [(line, [cell.strip() for cell in row]) for line, row in rows]


def _records(records: Sequence[Mapping[str, Any]]) -> Table:
    columns = list(dict.fromkeys(str(name).strip().lower() for r in records for name in r))
    lowered = [{str(k).strip().lower(): v for k, v in record.items()} for record in records]
    return columns, [
        (number, [_text(record.get(name)) for name in columns])
        for number, record in enumerate(lowered, 1)
    ]


def _text(value: Any) -> str:  # noqa: ANN401 (whatever the file holds)
    if value is None or value != value:  # NaN, which pandas writes for an empty cell
        return ""
    if isinstance(value, (list, tuple)):
        return ";".join(_text(part) for part in value)
    return str(value).strip()


def _read_parquet(path: Path) -> list[Mapping[str, Any]]:
    arrow, parquet = _pyarrow()
    try:
        records: list[Mapping[str, Any]] = parquet.read_table(path).to_pylist()
    except arrow.ArrowException as error:
        raise ManifestError(f"{path}: not a Parquet file: {error}") from error
    return records


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", extra="train") from error
    return pyarrow, pyarrow.parquet


def _read_features(path: Path) -> list[Mapping[str, Any]]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ManifestError(f"{path}: not JSON: {error}") from error
    features = content.get("features") if isinstance(content, dict) else None
    if not isinstance(features, list) or not all(isinstance(f, dict) for f in features):
        raise ManifestError(
            f"{path}: no list of features in it; expected GeoJSON or a STAC item collection"
        )
    return [_feature(feature) for feature in features]


def _feature(feature: Mapping[str, Any]) -> dict[str, Any]:
    properties = dict(feature.get("properties") or {})
    assets = feature.get("assets") or {}
    if not assets:
        return properties
    for column, role in (("image", "data"), ("mask", "labels")):
        named = [assets[column]] if column in assets else []
        found = named or [a for a in assets.values() if role in (a.get("roles") or ())]
        if found:
            properties.setdefault(column, [asset.get("href", "") for asset in found])
    if time := properties.pop("datetime", None):
        properties.setdefault("date", str(time)[:10])
    return properties
