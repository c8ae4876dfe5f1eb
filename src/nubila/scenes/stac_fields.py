"""Fields of a STAC item that anybody may have written: what they must be, or an error that says so.

Each is read when the item is opened, so that nothing is masked that could not be told of then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from nubila.errors import MetadataError
from nubila.raster.gdal import gdal_env
from nubila.raster.grid import Grid
from nubila.scenes.stac_bands import Json

__all__ = ["check_lists", "footprint_of", "grid_of", "time_of"]

_GEOMETRIES: Final = (
    *("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon"),
    "GeometryCollection",
)
_FEWEST_POSITIONS: Final = 4  # of a closed ring (RFC 7946, section 3.1.6)
_MOST_LETTERS: Final = 200  # of a value that an error shows


def check_lists(item: Json, name: str) -> None:
    """Refuse an item whose lists of names are none; a name by itself is taken for a list of one.

    Raises:
        MetadataError: they are something else.
    """
    held = {"instruments": item["properties"].get("instruments")}
    held |= {f"roles of asset {key!r}": asset.get("roles") for key, asset in item["assets"].items()}
    for field, value in held.items():
        if not (value is None or isinstance(value, str | list | tuple)):
            raise _wrong(name, field, value, "a list of names")


def footprint_of(item: Json, name: str) -> Json | None:
    """Return an item's geometry, or None where it has none or it encloses nothing.

    Raises:
        MetadataError: it is no GeoJSON geometry.
    """
    geometry = item.get("geometry")
    if geometry is None:
        return None
    kind = geometry.get("type") if isinstance(geometry, Mapping) else None
    if kind not in _GEOMETRIES:
        raise _wrong(name, "geometry", geometry, "a GeoJSON geometry, such as a Polygon, or null")
    if kind not in ("Polygon", "MultiPolygon"):
        return None
    coordinates = geometry.get("coordinates")
    polygons = [coordinates] if kind == "Polygon" else coordinates
    if not _all(polygons, lambda rings: _all(rings, lambda ring: _all(ring, _is_position))):
        said = f"coordinates of a {kind} (RFC 7946): positions in rings in polygons, all numbers"
        raise _wrong(name, "geometry", geometry, said)
    encloses = polygons and all(p and len(p[0]) >= _FEWEST_POSITIONS for p in polygons)
    return geometry if encloses else None


def _all(value: Any, holds: Callable[[Any], bool]) -> bool:  # noqa: ANN401 (anything from JSON)
    return isinstance(value, list | tuple) and all(holds(each) for each in value)


def _is_position(value: Any) -> bool:  # noqa: ANN401 (anything from JSON)
    return _all(value, _is_number) and len(value) > 1


def _is_number(value: Any) -> bool:  # noqa: ANN401 (anything from JSON)
    # Neither NaN, nor infinite, nor an integer beyond what a float holds, all of which JSON gives.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def time_of(item: Json, name: str) -> datetime | None:
    """Return when an item's image was taken or begun, with its time zone (default: UTC).

    Raises:
        MetadataError: it is no time.
    """
    properties = item["properties"]
    field = "datetime" if properties.get("datetime") else "start_datetime"
    text = properties.get(field)
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(str(text).upper())  # RFC 3339 allows t and z, too
        time = time if time.tzinfo else time.replace(tzinfo=UTC)
        time.astimezone(UTC)  # fails in the first and the last hours that there are
    except (ValueError, OverflowError) as error:
        said = "a time by RFC 3339, such as 2024-07-05T10:10:31Z"
        raise _wrong(name, field, text, said) from error
    return time


def grid_of(item: Json, asset: Json, name: str) -> Grid | None:
    """Return where an asset lies by the projection extension (v1 or v2), or None if not told.

    Args:
        item: whose properties hold for all assets that say nothing else.
        asset: the asset.
        name: what errors call the item.

    Raises:
        MetadataError: a field cannot be what it says.
    """
    stated = {
        key: value
        for fields in (item["properties"], asset)
        for key, value in fields.items()
        if key.startswith("proj:")
    }
    keys = ("proj:code", "proj:epsg", "proj:wkt2")
    code_key = next((key for key in keys if stated.get(key)), "")
    shape, transform = stated.get("proj:shape"), stated.get("proj:transform")
    if not (code_key and shape and transform):
        return None
    try:
        with gdal_env():  # GDAL would print what the error says
            crs = CRS.from_user_input(stated[code_key])
    except (CRSError, TypeError, ValueError) as error:
        raise _wrong(name, code_key, stated[code_key], "a CRS such as EPSG:32632") from error
    if not (_all(shape, _is_count) and len(shape) == 2):
        raise _wrong(name, "proj:shape", shape, "rows and columns, each 1 or more")
    if not (_all(transform, _is_number) and len(transform) >= 6):
        raise _wrong(name, "proj:transform", transform, "six numbers")
    placed = Affine(*(float(n) for n in transform[:6]))
    if not (math.isfinite(placed.determinant) and placed.determinant):
        raise _wrong(name, "proj:transform", transform, "pixels of some width and height")
    return Grid(crs, placed, (int(shape[0]), int(shape[1])))


def _is_count(value: Any) -> bool:  # noqa: ANN401 (anything from JSON)
    return _is_number(value) and value >= 1 and value == int(value)


def _wrong(name: str, field: str, value: object, expected: str) -> MetadataError:
    text = repr(value)
    shown = text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."
    return MetadataError(f"{name}: {field} is {shown}, expected {expected}")
