import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import url2pathname

import pytest
from affine import Affine
from rasterio.crs import CRS

from nubila.infer.api import mask_scene, mask_to_folder
from nubila.infer.provenance import MaskOptions
from nubila.raster import Grid
from nubila.scenes import open_scene
from tests.infer.scenes import BANDS, GRID, scene, write_raster
from tests.infer.toy import write_toy

pystac = pytest.importorskip("pystac")
pytest.importorskip("jsonschema")
from pystac.extensions.classification import ClassificationExtension  # noqa: E402
from pystac.extensions.projection import ProjectionExtension  # noqa: E402
from pystac.validation.local_validator import LocalValidator  # noqa: E402


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("model") / "toy.onnx", bands=BANDS)


def item_of(result):
    item = pystac.Item.from_file(str(result.paths["item"]))
    # The core schema of STAC 1.1 comes with pystac; those of the extensions are on the web, and
    # are checked by the fields' own readers below.
    errors = LocalValidator().item_validator("1.1.0").iter_errors(item.to_dict())
    assert not [error.message for error in errors]
    return item


@pytest.fixture(scope="module")
def result(model, tmp_path_factory):
    options = MaskOptions(probabilities=True, validity=True)
    return mask_to_folder(scene(), tmp_path_factory.mktemp("out"), model=model, options=options)


def test_the_item_is_valid(result):
    item = item_of(result)
    assert item.id == "X1_mask"
    assert item.datetime == datetime(2024, 7, 5, 10, 10, tzinfo=UTC)
    cover = result.statistics.cover
    assert item.properties["eo:cloud_cover"] == pytest.approx(
        cover["cloud"] + cover["thin cloud"], abs=1e-3
    )
    assert item.properties["eo:snow_cover"] == pytest.approx(cover["snow"], abs=1e-3)
    assert item.properties["processing:software"]["nubila"]
    assert item.properties["platform"] == "sentinel-2a"


def test_extensions_read_what_was_written(result):
    item = item_of(result)
    classes = ClassificationExtension.ext(item.assets["mask"]).classes
    assert {c.value: c.name for c in classes}[3] == "cloud_shadow"
    assert next(c.color_hint for c in classes if c.value == 3) == "3C325A"
    assert next(c.nodata for c in classes if c.value == 255)
    projection = ProjectionExtension.ext(item)
    assert projection.code == "EPSG:32632"
    assert projection.shape == [200, 240]
    assert projection.transform == [20.0, 0.0, 600_000.0, 0.0, -20.0, 5_300_000.0]


def test_the_geometry_is_where_the_scene_is(result):
    item = item_of(result)
    west, south, east, north = item.bbox
    assert 10.33 < west < 10.34 and 10.39 < east < 10.41
    assert 47.80 < south < 47.82 and 47.84 < north < 47.85
    assert item.geometry["type"] == "Polygon"


def test_paths_are_relative_and_lead_to_files(result):
    item = json.loads(result.paths["item"].read_text())
    folder = result.paths["item"].parent
    assert set(item["assets"]) == {"mask", "probabilities", "validity", "style", "picture"}
    for asset in item["assets"].values():
        assert asset["href"].startswith("./")
        assert (folder / asset["href"]).is_file()
        assert asset["roles"] and asset["type"]


def test_the_scene_is_linked_by_a_relative_path(model, tmp_path):
    raster = write_raster(tmp_path / "image.tif")
    (tmp_path / "out").mkdir()
    result = mask_to_folder(open_scene(raster), tmp_path / "out", model=model)
    item = json.loads(result.paths["item"].read_text())
    assert item["links"] == [{"rel": "derived_from", "href": "../image.tif"}]
    item_of(result)


def test_a_scene_of_unknown_date_has_an_interval(model, tmp_path):
    result = mask_to_folder(scene(acquired=None), tmp_path, model=model)
    item = item_of(result)
    assert item.datetime is None
    assert item.common_metadata.start_datetime < item.common_metadata.end_datetime


def test_a_scene_without_a_place_has_no_geometry(model, tmp_path):
    from affine import Affine

    from nubila.raster import Grid

    grid = Grid(None, Affine(20, 0, 0, 0, -20, 0), (200, 240))
    result = mask_to_folder(scene(grid=grid), tmp_path, model=model)
    item = json.loads(result.paths["item"].read_text())
    assert item["geometry"] is None and "bbox" not in item
    assert item["properties"]["proj:code"] is None


@pytest.mark.parametrize("code", [32601, 32660])
def test_across_the_antimeridian_the_geometry_is_cut_in_two(model, tmp_path, code):
    """Corners by the other side's zone, whose own numbers are the same to either side of 180."""
    left = 64_000 if code == 32601 else 736_000
    grid = Grid(CRS.from_epsg(code), Affine(1000, 0, left, 0, -1000, 200_000), (100, 200))
    item = item_of(mask_to_folder(scene(grid=grid), tmp_path, model=model))
    geometry = item.geometry
    assert geometry["type"] == "MultiPolygon"
    spans = sorted(
        (min(x for x, _ in ring), max(x for x, _ in ring)) for (ring,) in geometry["coordinates"]
    )
    west, east = (176.0, -176.0)
    assert spans[0][0] == -180 and spans[0][1] < east
    assert spans[1][0] > west and spans[1][1] == 180
    assert item.bbox[0] == spans[1][0] and item.bbox[2] == spans[0][1]
    assert item.bbox[0] > 0 > item.bbox[2]
    # A degree of longitude at the equator is 111.32 km: the two parts together are 200 km wide.
    width = 180 - spans[1][0] + spans[0][1] + 180
    assert width == pytest.approx(200 / 111.32, rel=0.01)


@pytest.mark.parametrize(
    ("crs", "transform", "bbox"),
    [
        ("EPSG:3413", Affine(1000, 0, -100_000, 0, -1000, 50_000), [-180, 88.97, 180, 90]),
        ("EPSG:3031", Affine(1000, 0, -100_000, 0, -1000, 50_000), [-180, -90, 180, -88.97]),
        ("EPSG:4326", Affine(1.8, 0, -180, 0, -1.8, 90), [-180, -90, 180, 90]),
        ("EPSG:4326", Affine(1.8, 0, 0, 0, -1.8, 90), [-180, -90, 180, 90]),
        ("EPSG:4326", Affine(0.01, 0, 179, 0, -0.01, 5), [179, 4, -179, 5]),
    ],
)
def test_the_box_of_a_scene_around_a_pole_or_the_globe(model, tmp_path, crs, transform, bbox):
    grid = Grid(CRS.from_user_input(crs), transform, (100, 200))
    item = item_of(mask_to_folder(scene(grid=grid), tmp_path, model=model))
    assert item.bbox == pytest.approx(bbox, abs=0.02)


def test_a_crs_without_a_code_is_told_as_wkt_2(model, tmp_path):
    crs = CRS.from_string("+proj=laea +lat_0=48 +lon_0=11 +ellps=GRS80 +units=m")
    grid = Grid(crs, Affine(20, 0, 0, 0, -20, 0), (200, 240))
    item = item_of(mask_to_folder(scene(grid=grid), tmp_path, model=model))
    projection = ProjectionExtension.ext(item)
    assert projection.code is None
    assert projection.wkt2.startswith("PROJCRS[")
    assert CRS.from_wkt(projection.wkt2) == crs


def test_a_local_crs_has_no_geometry(model, tmp_path):
    crs = CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]')
    grid = Grid(crs, Affine(20, 0, 0, 0, -20, 0), (200, 240))
    result = mask_to_folder(scene(grid=grid), tmp_path, model=model)
    assert json.loads(result.paths["item"].read_text())["geometry"] is None


def test_pixels_too_small_to_enclose_anything_have_no_geometry(model, tmp_path):
    grid = Grid(GRID.crs, Affine(1e-9, 0, 600_000, 0, -1e-9, 5_300_000), GRID.shape)
    result = mask_to_folder(scene(grid=grid), tmp_path, model=model)
    assert item_of(result).geometry is None
    assert item_of(result).bbox is None


def test_what_cannot_be_told_of_fails_before_there_is_a_file(model, tmp_path):
    beyond = scene(acquired=datetime.fromisoformat("0001-01-01T00:00:00+14:00"))
    for source in (beyond, replace(scene(), footprint={"type": "Polygon"})):
        with pytest.raises((OverflowError, ValueError)):
            mask_to_folder(source, tmp_path / "out", model=model)
        with pytest.raises((OverflowError, ValueError)):
            mask_scene(source, model=model).write(tmp_path)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("earlier", [False, True])
def test_names_that_say_more_in_an_address_are_encoded(model, tmp_path, earlier):
    raster = write_raster(tmp_path / "50% #1?.tif")
    first = mask_to_folder(open_scene(raster), tmp_path / "out", model=model)
    path = first.paths["item"]
    item = json.loads(path.read_text(encoding="utf-8"))
    assert item["links"][0]["href"] == "../50%25%20%231%3F.tif"
    for asset in item["assets"].values():
        place = urlsplit(urljoin(path.as_uri(), asset["href"]))
        assert Path(url2pathname(place.path)).is_file()
        assert not place.query and not place.fragment
    if earlier:  # as before names were encoded
        path.write_text(unquote(path.read_text(encoding="utf-8")), encoding="utf-8")
    again = mask_to_folder(open_scene(raster), tmp_path / "out", model=model)
    assert again.skipped
    assert again.paths == first.paths


def test_an_input_below_a_folder_whose_name_is_not_utf_8(model, tmp_path, monkeypatch):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_raster("a.tif")
    result = mask_to_folder(open_scene("a.tif", scale=1e-4), tmp_path / "out", model=model)
    item = json.loads(result.paths["item"].read_text(encoding="utf-8"))
    href = next(link["href"] for link in item["links"] if link["rel"] == "derived_from")
    assert href == "../caf%E9/a.tif"
    again = mask_to_folder(open_scene("a.tif", scale=1e-4), tmp_path / "out", model=model)
    assert again.paths == result.paths
