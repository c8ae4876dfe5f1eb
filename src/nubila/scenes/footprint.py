"""Footprints as GeoJSON, cut where they cross the antimeridian."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

__all__ = ["footprint_geometry"]

Corner = tuple[float, float]


def footprint_geometry(corners: Sequence[Corner]) -> dict[str, Any] | None:
    """Return a GeoJSON Polygon, or MultiPolygon across the antimeridian, or None if they enclose
    nothing.

    Args:
        corners: longitude and latitude in degrees, in order around the footprint.

    Neighbouring corners are taken to lie less than 180 degrees apart. A footprint is cut at the
    antimeridian, as RFC 7946, section 3.1.9, asks; longitudes beyond 180 are taken around. One that
    goes around a pole holds the pole.
    """
    if len(corners) < 3:
        return None
    ring = _unrolled(_closed(corners))
    if abs(ring[-1][0] - ring[0][0]) > 180:
        return {"type": "Polygon", "coordinates": [_closed(_around_pole(ring[:-1]))]}
    parts = []
    lowest, highest = (f(x for x, _ in ring) for f in (min, max))
    for turn in range(math.floor((lowest + 180) / 360), math.ceil((highest + 180) / 360)):
        inside = _half(_half(ring, 360 * turn - 180, above=True), 360 * turn + 180, above=False)
        if len(inside) > 2:
            parts.append(_closed([(round(x - 360 * turn, 9), y) for x, y in inside]))
    if not parts:
        return None
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts}
    return {"type": "MultiPolygon", "coordinates": [[part] for part in parts]}


def _unrolled(ring: Sequence[Corner]) -> list[Corner]:
    """Return a ring whose longitudes go on beyond 180 instead of jumping by 360."""
    found = [ring[0]]
    for x, y in ring[1:]:
        last = found[-1][0]
        # What is not a jump stays as it is, to the last digit.
        found.append((x - 360 * round((x - last) / 360), y))
    return found


def _around_pole(ring: Sequence[Corner]) -> list[Corner]:
    """Return the ring from -180 to 180 degrees along an open one and back along the pole."""
    points = sorted(((x + 180) % 360 - 180, y) for x, y in ring)
    (x, y), (next_x, next_y) = points[-1], points[0]
    seam = y + (next_y - y) * (180 - x) / (next_x + 360 - x)
    pole = math.copysign(90.0, sum(y for _, y in ring))
    found = [(-180.0, seam), *points, (180.0, seam), (180.0, pole), (-180.0, pole)]
    return list(dict.fromkeys(found))


def _half(ring: Sequence[Corner], limit: float, *, above: bool) -> list[Corner]:
    """Return the part of a ring on one side of a longitude (Sutherland and Hodgman 1974)."""
    if not ring:
        return []
    sign = 1 if above else -1
    kept: list[Corner] = []
    for (x, y), (next_x, next_y) in pairwise(_closed(ring)):
        inside, next_inside = sign * (x - limit) >= 0, sign * (next_x - limit) >= 0
        if inside:
            kept.append((x, y))
        if inside != next_inside:
            kept.append((float(limit), y + (next_y - y) * (limit - x) / (next_x - x)))
    return list(dict.fromkeys(kept))


def _closed(ring: Sequence[Corner]) -> list[Corner]:
    return [*ring] if ring[0] == ring[-1] else [*ring, ring[0]]
