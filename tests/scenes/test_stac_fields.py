"""Fields of STAC items that are not what they should be, and addresses that are encoded."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from nubila.cli import app
from nubila.errors import MetadataError, MissingFileError
from nubila.scenes.location import resolve
from nubila.scenes.stac import open_stac
from tests.infer.scenes import BANDS, GRID, counts
from tests.infer.toy import write_toy

PLACE = {
    "proj:code": "EPSG:32632",
    "proj:shape": list(GRID.shape),
    "proj:transform": list(GRID.transform)[:6],
}
RING = [[10.0, 47.0], [11.0, 47.0], [11.0, 48.0], [10.0, 47.0]]
HREF = "./{}.tif"


def item(folder, *, href=HREF, place=PLACE, properties=None, **fields):
    """An item of a file a band, with fields changed, as a file."""
    asset = {"raster:bands": [{"scale": 1e-4, "offset": 0, "nodata": 0}], **place}
    found = {
        "type": "Feature", "stac_version": "1.0.0", "id": "it", "geometry": None, "links": [],
        "properties": {"datetime": "2024-07-05T10:10:00Z", **(properties or {})},
        "assets": {name: {"href": href.format(name), **asset} for name in BANDS},
    }  # fmt: skip
    path = folder / "item.json"
    path.write_text(json.dumps(found | fields))
    return path


def write_bands(folder):
    folder.mkdir(exist_ok=True)
    for name, band in zip(BANDS, counts(GRID.shape), strict=True):
        with rasterio.open(
            folder / f"{name}.tif", "w", driver="GTiff", count=1, dtype="uint16", crs=GRID.crs,
            height=GRID.shape[0], width=GRID.shape[1], transform=GRID.transform,
        ) as data:  # fmt: skip
            data.write(band, 1)


@pytest.mark.parametrize(
    "geometry",
    [
        "x",
        5,
        {},
        {"type": "Feature"},
        {"type": "Polygon"},
        {"type": "Polygon", "coordinates": {"a": 1}},
        {"type": "Polygon", "coordinates": [["a"]]},
        {"type": "Polygon", "coordinates": [RING[0]]},
        {"type": "Polygon", "coordinates": [[[10.0, float("nan")], *RING]]},
        {"type": "Polygon", "coordinates": [[[10.0], *RING]]},
        {"type": "Polygon", "coordinates": [[[10**400, 0], *RING]]},
        {"type": "MultiPolygon", "coordinates": [RING]},
    ],
)
def test_a_geometry_that_is_none_is_told(tmp_path, geometry):
    with pytest.raises(MetadataError, match=r"item\.json: geometry is .*expected") as caught:
        open_stac(item(tmp_path, geometry=geometry))
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "geometry",
    [
        None,
        {"type": "Point", "coordinates": [10, 47]},
        {"type": "GeometryCollection", "geometries": []},
        {"type": "Polygon", "coordinates": []},
        {"type": "Polygon", "coordinates": [[]]},
        {"type": "Polygon", "coordinates": [RING[:2]]},
        {"type": "MultiPolygon", "coordinates": [[]]},
    ],
)
def test_a_geometry_that_encloses_nothing_is_no_footprint(tmp_path, geometry):
    path = item(tmp_path, geometry=geometry)
    assert open_stac(path).footprint is None
    assert CliRunner().invoke(app, ["info", str(path)]).exit_code == 0


def test_a_geometry_is_the_footprint(tmp_path):
    polygon = {"type": "Polygon", "coordinates": [[[*p, 500.0] for p in RING]]}
    several = {"type": "MultiPolygon", "coordinates": [[RING], [RING]]}
    for geometry in (polygon, several):
        assert open_stac(item(tmp_path, geometry=geometry)).footprint == geometry


@pytest.mark.parametrize("field", ["datetime", "start_datetime"])
@pytest.mark.parametrize(
    "value", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "yesterday", 5, ["x"]]
)
def test_a_time_that_is_none_is_told(tmp_path, field, value):
    path = item(tmp_path, properties={"datetime": None, field: value})
    with pytest.raises(MetadataError, match=rf"item\.json: {field} is .*RFC 3339"):
        open_stac(path)


def test_times(tmp_path):
    zoned = open_stac(item(tmp_path, properties={"datetime": "2024-07-05T12:10:00+02:00"}))
    assert zoned.acquired == datetime(2024, 7, 5, 10, 10, tzinfo=UTC)
    plain = open_stac(item(tmp_path, properties={"datetime": "2024-07-05T12:10:00"}))
    assert plain.acquired == datetime(2024, 7, 5, 12, 10, tzinfo=UTC)
    lower = open_stac(item(tmp_path, properties={"datetime": "2024-07-05t12:10:00z"}))
    assert lower.acquired == datetime(2024, 7, 5, 12, 10, tzinfo=UTC)


def test_instruments_and_roles_are_lists(tmp_path):
    landsat = {"platform": "landsat-8", "instruments": 5}
    with pytest.raises(MetadataError, match=r"instruments is 5, expected a list"):
        open_stac(item(tmp_path, properties=landsat))
    named = open_stac(item(tmp_path, properties=landsat | {"instruments": "OLI"}))
    assert named.sensor == "landsat-oli", "a name by itself"
    with pytest.raises(MetadataError, match=r"roles of asset 'a' is 5, expected a list"):
        open_stac(item(tmp_path, assets={"a": {"href": "a.tif", "roles": 5}}))


def test_links_that_are_no_list_link_to_nothing(tmp_path):
    content = json.loads(item(tmp_path, links=5).read_text())
    assert open_stac(content).id == "it"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("proj:shape", [0, 0]),
        ("proj:shape", [-5, 128]),
        ("proj:shape", [10.5, 128]),
        ("proj:shape", [float("inf"), 128]),
        ("proj:shape", [128]),
        ("proj:shape", 128),
        ("proj:transform", [0, 0, 0, 0, 0, 0]),
        ("proj:transform", [20, 0, 0, 20, 0, 0]),
        ("proj:transform", [float("nan"), 0, 0, 0, 20, 0]),
        ("proj:transform", [20, 0, 0]),
        ("proj:transform", {"a": 1}),
        ("proj:code", "EPSG:999999"),
        ("proj:code", 5.5),
    ],
)
def test_a_place_that_cannot_be_is_told(tmp_path, capfd, field, value):
    with pytest.raises(MetadataError, match=rf"item\.json: {field} is .*expected"):
        open_stac(item(tmp_path, place=PLACE | {field: value}))
    assert not capfd.readouterr().err, "GDAL prints nothing beside it"


def test_an_item_that_cannot_be_told_of_leaves_no_file(tmp_path):
    write_bands(tmp_path)
    model = write_toy(tmp_path / "toy.onnx", bands=BANDS)
    path = item(tmp_path, geometry={"type": "Polygon"})
    command = ["mask", str(path), "-m", str(model), "-o", str(tmp_path / "out")]
    assert isinstance(CliRunner().invoke(app, command).exception, MetadataError)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("href", ["./sub%20dir/{}.tif", "./sub dir/{}.tif"])
@pytest.mark.parametrize("place", [PLACE, {}])
def test_an_address_with_its_percent_encoding(tmp_path, href, place):
    write_bands(tmp_path / "sub dir")
    scene = open_stac(item(tmp_path, href=href, place=place))
    found = scene.read(["blue"]).reflectance[0]
    np.testing.assert_allclose(np.nan_to_num(found), counts(GRID.shape)[0] * 1e-4, atol=1e-6)
    with pytest.raises(MissingFileError, match=r"a%20b\.tif: no such file"):
        open_stac(item(tmp_path, href="a%20b.tif", place={}))


def test_a_name_that_has_a_percent_sign_is_taken_as_it_is(tmp_path):
    for name in ("a%20b.tif", "a b.tif"):
        (tmp_path / name).touch()
    (tmp_path / "50%25").mkdir()
    (tmp_path / "50%25" / "c d.tif").touch()
    assert resolve("a%20b.tif", f"{tmp_path}/item.json") == f"{tmp_path}/a%20b.tif"
    found = resolve("c%20d.tif", f"{tmp_path}/50%25/item.json")
    assert found == f"{tmp_path}/50%25/c d.tif", "the item's own folder is as it is"
    whole = resolve(f"{tmp_path}/50%2525/c%20d.tif", "item.json")
    assert whole == f"{tmp_path}/50%25/c d.tif"
