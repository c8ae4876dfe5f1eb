"""Cutting polygons in degrees down to where a scene lies, before they are laid on it.

Far from a scene its projection need not make sense: 90 degrees from the central meridian of a UTM
zone it runs to infinity, and beyond it comes back. And longitudes go round: a polygon may meet a
scene only when it is turned by 360 degrees, or on both of its sides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.warp import transform

from nubila.raster import Grid

__all__ = ["PROJ_ERRORS", "Box", "box_around", "circle_around", "cut"]

# PROJ's own errors come through where rasterio does not turn them into one of its own.
PROJ_ERRORS: Final = (RasterioError, CPLE_BaseError, ValueError)

# Points on each side of a scene's outline.
_PIECES: Final = 64
# How far beyond the scene a polygon is left as it is: a share of the scene, and pixels. The cut has
# to stay outside also where its sides, straight in degrees, are bent on the scene.
_MARGIN: Final = 0.1
_MARGIN_PIXELS: Final = 2


class Box(NamedTuple):
    """A part of the Earth in degrees; infinite where nothing needs to be cut.

    `west` and `east` go on beyond 180. Where both are infinite, as around a pole, longitudes are
    not turned either.
    """

    west: float
    south: float
    east: float
    north: float


def box_around(grid: Grid, crs: CRS) -> Box | None:
    """Return where a projected grid lies, a little larger than it is.

    Args:
        grid: with a projected CRS.
        crs: a geographic CRS, of the box.

    Returns:
        The box, or None if a corner of the grid has no place on Earth, so that nothing is known.
    """
    margin = _MARGIN * max(grid.shape) + _MARGIN_PIXELS
    # Where the map ends, as Mercator's does at 180 degrees, beyond it lies its other end.
    return _box(grid, crs, margin) or _box(grid, crs, 0)


def circle_around(grid: Grid) -> Box:
    """Return all longitudes once, a grid in longitude and latitude in their middle."""
    west, _, east, _ = grid.bounds
    beyond = max(0.0, (360 - (east - west)) / 2)
    return Box(west - beyond, -math.inf, east + beyond, math.inf)


def cut(
    geometry: Mapping[str, Any], box: Box, meeting: tuple[float, float] | None = None
) -> dict[str, Any]:
    """Return the part of polygons in a box, each as often as turns of 360 degrees bring it there.

    Args:
        geometry: GeoJSON Polygon or MultiPolygon in degrees.
        box: the part of the Earth.
        meeting: west and east; only turns that meet these longitudes; default the box's.

    Returns:
        GeoJSON Polygon, or MultiPolygon for another number of polygons, none included. What the box
        does not cut is as it was.
    """
    whole = geometry["type"] == "Polygon"
    parts = []
    for polygon in [geometry["coordinates"]] if whole else geometry["coordinates"]:
        rings = [_closed(ring) for ring in polygon]
        for turn in _turns(rings[0], *(meeting or (box.west, box.east))):
            cuts = [_cut_ring(ring + np.array([360.0 * turn, 0]), box) for ring in rings]
            # A ring takes four positions, the first of them twice.
            if len(cuts[0]) > 3:
                parts.append([ring.tolist() for ring in cuts if len(ring) > 3])
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts[0]}
    return {"type": "MultiPolygon", "coordinates": parts}


def _box(grid: Grid, crs: CRS, margin: float) -> Box | None:
    outline = _outline(grid, margin)
    try:
        x, y = (np.array(v) for v in transform(grid.crs, crs, *outline))
        back = np.array(transform(crs, grid.crs, x, y))
    except PROJ_ERRORS:
        return None
    a, b, _, d, e, _ = grid.transform[:6]
    if not np.allclose(back, outline, rtol=0, atol=max(math.hypot(a, d), math.hypot(b, e))):
        return None
    south, north = float(y.min()), float(y.max())
    longitudes = np.unwrap(x, period=360)
    if abs(longitudes[-1] - longitudes[0]) > 180:  # once around a pole
        south, north = (-90, north) if y.sum() < 0 else (south, 90)
        return Box(-math.inf, south, math.inf, north)
    return Box(float(longitudes.min()), south, float(longitudes.max()), north)


def _outline(grid: Grid, margin: float) -> NDArray[np.float64]:
    """Return (2, points) x and y once around a grid, so many pixels outside of it."""
    rows, columns = (np.linspace(-margin, n + margin, _PIECES + 1) for n in grid.shape)
    there, first, last = np.ones(_PIECES), slice(0, -1), slice(None, 0, -1)
    around = [
        (there * columns[0], rows[first]),
        (columns[first], there * rows[-1]),
        (there * columns[-1], rows[last]),
        (columns[last], there * rows[0]),
        (columns[:1], rows[:1]),
    ]
    x, y = (np.concatenate(side) for side in zip(*around, strict=True))
    a, b, c, d, e, f = grid.transform[:6]
    return np.array([a * x + b * y + c, d * x + e * y + f])


def _closed(ring: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    points = np.asarray(ring, np.float64)
    return points if (points[0] == points[-1]).all() else np.concatenate([points, points[:1]])


def _turns(ring: NDArray[np.float64], west: float, east: float) -> range:
    """Return how many times 360 degrees bring a ring to some longitudes."""
    if math.isinf(west):
        return range(1)
    lowest, highest = ring[:, 0].min(), ring[:, 0].max()
    return range(math.floor((west - highest) / 360) + 1, math.ceil((east - lowest) / 360))


def _cut_ring(ring: NDArray[np.float64], box: Box) -> NDArray[np.float64]:
    """Return what a box leaves of a closed ring (Sutherland and Hodgman 1974).

    Parts of a ring that is no longer in one piece hang together along the box's sides, by lines
    without width.
    """
    for axis, limit, sign in (
        (0, box.west, 1), (0, box.east, -1), (1, box.south, 1), (1, box.north, -1)
    ):  # fmt: skip
        ring = _half(ring, axis, limit, sign)
    return ring


def _half(ring: NDArray[np.float64], axis: int, limit: float, sign: int) -> NDArray[np.float64]:
    """Return the part of a closed ring on one side of a limit."""
    inside = sign * ring[:, axis] >= sign * limit
    if inside.all():
        return ring
    starts, ways = ring[:-1], np.diff(ring, axis=0)
    crosses = inside[:-1] != inside[1:]
    share = np.divide(
        limit - starts[:, axis], ways[:, axis], out=np.zeros(len(ways)), where=crosses
    )
    crossings = starts + share[:, None] * ways
    crossings[:, axis] = limit
    points = np.stack([starts, crossings], axis=1).reshape(-1, 2)
    kept = points[np.stack([inside[:-1], crosses], axis=1).ravel()]
    return np.concatenate([kept, kept[:1]])
