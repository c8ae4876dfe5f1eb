import itertools
import json

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.features import geometry_mask
from rasterio.warp import transform

from nubila.errors import GridError, InputError
from nubila.infer.area import place_area, read_area
from nubila.raster import Grid, Window
from tests.infer.scenes import GRID

# A corner of the scene, as a polygon in longitude and latitude.
TRIANGLE = {
    "type": "Polygon",
    "coordinates": [[[10.335, 47.84], [10.37, 47.845], [10.35, 47.825], [10.335, 47.84]]],
}


def inside_polygon(longitude, latitude, ring):
    """Count crossings of a ray to the right; an independent way of telling what is inside."""
    inside = np.zeros(longitude.shape, bool)
    for (x0, y0), (x1, y1) in itertools.pairwise(ring):
        crosses = (y0 > latitude) != (y1 > latitude)
        with np.errstate(divide="ignore", invalid="ignore"):
            at = x0 + (latitude - y0) * (x1 - x0) / (y1 - y0)
        inside ^= crosses & (longitude < at)
    return inside


def centres(grid):
    rows, columns = np.mgrid[: grid.shape[0], : grid.shape[1]] + 0.5
    x, y = grid.transform * (columns.ravel(), rows.ravel())
    return tuple(np.array(v) for v in transform(grid.crs, "OGC:CRS84", x, y))


def test_a_polygon_in_degrees_on_a_grid_in_metres():
    placed = place_area(read_area(TRIANGLE), GRID)
    longitude, latitude = centres(placed.grid)
    expected = inside_polygon(longitude, latitude, TRIANGLE["coordinates"][0])
    found = ~placed.outside(0, placed.window.height).ravel()
    assert found.sum() > 1000
    assert (found != expected).sum() <= 2  # centres a hair from an edge
    # Nothing of it lies outside of the window, whose sides it touches.
    longitude, latitude = centres(GRID)
    whole = inside_polygon(longitude, latitude, TRIANGLE["coordinates"][0]).reshape(GRID.shape)
    assert whole[placed.window.slices].sum() == whole.sum()


def test_rows_asked_for_one_by_one_are_those_of_the_whole():
    placed = place_area(read_area(TRIANGLE), GRID)
    whole = placed.outside(0, placed.window.height)
    parts = [placed.outside(row, 1) for row in range(placed.window.height)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_bounds_in_the_scenes_own_crs_take_every_pixel_that_they_touch():
    placed = place_area(read_area((600_410, 5_298_990, 600_590, 5_299_590), "EPSG:32632"), GRID)
    assert placed.outside(0, placed.window.height) is None
    assert (placed.window.row, placed.window.column) == (20, 20)
    assert placed.window.shape == (31, 10)


@pytest.mark.parametrize(
    ("crs", "corner", "size"), [(32632, (600_000, 5_300_000), 20), (4326, (11, 48), 9e-5)]
)
def test_bounds_on_a_turned_grid_take_only_the_pixels_inside(crs, corner, size):
    turned = Affine.translation(*corner) * Affine.rotation(5) * Affine.scale(size, -size)
    grid = Grid(CRS.from_epsg(crs), turned, (200, 240))
    rows, columns = np.mgrid[: grid.shape[0], : grid.shape[1]] + 0.5
    x, y = grid.transform * (columns, rows)
    west, east = np.percentile(x, (30, 60))
    south, north = np.percentile(y, (40, 70))
    placed = place_area(read_area((west, south, east, north), crs), grid)
    found = np.zeros(grid.shape, bool)
    found[placed.window.slices] = ~placed.outside(0, placed.window.height)
    np.testing.assert_array_equal(found, (x > west) & (x < east) & (y > south) & (y < north))


def test_bounds_in_degrees_are_a_polygon_on_the_grid():
    bounds = (10.34, 47.82, 10.36, 47.835)
    placed = place_area(read_area(bounds), GRID)
    longitude, latitude = centres(placed.grid)
    west, south, east, north = bounds
    expected = (longitude > west) & (longitude < east) & (latitude > south) & (latitude < north)
    np.testing.assert_array_equal(~placed.outside(0, placed.window.height).ravel(), expected)


@given(
    west=st.floats(-0.2, 0.9),
    south=st.floats(-0.2, 0.9),
    size=st.tuples(st.floats(0.25, 0.5), st.floats(0.25, 0.5)),
)
@settings(max_examples=30, deadline=None)
def test_the_same_rectangle_in_two_crs_is_the_same_area(west, south, size):
    left, bottom, right, top = GRID.bounds
    x0, y0 = left + west * (right - left), bottom + south * (top - bottom)
    x1, y1 = x0 + size[0] * (right - left), y0 + size[1] * (top - bottom)
    ring = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
    longitude, latitude = transform(GRID.crs, "OGC:CRS84", *zip(*ring, strict=True))
    degrees = [list(p) for p in zip(longitude, latitude, strict=True)]
    placed = place_area(read_area({"type": "Polygon", "coordinates": [degrees]}), GRID)
    found = np.zeros(GRID.shape, bool)
    found[placed.window.slices] = ~placed.outside(0, placed.window.height)
    rows, columns = np.mgrid[: GRID.shape[0], : GRID.shape[1]] + 0.5
    x, y = left + 20 * columns, top - 20 * rows
    expected = (x > x0) & (x < x1) & (y > y0) & (y < y1)
    # A straight edge in degrees bends by less than a metre over such a length.
    distance = np.min([abs(x - x0), abs(x - x1), abs(y - y0), abs(y - y1)], axis=0)
    np.testing.assert_array_equal(found[distance > 1], expected[distance > 1])
    reaches_out = min(x0 - left, y0 - bottom, right - x1, top - y1) < -20
    assert bool(placed.notes) == reaches_out


def test_geojson_in_every_dress(tmp_path):
    feature = {"type": "Feature", "properties": {}, "geometry": TRIANGLE}
    collection = {"type": "FeatureCollection", "features": [feature]}
    multi = {"type": "MultiPolygon", "coordinates": [TRIANGLE["coordinates"]]}
    gathered = {"type": "GeometryCollection", "geometries": [TRIANGLE]}
    path = tmp_path / "area.geojson"
    path.write_text(json.dumps(collection))
    for value in (feature, collection, multi, gathered, path, str(path), json.dumps(TRIANGLE)):
        assert read_area(value) == read_area(TRIANGLE)


def test_several_polygons_and_holes():
    def square(x, y, size):
        return [[x, y], [x + size, y], [x + size, y + size], [x, y + size], [x, y]]

    area = {
        "type": "MultiPolygon",
        "coordinates": [
            [square(600_000, 5_299_000, 400), square(600_100, 5_299_100, 200)],
            [square(601_000, 5_299_000, 200)],
        ],
    }
    placed = place_area(read_area(area, 32632), GRID)
    assert (~placed.outside(0, placed.window.height)).sum() == 20 * 20 - 10 * 10 + 10 * 10


def test_the_crs_member_of_old_geojson():
    area = {
        "type": "Polygon",
        "coordinates": [[[600_000, 5_299_000], [601_000, 5_299_000], [600_000, 5_300_000],
                         [600_000, 5_299_000]]],
        "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}},
    }  # fmt: skip
    assert read_area(area).crs == CRS.from_epsg(32632)
    assert place_area(read_area(area), GRID).window.shape == (50, 50)


def test_a_crs_member_that_is_a_text():
    assert read_area(TRIANGLE | {"crs": "EPSG:32632"}).crs == CRS.from_epsg(32632)
    assert read_area(TRIANGLE | {"crs": None}).crs == read_area(TRIANGLE).crs


def test_an_area_partly_outside_says_so():
    placed = place_area(read_area((599_000, 5_299_000, 600_500, 5_299_500), 32632), GRID)
    assert "beyond the scene" in placed.notes[0]
    assert placed.window.column == 0


def test_an_area_outside_is_told_in_its_own_crs():
    with pytest.raises(GridError, match=r"\(0 0 1 1\) lies outside the scene \(10\.3"):
        place_area(read_area((0, 0, 1, 1)), GRID)


def test_an_area_between_pixels_is_empty():
    with pytest.raises(GridError, match="no pixel"):
        tiny = [[600_001, 5_299_001], [600_002, 5_299_001], [600_001, 5_299_002]]
        area = {"type": "Polygon", "coordinates": [[*tiny, tiny[0]]]}
        place_area(read_area(area, 32632), GRID)


def test_a_scene_without_crs_takes_no_area():
    with pytest.raises(GridError, match="none"):
        place_area(read_area(TRIANGLE), Grid(None, Affine.identity(), (10, 10)))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((1, 2, 3), "four numbers"),
        ((3, 0, 1, 5), "order is west, south, east, north"),
        ((90, 0, -90, 5), "order is west, south, east, north"),
        ((0, 0, float("nan"), 1), "four numbers"),
        ({"type": "Point", "coordinates": [1, 2]}, "'Point'"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, "fewer than four"),
        ({"type": "Polygon", "coordinates": [["a", "b", "c", "d"]]}, "do not read"),
        ("/nowhere/area.geojson", "nowhere/area.geojson"),
        ("{broken", "GeoJSON"),
        ({"type": "FeatureCollection", "features": None}, "no whole GeoJSON"),
        ({"type": "FeatureCollection", "features": ["a"]}, "no whole GeoJSON"),
        ({"type": "MultiPolygon", "coordinates": None}, "no whole GeoJSON"),
        (TRIANGLE | {"crs": {"type": "name"}}, "names none"),
        (TRIANGLE | {"crs": 5.5}, "unknown CRS 5.5"),
    ],
)
def test_what_is_no_area_is_refused(value, message):
    with pytest.raises(InputError, match=message):
        read_area(value)


def test_a_file_of_an_area_that_is_not_there_is_told_in_words(tmp_path):
    with pytest.raises(InputError, match=r"x.geojson: cannot be read as GeoJSON: No such file"):
        read_area(tmp_path / "x.geojson")


def test_an_unknown_crs_is_refused():
    with pytest.raises(InputError, match="EPSG:999999"):
        read_area(TRIANGLE, "EPSG:999999")


def test_metres_that_are_taken_as_degrees_are_told():
    bounds = (600_400, 5_299_000, 601_200, 5_299_600)
    with pytest.raises(GridError, match=r"look like metres; give --bounds-crs EPSG:32632,"):
        place_area(read_area(bounds), GRID)
    ring = [[600_400, 5_299_000], [601_200, 5_299_000], [600_400, 5_299_600], [600_400, 5_299_000]]
    with pytest.raises(GridError, match=r'"properties": \{"name": "EPSG:32632"\}\} in the GeoJSON'):
        place_area(read_area({"type": "Polygon", "coordinates": [ring]}), GRID)


def test_what_does_not_transform_is_told():
    with pytest.raises(GridError, match="does not transform to EPSG:32632"):
        place_area(read_area((-2e8, 0, 2e8, 1e9), 32601), GRID)


def test_degrees_beyond_the_180th_meridian_are_degrees():
    grid = Grid(CRS.from_epsg(32701), Affine(20, 0, 200_000, 0, -20, 8_000_000), (2000, 2000))
    west, north = (v[0] for v in transform(grid.crs, "OGC:CRS84", [210_000], [7_990_000]))
    here = place_area(read_area((west, north - 0.1, west + 0.1, north)), grid)
    around = place_area(read_area((west + 360, north - 0.1, west + 360.1, north)), grid)
    assert here.window == around.window


@pytest.mark.parametrize("code", [4326, 32601])
def test_bounds_across_the_180th_meridian_in_the_order_of_rfc_7946(code):
    corner = (179.99, 0.05) if code == 4326 else (166_000, 5_000)
    side = 1e-4 if code == 4326 else 10
    grid = Grid(CRS.from_epsg(code), Affine(side, 0, corner[0], 0, -side, corner[1]), (400, 400))
    across = place_area(read_area((179.995, 0.03, -179.99, 0.04)), grid)
    plain = place_area(read_area((179.995, 0.03, 180.01, 0.04)), grid)
    assert across.window == plain.window
    assert 100 < across.window.width < 400


def test_west_above_east_in_metres_is_empty():
    with pytest.raises(InputError, match="order is west"):
        read_area((600_000, 0, 500_000, 10), 32632)


def test_geojson_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "area.geojson"
    path.write_text(json.dumps(TRIANGLE), encoding="utf-8-sig")
    assert read_area(path) == read_area(TRIANGLE)


@pytest.mark.parametrize(("left", "west"), [(179.5, -180.0), (350.0, -9.5), (-10.0, 350.5)])
def test_longitudes_are_taken_around_on_a_grid_of_degrees(left, west):
    grid = Grid(CRS.from_epsg(4326), Affine(0.01, 0, left, 0, -0.01, 50), (100, 100))
    placed = place_area(read_area((west, 49.2, west + 0.25, 49.8)), grid)
    assert placed.window == Window(20, 50, 60, 25)
    assert not placed.notes


def test_an_area_cut_at_the_antimeridian_is_whole_on_a_grid_that_crosses_it():
    def box(west, east):
        return [[[west, 49.2], [east, 49.2], [east, 49.8], [west, 49.8], [west, 49.2]]]

    area = {"type": "MultiPolygon", "coordinates": [box(179.75, 180), box(-180, -179.75)]}
    grid = Grid(CRS.from_epsg(4326), Affine(0.01, 0, 179.5, 0, -0.01, 50), (100, 100))
    placed = place_area(read_area(area), grid)
    assert placed.window == Window(20, 25, 60, 50)
    assert not placed.outside(0, 60).any()


def utm(code, left, top, size=1000.0):
    return Grid(CRS.from_epsg(code), Affine(size, 0, left, 0, -size, top), (40, 60))


SCENES = {
    "in the middle of a zone": utm(32632, 480_000, 5_300_000),
    "across 180 degrees from the west": utm(32660, 800_000, 1_000_000),
    "across 180 degrees from the east": utm(32701, 140_000, 8_000_000),
    "far north in a zone": utm(32633, 300_000, 9_290_000),
    "around the south pole": utm(3031, -13_700, 21_500),
    "around the north pole": utm(3413, -13_700, 21_500),
    "the pole in its corner": utm(3031, 0, 40_000),
    "the pole on its side": utm(3413, -30_000, 0),
    "beside the pole": utm(3031, 1000, 20_000),
    "across 180 degrees near the pole": utm(3031, -30_000, -500_000),
    "at the end of the map": utm(3857, -20_037_508.342789244, 5_300_000),
    "at the other end of the map": utm(3857, 20_037_508.342789244 - 60_000, 5_300_000),
}


def star(rng, longitude, latitude, reach):
    """A polygon of many corners around a place, with a hole, straight between them in degrees."""
    # All around the place: with a gap of 180 degrees the hole would lie outside of the polygon.
    angles = (np.arange(12) + rng.uniform(0, 1, 12)) * np.pi / 6
    far = rng.uniform(0.3, 1, 12)
    rings = []
    for share in (1, 0.3):
        x = longitude + share * reach * far * np.cos(angles)
        y = np.clip(latitude + share * reach * far * np.sin(angles), -90, 90)
        ring = np.stack([x, y], axis=1).tolist()
        rings.append([*ring, ring[0]])
    return rings


def metres_to_edges(rings, longitude, latitude):
    """How far a place is from the nearest edge, straight in degrees; right for short ways."""
    scale = np.array([np.cos(np.radians(latitude)), 1]) * 111_132
    found = []
    for ring, turn in itertools.product(rings, (-360, 0, 360)):
        corners = (np.array(ring) - [longitude + turn, latitude]) * scale
        edges = np.diff(corners, axis=0)
        lengths = np.maximum((edges**2).sum(axis=1), 1e-30)
        along = np.clip(-(corners[:-1] * edges).sum(axis=1) / lengths, 0, 1)
        found.append(np.hypot(*(corners[:-1] + along[:, None] * edges).T).min())
    return min(found)


@pytest.mark.parametrize("name", SCENES)
@given(seed=st.integers(0, 2**32 - 1), reach=st.sampled_from([0.5, 2.0, 20.0, 90.0, 170.0]))
@settings(max_examples=25, deadline=None)
def test_areas_of_any_size_take_the_pixels_whose_centres_they_hold(name, seed, reach):
    grid, rng = SCENES[name], np.random.default_rng(seed)
    longitude, latitude = centres(grid)
    middle = rng.integers(longitude.size)
    x = (longitude[middle] + rng.uniform(-1.2, 1.2) * reach + 180) % 360 - 180
    rings = star(rng, x, latitude[middle] + rng.uniform(-1, 1) * min(reach, 40), reach)
    expected = np.zeros(longitude.size, bool)
    for turn in (-360, 0, 360):
        here = [inside_polygon(longitude + turn, latitude, ring) for ring in rings]
        expected |= here[0] ^ here[1]
    found = np.zeros(grid.shape, bool)
    try:
        placed = place_area(read_area({"type": "Polygon", "coordinates": rings}), grid)
        outside = placed.outside(0, placed.window.height)
        found[placed.window.slices] = ~outside
    except GridError as error:
        assert "scene" in str(error) and "transform" not in str(error)
    wrong = found.ravel() != expected
    near = [
        metres_to_edges(rings, *place)
        for place in zip(longitude[wrong], latitude[wrong], strict=True)
    ]
    assert max(near, default=0) < 20, "only centres a hair from an edge, of pixels of 1000 m"


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("bounds", [(-180, -90, 180, 90), (-360, -90, 0, 90), (0, -90, 360, 90)])
def test_bounds_of_the_whole_earth_hold_every_scene(name, bounds):
    placed = place_area(read_area(bounds), SCENES[name])
    assert placed.window == Window.whole(SCENES[name].shape)
    assert not placed.outside(0, placed.window.height).any()


def test_the_other_side_of_the_earth_is_not_on_the_scene():
    for bounds in ((-60, -60, 60, 60), (-100, -80, 100, 80)):
        with pytest.raises(GridError, match=r"lies outside the scene \(179\."):
            place_area(read_area(bounds), utm(32660, 740_000, 1_000_000))


def test_parallels_around_a_pole_are_round():
    grid = utm(3031, -30_000, 20_000)
    placed = place_area(read_area((-180, -90, 180, -89.87)), grid)
    _, latitude = centres(placed.grid)
    outside = placed.outside(0, placed.window.height).ravel()
    np.testing.assert_array_equal(outside, latitude > -89.87)


@pytest.mark.parametrize(
    ("left", "across", "bounds", "columns"),
    [
        (170, 20, (-180, 180), [(0, 200)]),
        (170, 20, (-175, 175), [(0, 50), (150, 200)]),
        (0, 360, (-10, 10), [(0, 100), (3500, 3600)]),
        (0, 360, (350, 360), [(3500, 3600)]),
        (-180, 360, (170, 190), [(0, 100), (3500, 3600)]),
        (-180, 360, (-180, 180), [(0, 3600)]),
        (-180, 360, (0, 360), [(0, 3600)]),
    ],
)
def test_an_area_meets_a_grid_of_degrees_on_both_sides(left, across, bounds, columns):
    grid = Grid(CRS.from_epsg(4326), Affine(0.1, 0, left, 0, -0.1, 50), (20, across * 10))
    placed = place_area(read_area((bounds[0], 48, bounds[1], 50)), grid)
    expected = np.zeros(grid.shape, bool)
    for first, stop in columns:
        expected[:, first:stop] = True
    found = np.zeros(grid.shape, bool)
    found[placed.window.slices] = ~placed.outside(0, placed.window.height)
    np.testing.assert_array_equal(found, expected)
    assert bool(placed.notes) == (across == 20), "beyond the scene only where it is"
    own = place_area(read_area((bounds[0], 48, bounds[1], 50), 4326), grid)
    assert own.window == placed.window
    outside = own.outside(0, own.window.height)
    np.testing.assert_array_equal(
        ~np.zeros(own.window.shape, bool) if outside is None else ~outside,
        expected[own.window.slices],
    )


def test_an_outline_that_is_only_a_point_is_told_as_such():
    ring = [[600_500, 5_299_500]] * 4
    with pytest.raises(InputError, match="only a point, at 600500 5299500"):
        read_area({"type": "Polygon", "coordinates": [ring]}, 32632)
    beside = {"type": "MultiPolygon", "coordinates": [[ring], TRIANGLE["coordinates"]]}
    assert read_area(beside).geometry["type"] == "MultiPolygon"


def test_a_polygon_without_rings_is_none():
    with pytest.raises(InputError, match="must hold polygons"):
        read_area({"type": "Polygon", "coordinates": []})
    assert read_area({"type": "MultiPolygon", "coordinates": [[], TRIANGLE["coordinates"]]}) == (
        read_area(TRIANGLE)
    )


def test_a_dense_outline_is_not_made_denser() -> None:
    turns = np.linspace(0, 2 * np.pi, 20_001)
    ring = np.stack([15.1 + 0.003 * np.cos(turns), 0.01 + 0.003 * np.sin(turns)], axis=1)
    polygon = {"type": "Polygon", "coordinates": [ring.tolist()]}
    grid = Grid(CRS.from_epsg(32633), Affine(10, 0, 510000, 0, -10, 2000), (200, 200))
    placed = place_area(read_area(polygon), grid)
    assert placed.geometry is not None
    assert len(placed.geometry["coordinates"][0]) == len(ring)
    outside = placed.outside(0, placed.window.height)
    assert outside is not None
    radius = 0.003 * 111_320 / 10  # pixels; a degree of latitude is 0.7 % shorter there
    assert (~outside).sum() == pytest.approx(np.pi * radius**2, rel=0.02)


@pytest.mark.parametrize(
    ("crs", "east", "north"),
    [("OGC:CRS84", (11.0, 19.0), (69.0, 70.0)), ("EPSG:3857", (1.2e6, 2.1e6), (1.08e7, 1.11e7))],
)
def test_the_long_edge_of_a_detailed_outline_is_still_cut(crs, east, north):
    # A coast with bays closed by one straight edge far in the north, where that is a curve.
    along = np.linspace(0, 1, 30_001)
    bays = north[1] - (north[1] - north[0]) * (0.3 + 0.2 * np.sin(along * 900))
    coast = np.stack([east[0] + along * (east[1] - east[0]), bays], axis=1)
    ring = [[east[0], north[0]], *coast.tolist(), [east[1], north[0]]]
    parts = np.linspace((east[1], north[0]), (east[0], north[0]), 3001)
    dense = [ring[0], *coast.tolist(), *parts.tolist()]
    south = transform(crs, "EPSG:32633", [sum(east) / 2], [north[0]])[1][0]
    grid = Grid(CRS.from_epsg(32633), Affine(50, 0, 490000, 0, -50, south + 10_000), (400, 400))
    placed = [
        place_area(read_area({"type": "Polygon", "coordinates": [shape]}, crs), grid).geometry
        for shape in (ring, dense)
    ]
    found, truth = (geometry_mask([g], grid.shape, grid.transform) for g in placed)
    assert 0.2 < truth.mean() < 0.8
    assert (found != truth).mean() < 0.002


@pytest.mark.parametrize("crs", ["OGC:CRS84", "EPSG:32633"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_coordinates_that_are_no_numbers_are_an_error_of_ours(crs, value):
    ring = [[10.0, 47.0], [10.1, 47.0], [10.1, value], [10.0, 47.0]]
    with pytest.raises(InputError, match="finite"):
        read_area({"type": "Polygon", "coordinates": [ring]}, crs)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"type": "FeatureCollection", "features": []}, "is an empty 'FeatureCollection'"),
        ({"type": "GeometryCollection", "geometries": []}, "is an empty 'GeometryCollection'"),
        ({"type": "Feature", "geometry": None}, "is an empty 'Feature'"),
        ({"type": "Feature", "geometry": {"type": "Point"}}, "holds only 'Point'"),
        (
            {"type": "GeometryCollection", "geometries": [{"type": "Point"}, {"type": "Line"}]},
            "holds only 'Point', 'Line'",
        ),
        ([1], "must be an object, got list"),
        (TRIANGLE | {"crs": "EPSG:999999"}, "unknown CRS 'EPSG:999999'"),
    ],
)
def test_an_area_that_is_none_is_told_with_its_file(tmp_path, capfd, value, said):
    path = tmp_path / "farm.geojson"
    path.write_text(json.dumps(value))
    with pytest.raises(InputError, match=rf"farm\.geojson: .*{said}"):
        read_area(path)
    if isinstance(value, dict):
        with pytest.raises(InputError) as caught:
            read_area(json.dumps(value))
        assert said in str(caught.value) and "{" not in str(caught.value)
    assert not capfd.readouterr().err, "GDAL prints nothing beside it"


def test_an_unknown_crs_is_told_once(capfd):
    for crs in ("EPSG:999999", ""):
        for area in (TRIANGLE, (10, 47, 11, 48)):
            with pytest.raises(InputError, match=f"unknown CRS '{crs}'"):
                read_area(area, crs)
    assert not capfd.readouterr().err


UTM = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
METRES = {
    "type": "Polygon",
    "coordinates": [[[600_000, 5_299_000], [601_000, 5_299_000], [600_000, 5_300_000],
                     [600_000, 5_299_000]]],
}  # fmt: skip


def features(*members):
    return {"type": "FeatureCollection", "features": [*members]}


def feature(geometry, **members):
    return {"type": "Feature", "properties": {}, "geometry": geometry, **members}


@pytest.mark.parametrize(
    "value",
    [
        feature(METRES | {"crs": UTM}),
        feature(METRES, crs=UTM),
        features(feature(METRES, crs=UTM), feature(METRES | {"crs": "EPSG:32632"})),
        features(feature(METRES, crs=UTM), feature(None)),
        features(feature(METRES), feature(METRES, crs=UTM)) | {"crs": UTM},
        {"type": "GeometryCollection", "geometries": [METRES | {"crs": UTM}]},
    ],
)
def test_the_crs_member_of_what_is_inside(value):
    assert read_area(value).crs == CRS.from_epsg(32632)
    assert read_area(value, 32633).crs == CRS.from_epsg(32633), "what is given goes before"


def test_crs_members_that_differ_are_told():
    other = feature(METRES, crs="EPSG:32633")
    with pytest.raises(InputError, match=r"different CRSs \(EPSG:32632, EPSG:32633\)"):
        read_area(features(feature(METRES, crs=UTM), other))
    with pytest.raises(InputError, match=r"different CRSs \(EPSG:32632, OGC:CRS84\)"):
        read_area(features(feature(METRES, crs=UTM), feature(TRIANGLE)))
    nameless = METRES | {"crs": {"type": "EPSG", "properties": {"code": 32632}}}
    assert read_area(nameless, 32632).crs == CRS.from_epsg(32632)


class _Shape:
    def __init__(self, geometry, **members):
        self.__geo_interface__ = geometry
        vars(self).update(members)


def test_shapes_of_other_libraries():
    shapely = pytest.importorskip("shapely.geometry")
    assert read_area(shapely.shape(TRIANGLE)) == read_area(TRIANGLE)
    assert read_area(shapely.shape(METRES), 32632) == read_area(METRES, 32632)
    frame = _Shape(features(feature(METRES)), crs=CRS.from_epsg(32632))
    assert read_area(frame) == read_area(METRES, 32632)
    assert read_area(frame, 32633).crs == CRS.from_epsg(32633)
    assert read_area(_Shape(TRIANGLE, crs=None)) == read_area(TRIANGLE)


@pytest.mark.parametrize("value", [5, None, object(), [1, 2, 3, "x"], [[1, 2], [3, 4], 5, 6]])
def test_what_is_no_area_at_all_is_told(value):
    with pytest.raises(InputError, match=r"GeoJSON .* or four numbers"):
        read_area(value)


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_name_of_an_area_is_told(value):
    with pytest.raises(InputError, match="empty name"):
        read_area(value)
