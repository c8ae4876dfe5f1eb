"""Footprints, also across the antimeridian."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from nubila.scenes.footprint import footprint_geometry


def area(ring: list[tuple[float, float]]) -> float:
    return abs(sum(x * v - u * y for (x, y), (u, v) in pairwise(ring))) / 2


def test_a_plain_footprint_is_closed() -> None:
    corners = [(12.0, 45.0), (13.0, 45.0), (13.0, 44.0)]
    found = footprint_geometry(corners)
    assert found == {"type": "Polygon", "coordinates": [[*corners, corners[0]]]}


def test_no_footprint() -> None:
    assert footprint_geometry([]) is None
    assert footprint_geometry([(0.0, 0.0), (1.0, 1.0)]) is None
    assert footprint_geometry([(12.0, 45.0)] * 4) is None


@pytest.mark.parametrize("middle", [179.8, 180.0, -179.3])
def test_across_the_antimeridian_the_two_parts_add_up(middle: float) -> None:
    corners = [
        ((middle + 180 + x) % 360 - 180, y) for x, y in [(-1, -1), (1, -1), (1.5, 1), (-1, 1)]
    ]
    found = footprint_geometry(corners)
    assert found is not None
    assert found["type"] == "MultiPolygon"
    rings = [part[0] for part in found["coordinates"]]
    assert len(rings) == 2
    for ring in rings:
        assert ring[0] == ring[-1]
        longitudes = [x for x, _ in ring]
        assert max(longitudes) - min(longitudes) < 4
        assert all(-180 <= x <= 180 for x in longitudes)
    assert math.isclose(sum(map(area, rings)), 4.5, rel_tol=1e-9)


@pytest.mark.parametrize("pole", [90.0, -90.0])
def test_around_a_pole_the_pole_is_inside(pole: float) -> None:
    latitude = math.copysign(85.0, pole)
    around = [(float(x), latitude) for x in range(-150, 180, 60)]
    found = footprint_geometry(around)
    assert found is not None
    (ring,) = found["coordinates"]
    assert {y for _, y in ring} == {latitude, pole}
    assert math.isclose(area(ring), 360 * 5)


@pytest.mark.parametrize(("west", "parts"), [(350.0, 1), (179.97, 2), (0.0, 1), (-190.0, 2)])
def test_longitudes_beyond_180_are_taken_around(west: float, parts: int) -> None:
    corners = [(west, 1.0), (west, 0.0), (west + 20, 0.0), (west + 20, 1.0)]
    found = footprint_geometry(corners)
    assert found is not None
    polygons = [found["coordinates"]] if found["type"] == "Polygon" else found["coordinates"]
    assert len(polygons) == parts
    assert all(-180 <= x <= 180 for ring, *_ in polygons for x, _ in ring)
    assert math.isclose(sum(area(ring) for ring, *_ in polygons), 20)
