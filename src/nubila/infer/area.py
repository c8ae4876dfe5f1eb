"""Areas of interest: a GeoJSON geometry or bounds, in any CRS, laid on a scene's grid."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.features import bounds as geometry_bounds
from rasterio.features import geometry_mask
from rasterio.warp import transform_bounds, transform_geom

from nubila.errors import GridError, InputError
from nubila.infer.cutting import PROJ_ERRORS, box_around, circle_around, cut
from nubila.infer.geojson import crs_of, is_text, load_geojson, polygons_of, stated_crs
from nubila.raster import Grid, Window

__all__ = ["PROJ_ERRORS", "Area", "AreaLike", "PlacedArea", "place_area", "read_area"]

# RFC 7946, section 4: longitude and latitude on WGS 84, in this order.
_GEOJSON_CRS: Final = "OGC:CRS84"
# A straight edge in one CRS is a curve in another, so that pieces of it are transformed: none
# longer than this part of the ring's extent, nor than so many degrees: around a pole a circle, of
# which it leaves 2 in a million out.
_PARTS: Final = 512
_LONGEST_PIECE: Final = 0.25
_STRIP_ROWS: Final = 1024


@dataclass(frozen=True)
class Area:
    """A polygon, or several, in a CRS.

    Attributes:
        geometry: GeoJSON Polygon, MultiPolygon, or GeometryCollection of them.
        crs: of its coordinates; None = the scene's own.
        rectangle: whether it was given as bounds.
    """

    geometry: Mapping[str, Any]
    crs: CRS | None
    rectangle: bool = False

    def record(self) -> dict[str, Any]:
        """Return the area as plain values, for tags and STAC."""
        crs = None if self.crs is None else self.crs.to_string()
        return {"geometry": dict(self.geometry), "crs": crs}


class HasGeoInterface(Protocol):
    """What tells its geometry as GeoJSON: a shapely polygon, a GeoDataFrame."""

    @property
    def __geo_interface__(self) -> Mapping[str, Any]:
        """GeoJSON, as a mapping."""
        ...


AreaLike: TypeAlias = (
    str | Path | Mapping[str, Any] | HasGeoInterface | Sequence[float] | Area  # see `read_area`
)


@dataclass(frozen=True)
class PlacedArea:
    """An area on a grid.

    Attributes:
        window: the pixels to read.
        geometry: polygon in the grid's CRS; None where the whole window is wanted.
        grid: of the window.
        notes: what a person should know.
    """

    window: Window
    geometry: Mapping[str, Any] | None
    grid: Grid
    notes: tuple[str, ...] = ()

    def outside(self, row: int, rows: int) -> NDArray[np.bool_] | None:
        """Return where pixels of some rows of the window have their centre outside the area.

        Args:
            row: first row, counted from the top of the window.
            rows: number of rows.

        Returns:
            (rows, columns), or None where all are inside.
        """
        if self.geometry is None:
            return None
        part = self.grid.crop(Window(row, 0, rows, self.grid.shape[1]))
        found: NDArray[np.bool_] = geometry_mask([self.geometry], part.shape, part.transform)
        return found


def read_area(
    area: AreaLike,
    crs: Any = None,  # noqa: ANN401
) -> Area:
    """Read an area of interest.

    Args:
        area: GeoJSON as a path, a text, or a mapping (geometry, Feature or FeatureCollection), an
            object with ``__geo_interface__`` such as a shapely polygon or a GeoDataFrame, or the
            bounds west, south, east, north; in longitude and latitude with west above east across
            the 180th meridian (RFC 7946, section 5.2).
        crs: whatever `rasterio.crs.CRS.from_user_input` takes. Default: what the object has as its
            ``crs``, or GeoJSON as its ``crs`` member (GeoJSON of 2008), else longitude and
            latitude.

    Raises:
        InputError: it cannot be read, is no polygon, or the CRS is unknown.
    """
    if isinstance(area, Area):
        return area
    if not isinstance(area, Mapping) and hasattr(area, "__geo_interface__"):
        crs = getattr(area, "crs", None) if crs is None else crs
        area = area.__geo_interface__
    given = None if crs is None else crs_of(crs)
    if isinstance(area, str | Path):
        return _from_file(area, given)
    if isinstance(area, Mapping):
        return _from_geojson(area, given)
    crs = given or crs_of(_GEOJSON_CRS)
    return Area(_rectangle(area, in_degrees=crs.is_geographic), crs, rectangle=True)


def _from_file(source: str | Path, crs: CRS | None) -> Area:
    value = load_geojson(source)
    try:
        return _from_geojson(value, crs)
    except InputError as error:
        if is_text(source):
            raise
        raise InputError(f"{source}: {error}") from error


def _from_geojson(value: Any, crs: CRS | None) -> Area:  # noqa: ANN401 (JSON)
    return Area(polygons_of(value), crs or stated_crs(value, crs_of(_GEOJSON_CRS)))


def place_area(area: Area, grid: Grid) -> PlacedArea:
    """Lay an area on a grid.

    A pixel belongs to a polygon if its centre lies inside. Bounds in the grid's own CRS take in
    every pixel that they touch, unless the grid is turned in its CRS or they meet it on both sides
    of a turn of 360 degrees: then they are a polygon too.

    Raises:
        GridError: the area lies outside the grid, the grid has no georeference, or the area does
            not transform to its CRS.
    """
    if grid.crs is None and area.crs is not None:
        raise GridError("an area of interest needs a scene with a CRS, and this one has none")
    _check_degrees(area, grid)
    same = area.crs is None or area.crs == grid.crs
    geometry = area.geometry if same else _transformed(area, grid)
    if grid.crs is not None and grid.crs.is_geographic:
        geometry = _turned(geometry, grid)
    window = _window(geometry, area, grid)
    along = same and area.rectangle and not grid.is_turned
    whole = along and geometry["type"] == "Polygon"
    placed = PlacedArea(
        window, None if whole else geometry, grid.crop(window), _notes(geometry, grid)
    )
    if not _touches(placed):
        raise GridError(
            "no pixel of the scene lies inside the area of interest, although their bounds overlap"
        )
    return placed


def _check_degrees(area: Area, grid: Grid) -> None:
    """Refuse what is said to be longitude and latitude and cannot be."""
    if area.crs is None or not area.crs.is_geographic:
        return
    west, south, east, north = geometry_bounds(area.geometry)
    # Not 180: areas across the 180th meridian are often given as 179 to 181.
    if max(abs(west), abs(east)) <= 360 and max(abs(south), abs(north)) <= 90:
        return
    scene = "EPSG:..." if grid.crs is None else grid.crs.to_string()
    member = json.dumps({"crs": {"type": "name", "properties": {"name": scene}}})[1:-1]
    told = f"--bounds-crs {scene}" if area.rectangle else f"{member} in the GeoJSON"
    raise GridError(
        f"the area of interest ({west:.8g} {south:.8g} {east:.8g} {north:.8g}) is taken as "
        f"longitude and latitude, but these look like metres; give {told}, or area_crs= in Python "
        f"(the scene is in {scene})"
    )


def _window(geometry: Mapping[str, Any], area: Area, grid: Grid) -> Window:
    try:
        return grid.window_of(geometry_bounds(geometry))
    except GridError as error:
        raise _elsewhere(area, grid, str(error)) from error


def _elsewhere(
    area: Area, grid: Grid, otherwise: str = "the area of interest lies outside the scene"
) -> GridError:
    """Return an error that tells where area and scene are in the area's own CRS, if it can.

    There a person knows the way about.
    """
    blunt = GridError(otherwise)
    if area.crs is None or grid.crs is None:
        return blunt
    try:
        scene = transform_bounds(grid.crs, area.crs, *grid.bounds)
    except PROJ_ERRORS:
        return blunt
    given, there = (
        " ".join(f"{v:.8g}" for v in b) for b in (geometry_bounds(area.geometry), scene)
    )
    return GridError(
        f"the area of interest ({given}) lies outside the scene ({there}); west, south, east, "
        f"north in {area.crs.to_string()}"
    )


def _touches(placed: PlacedArea) -> bool:
    height = placed.window.height
    for row in range(0, height, _STRIP_ROWS):
        outside = placed.outside(row, min(_STRIP_ROWS, height - row))
        if outside is None or not outside.all():
            return True
    return False


def _notes(geometry: Mapping[str, Any], grid: Grid) -> tuple[str, ...]:
    west, south, east, north = geometry_bounds(geometry)
    left, bottom, right, top = grid.bounds
    pixel = max(abs(grid.transform.a), abs(grid.transform.e), abs(grid.transform.b))
    beyond = max(left - west, bottom - south, east - right, north - top)
    if beyond <= pixel:
        return ()
    return ("the area of interest reaches beyond the scene; cover is over the part inside",)


def _rectangle(values: Sequence[float], *, in_degrees: bool) -> dict[str, Any]:
    try:
        numbers = [float(v) for v in values]
    except (TypeError, ValueError) as error:
        raise InputError(
            f"an area of interest is GeoJSON (a path, a text, a mapping, or an object with "
            f"__geo_interface__) or four numbers west, south, east, north; got {values!r}"
        ) from error
    if len(numbers) != 4 or not all(math.isfinite(v) for v in numbers):
        raise InputError(f"bounds are four numbers west, south, east, north; got {values}")
    west, south, east, north = numbers
    # Across the 180th meridian; what would be wider than half the Earth is in the wrong order.
    if in_degrees and west - east > 180:
        east += 360
    if west >= east or south >= north:
        raise InputError(f"bounds {numbers} are empty; the order is west, south, east, north")
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _transformed(area: Area, grid: Grid) -> dict[str, Any]:
    assert area.crs is not None and grid.crs is not None
    geometry, longest = area.geometry, math.inf
    if area.crs.is_geographic:
        longest = _LONGEST_PIECE
        # On a grid in degrees too, it is cut there: see _turned.
        box = None if grid.crs.is_geographic else box_around(grid, area.crs)
        geometry = geometry if box is None else cut(geometry, box)
        if not geometry["coordinates"]:
            raise _elsewhere(area, grid)
    try:
        found = transform_geom(area.crs, grid.crs, _dense(geometry, longest))
        finite = all(math.isfinite(v) for v in geometry_bounds(found))
    except PROJ_ERRORS as error:
        raise GridError(
            f"the area of interest does not transform to {grid.crs}: {error}"
        ) from error
    if not finite:
        raise GridError(f"the area of interest has no place in {grid.crs}, the scene's CRS")
    return dict(found)


def _turned(geometry: Mapping[str, Any], grid: Grid) -> Mapping[str, Any]:
    """Turn each polygon by every 360 degrees by which it meets a grid in longitude and latitude.

    Grids go on beyond 180 degrees where they cross it, or count from 0 to 360.
    """
    left, _, right, _ = grid.bounds
    turned = cut(geometry, circle_around(grid), meeting=(left, right))
    return turned if turned["coordinates"] else geometry


def _dense(geometry: Mapping[str, Any], longest: float) -> dict[str, Any]:
    """Return polygons with their edges in pieces, none longer than so much."""
    parts = geometry["coordinates"]
    if geometry["type"] == "Polygon":
        return {"type": "Polygon", "coordinates": [_dense_ring(ring, longest) for ring in parts]}
    return {
        "type": "MultiPolygon",
        "coordinates": [[_dense_ring(ring, longest) for ring in polygon] for polygon in parts],
    }


def _dense_ring(ring: Sequence[Sequence[float]], longest: float) -> list[list[float]]:
    corners = np.asarray(ring, np.float64)
    edges = np.diff(corners, axis=0)
    lengths = np.hypot(edges[:, 0], edges[:, 1])
    extent = max(float(np.hypot(*np.ptp(corners, axis=0))), 1e-300)
    apart = np.ceil(lengths / min(extent / _PARTS, longest))
    pieces = np.maximum(apart, 1).astype(np.intp)  # a detailed coast stays as it is
    first = np.repeat(np.cumsum(pieces) - pieces, pieces)
    along = (np.arange(len(first)) - first) / np.repeat(pieces, pieces)
    between = np.repeat(corners[:-1], pieces, axis=0) + along[:, None] * np.repeat(
        edges, pieces, axis=0
    )
    points: list[list[float]] = np.concatenate([between, corners[-1:]]).tolist()
    return points
