"""Windows and grids."""

from __future__ import annotations

import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.warp import transform, transform_bounds

from nubila.errors import GridError
from nubila.raster import Grid, Window

UTM = CRS.from_epsg(32633)
DEGREES = CRS.from_epsg(4326)

sides = st.integers(0, 30)
window = st.builds(Window, st.integers(-5, 20), st.integers(-5, 20), sides, sides)


def utm(rows=100, columns=120, resolution=10.0, left=300_000.0, top=5_000_000.0):
    return Grid(UTM, Affine(resolution, 0, left, 0, -resolution, top), (rows, columns))


def pixels(w):
    return {(r, c) for r in range(w.row, w.stop_row) for c in range(w.column, w.stop_column)}


@given(window, window)
def test_intersection_is_the_shared_pixels(a, b):
    assert pixels(a.intersect(b)) == pixels(a) & pixels(b)


@given(window.filter(lambda w: 0 not in w.shape), st.integers(0, 9))
def test_expansion_stays_within(w, margin):
    grown = w.expand(margin, within=(25, 26))
    near = {
        (r, c)
        for r in range(w.row - margin, w.stop_row + margin)
        for c in range(w.column - margin, w.stop_column + margin)
        if 0 <= r < 25 and 0 <= c < 26
    }
    assert pixels(grown) == near


@given(window, st.integers(-9, 9), st.integers(-9, 9))
def test_shift(w, rows, columns):
    assert pixels(w.shift(rows, columns)) == {(r + rows, c + columns) for r, c in pixels(w)}


def test_slices_cut_arrays():
    values = np.arange(60).reshape(6, 10)
    np.testing.assert_array_equal(values[Window(1, 2, 3, 4).slices], values[1:4, 2:6])


@pytest.mark.parametrize("resolution", [5, 10, 20, 30, 45, 60, 7.3])
def test_another_resolution_covers_the_same_ground(resolution):
    grid = utm()
    other = grid.at(resolution)
    assert other.resolution == pytest.approx(resolution)
    assert (other.transform.c, other.transform.f) == (300_000, 5_000_000)
    rows, columns = other.shape
    assert 1000 <= rows * resolution < 1000 + resolution
    assert 1200 <= columns * resolution < 1200 + resolution
    assert grid.matches(other)
    assert other.matches(grid)


@pytest.mark.parametrize("resolution", [0, -1, math.nan, math.inf, "10 m", [10]])
def test_resolutions_that_are_none(resolution):
    with pytest.raises(GridError, match="positive"):
        utm().at(resolution)


def test_the_native_resolution_changes_nothing():
    assert utm().at(10) == utm()


def test_resolution_of_a_grid_in_degrees():
    # A degree of latitude is 111.1 km at 45 degrees, one of longitude cos(45) times as long.
    grid = Grid(DEGREES, Affine(1e-4, 0, 10, 0, -1e-4, 45.005), (100, 100))
    height, width = grid.pixel_size
    assert height == pytest.approx(11.11, rel=0.01)
    assert width == pytest.approx(11.11 * math.cos(math.radians(45)), rel=0.01)


def test_resolution_of_a_grid_in_feet():
    grid = Grid(CRS.from_epsg(2229), Affine(100, 0, 0, 0, -100, 0), (10, 10))  # US survey feet
    assert grid.resolution == pytest.approx(30.48, rel=1e-4)


def test_without_a_crs_a_pixel_is_a_metre():
    grid = Grid(None, Affine.identity(), (4, 5))
    assert grid.resolution == 1


def test_bounds_of_a_turned_grid():
    grid = Grid(UTM, Affine(0, 10, 300_000, 10, 0, 5_000_000), (3, 7))
    assert grid.bounds == (300_000, 5_000_000, 300_030, 5_000_070)


@given(st.integers(0, 99), st.integers(0, 119), st.integers(1, 100), st.integers(1, 120))
def test_a_window_of_its_own_bounds(row, column, height, width):
    grid = utm()
    wanted = Window(row, column, height, width).intersect(Window.whole(grid.shape))
    assert grid.window_of(grid.crop(wanted).bounds) == wanted


@pytest.mark.parametrize("size", [10.0, 9e-5])  # metres, degrees
@pytest.mark.parametrize(
    ("angle", "turned"), [(0, False), (90, False), (180, False), (270, False), (0.3, False),
                          (1, True), (45, True), (91, True), (179, True)],
)  # fmt: skip
def test_a_grid_is_turned_if_it_is_askew_by_a_pixel(size, angle, turned):
    transform = Affine.translation(11, 48) * Affine.scale(size, -size) * Affine.rotation(angle)
    assert Grid(None, transform, (100, 120)).is_turned == turned


def test_bounds_in_another_crs_are_covered():
    grid = utm()
    inside = (300_200, 4_999_400, 300_700, 4_999_800)
    xs, ys = transform(UTM, DEGREES, inside[::2], inside[1::2])
    found = grid.crop(grid.window_of((min(xs), min(ys), max(xs), max(ys)), DEGREES)).bounds
    assert found[0] <= inside[0]
    assert found[1] <= inside[1]
    assert found[2] >= inside[2]
    assert found[3] >= inside[3]
    assert found[2] - found[0] < 700


def test_bounds_outside():
    with pytest.raises(GridError, match="outside the scene"):
        utm().window_of((0, 0, 10, 10))


@pytest.mark.parametrize(
    "other, same",
    [
        (utm(), True),
        (utm(17, 20, 60), True),  # 1020 m and 1200 m: rounded up
        (utm(rows=101), False),
        (utm(left=300_004.0), True),
        (utm(left=300_006.0), False),
        (utm(top=5_000_010.0), False),
        (utm(left=300_020.0, rows=17, columns=20, resolution=60), True),
        (utm(left=300_040.0, rows=17, columns=20, resolution=60), False),
        (Grid(CRS.from_epsg(32634), utm().transform, (100, 120)), False),
    ],
)
def test_the_same_ground(other, same):
    assert utm().matches(other) is same
    assert other.matches(utm()) is same


def test_mercator_metres_are_not_ground_metres():
    """Against the distance on the ellipsoid that geographic coordinates give, within 0.5 %."""
    corner = Affine(20, 0, 1.5e6, 0, -20, 8.87e6)
    grid = Grid(CRS.from_epsg(3857), corner, (100, 100))
    west, south, east, north = transform_bounds(grid.crs, "EPSG:4326", *grid.bounds)
    middle = math.radians((south + north) / 2)
    across = 6_378_137 * math.cos(middle) * math.radians(east - west) / 100
    down = 6_378_137 * math.radians(north - south) / 100
    assert grid.pixel_size == pytest.approx((down, across), rel=0.005)
    assert grid.pixel_size[0] < 10


@pytest.mark.parametrize("code", [32633, 3035, 2154, 3413])
def test_other_projections_are_true_to_scale(code):
    assert Grid(CRS.from_epsg(code), Affine(20, 0, 5e5, 0, -20, 6e6), (9, 9)).resolution == 20
