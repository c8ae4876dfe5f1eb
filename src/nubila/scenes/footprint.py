"""Footprints as GeoJSON, cut where they cross the antimeridian."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

__all__ = ["footprint_geometry"]

Corner = tuple[float, float]


def footprint_geometry(corners: Sequence[Corner]) -> dict[str, Any] | None:
    """Return a GeoJSON Polygon, or MultiPolygon across the antimeridian, or None for no corners.

    Args:
        corners: longitude and latitude in degrees, in order around the footprint.

    A footprint that seems wider than 180 degrees crosses the antimeridian; it is cut there, as
    RFC 7946, section 3.1.9, asks.
    """
    if len(corners) < 3:
        return None
    longitudes = [x for x, _ in corners]
    if max(longitudes) - min(longitudes) <= 180:
        return {"type": "Polygon", "coordinates": [_closed(corners)]}
    around = [(x % 360, y) for x, y in corners]
    east = [(x - 360, y) for x, y in _half(around, keep_above=True)]
    rings = [r for r in (_half(around, keep_above=False), east) if len(r) > 2]
    return {"type": "MultiPolygon", "coordinates": [[_closed(ring)] for ring in rings]}


def _half(ring: Sequence[Corner], *, keep_above: bool) -> list[Corner]:
    """Return the part of a ring on one side of longitude 180 (Sutherland and Hodgman 1974)."""
    sign = 1 if keep_above else -1
    kept: list[Corner] = []
    for (x, y), (next_x, next_y) in pairwise(_closed(ring)):
        inside, next_inside = sign * (x - 180) >= 0, sign * (next_x - 180) >= 0
        if inside:
            kept.append((x, y))
        if inside != next_inside:
            kept.append((180.0, y + (next_y - y) * (180 - x) / (next_x - x)))
    return list(dict.fromkeys(kept))


def _closed(ring: Sequence[Corner]) -> list[Corner]:
    return [*ring] if ring[0] == ring[-1] else [*ring, ring[0]]
