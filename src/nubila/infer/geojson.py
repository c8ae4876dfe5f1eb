"""GeoJSON as people have it: polygons in any dress, with a CRS where an older one says it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rasterio.crs import CRS
from rasterio.errors import RasterioError

from nubila.errors import InputError, reason
from nubila.raster.gdal import gdal_env

__all__ = ["crs_of", "is_text", "load_geojson", "polygons_of", "stated_crs"]


def load_geojson(source: str | Path) -> Any:  # noqa: ANN401 (JSON)
    """Return what a file holds, or a text that begins as JSON does.

    Raises:
        InputError: it cannot be read, or is no JSON.
    """
    text = str(source)
    if not text.strip():
        raise InputError("the area of interest has an empty name; give a GeoJSON file")
    try:
        if not is_text(source):
            text = Path(source).expanduser().read_text(encoding="utf-8-sig")
        return json.loads(text)
    except (OSError, ValueError) as error:
        raise InputError(f"{source}: cannot be read as GeoJSON: {reason(error)}") from error


def is_text(source: str | Path) -> bool:
    """Tell whether this is GeoJSON itself and no file's name."""
    return str(source).lstrip().startswith("{")


def crs_of(value: Any) -> CRS:  # noqa: ANN401 (whatever rasterio takes)
    """Return a CRS.

    Raises:
        InputError: it is unknown.
    """
    try:
        with gdal_env():  # GDAL would print what the error says
            return CRS.from_user_input(value)
    except (RasterioError, ValueError, TypeError) as error:
        raise InputError(f"unknown CRS {value!r}; give one such as EPSG:32632") from error


def stated_crs(value: Mapping[str, Any], otherwise: CRS) -> CRS:
    """Return the CRS of the polygons by the ``crs`` members of GeoJSON 2008, section 3.

    A member holds for what is below it.

    Args:
        value: GeoJSON that `polygons_of` has read.
        otherwise: what holds where there is no member.

    Raises:
        InputError: a member names none that is known, or the polygons have different ones.
    """
    found: dict[str, CRS] = {}
    for _, member in _each_polygon(value):
        if repr(member) not in found:
            found[repr(member)] = otherwise if member is None else crs_of(_named(member))
    first, *others = found.values()
    if any(crs != first for crs in others):
        told = ", ".join(dict.fromkeys(crs.to_string() for crs in found.values()))
        raise InputError(
            f"the polygons of the area of interest are in different CRSs ({told}); bring them to "
            f"one, and name it in a crs member at the top"
        )
    return first


def _named(member: Any) -> Any:  # noqa: ANN401 (JSON)
    """Return what a ``crs`` member names: an object with a name, or (against the rules) a text."""
    if not isinstance(member, Mapping):
        return member
    properties = member.get("properties")
    if not (isinstance(properties, Mapping) and properties.get("name")):
        raise InputError(f"the crs of the area of interest names none: {dict(member)}")
    return properties["name"]


def polygons_of(value: Any) -> dict[str, Any]:  # noqa: ANN401 (JSON)
    """Return the polygons of any GeoJSON object as one Polygon or MultiPolygon, rings closed.

    Raises:
        InputError: it holds none, or is no whole GeoJSON.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"GeoJSON must be an object, got {type(value).__name__}")
    try:
        # One without rings is none (RFC 7946, section 3.1).
        polygons = [polygon for polygon, _ in _each_polygon(value) if polygon]
        kinds = [] if polygons else [repr(kind) for kind in dict.fromkeys(_kinds(value))]
    except (AttributeError, TypeError) as error:
        raise InputError(f"the area of interest is no whole GeoJSON: {error}") from error
    if not polygons:
        told = f"holds only {', '.join(kinds)}" if kinds else f"is an empty {value.get('type')!r}"
        raise InputError(f"an area of interest must hold polygons, and this GeoJSON {told}")
    try:
        clean = [[[[float(p[0]), float(p[1])] for p in ring] for ring in part] for part in polygons]
    except (TypeError, ValueError, IndexError) as error:
        raise InputError(f"the coordinates of the area of interest do not read: {error}") from error
    if not all(math.isfinite(v) for part in clean for ring in part for p in ring for v in p):
        raise InputError("the area of interest has coordinates that are no finite numbers")
    if any(len(ring) < 4 for part in clean for ring in part):
        raise InputError("a ring of the area of interest has fewer than four positions")
    for ring in (ring for part in clean for ring in part):
        if ring[0] != ring[-1]:  # against RFC 7946, and clear all the same
            ring.append(ring[0])
    if all(position == part[0][0] for part in clean for position in part[0]):
        x, y = clean[0][0][0]
        raise InputError(
            f"the area of interest holds nothing: its outline is only a point, at {x:.8g} {y:.8g}"
        )
    if len(clean) == 1:
        return {"type": "Polygon", "coordinates": clean[0]}
    return {"type": "MultiPolygon", "coordinates": clean}


def _each_polygon(value: Mapping[str, Any], above: Any = None) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 (JSON)
    """Give each polygon's coordinates and its ``crs`` member, or what is above it has, or None."""
    own = value.get("crs")
    crs = above if own is None else own
    kind = value.get("type")
    if kind == "Polygon":
        yield value.get("coordinates", []), crs
    elif kind == "MultiPolygon":
        for polygon in value.get("coordinates", []):
            yield polygon, crs
    else:
        for member in _members(value):
            yield from _each_polygon(member, crs)


def _members(value: Mapping[str, Any]) -> list[Any]:
    """Return what a collection or a feature is made of; nothing for a geometry."""
    kind = value.get("type")
    if kind == "Feature":
        return [value["geometry"]] if value.get("geometry") else []
    return list(value.get("features" if kind == "FeatureCollection" else "geometries", []))


def _kinds(value: Mapping[str, Any]) -> Iterator[Any]:
    """Give the kinds of the geometries that GeoJSON holds, and of what is none."""
    if value.get("type") not in ("Feature", "FeatureCollection", "GeometryCollection"):
        yield value.get("type")
    for member in _members(value):
        yield from _kinds(member)
