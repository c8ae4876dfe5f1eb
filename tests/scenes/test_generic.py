"""Plain rasters against rasterio and NumPy."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp, Resampling
from rasterio.shutil import copy as copy_raster

from nubila.classes import Validity
from nubila.errors import (
    BandError,
    DamagedFileError,
    GridError,
    InputError,
    MetadataError,
    MissingFileError,
)
from nubila.raster import Window
from nubila.scenes.describe import describe
from nubila.scenes.generic import open_raster
from nubila.scenes.location import unsigned

from .range_server import serve

SHAPE = (50, 60)
RNG = np.random.default_rng(3)


def write(path, values, *, names=(), tags=None, **profile):
    """Write (bands, rows, columns) as GeoTIFF."""
    bands, rows, columns = values.shape
    settings_ = {
        "driver": "GTiff",
        "crs": "EPSG:32633",
        "transform": Affine(10, 0, 400000, 0, -10, 5500000),
        "count": bands,
        "height": rows,
        "width": columns,
        "dtype": values.dtype,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", **(settings_ | profile)) as data:
            data.write(values)
            for index, name in enumerate(names, 1):
                data.set_band_description(index, name)
            if tags:
                data.scales, data.offsets = tags
    return path


def counts(bands=4, shape=SHAPE, dtype="uint16"):
    return RNG.integers(1, 9000, (bands, *shape)).astype(dtype)


def test_given_bands_and_scale(tmp_path):
    values = counts()
    path = write(tmp_path / "a.tif", values)
    scene = open_raster(path, bands="blue,-,red,nir", scale=1e-4, offset=-0.1, nodata=17)
    assert list(scene.bands) == ["blue", "red", "nir"]
    assert scene.id == "a"
    expected = np.where(values == 17, np.nan, values * 1e-4 - 0.1)[[3, 0]]
    np.testing.assert_allclose(scene.read(["nir", "blue"]).reflectance, expected, atol=1e-6)
    assert scene.crs.to_epsg() == 32633
    assert scene.default_resolution == 10
    assert scene.bands["red"].scale_from == "given"


@pytest.mark.parametrize(
    ("descriptions", "sensor", "expected"),
    [
        (["blue", "Green", "RED", "nir"], None, ["blue", "green", "red", "nir"]),
        (["B02", "B03", "B8A", "B12"], None, ["blue", "green", "nir08", "swir22"]),
        (["B2", "B3", "B5", "B10"], "landsat-oli", ["blue", "green", "nir08", None]),
        (["SR_B1", "SR_B2", "SR_B3", "SR_B4"], "landsat-tm", ["blue", "green", "red", "nir08"]),
        (["B2 blue", "B3 green", "swir1", "B10 tir"], None, ["blue", "green", "swir16", None]),
        (["red", "QA", "", "blue/red"], None, ["red", None, None, None]),
        (["B02", "B8A", "B10", "B11"], None, ["blue", "nir08", "cirrus", "swir16"]),
        (["B02", "B03", "B04", "QA"], None, ["blue", "green", "red", None]),
        (["B2", "B8A", "B9", "B11"], None, ["blue", "nir08", "nir09", "swir16"]),
        (
            ["B02_10m", "B04_10m", "B05_20m", "B8A_20m"],
            None,
            ["blue", "red", "rededge071", "nir08"],
        ),
        (["B02", "B05", "B06", "B09"], "landsat-oli", ["blue", "nir08", "swir16", "cirrus"]),
        (
            ["B05 nir", "B06 swir16", "B07 swir22", "B2 blue"],
            None,
            ["nir", "swir16", "swir22", "blue"],
        ),
    ],
)
def test_names_from_the_file(tmp_path, descriptions, sensor, expected):
    path = write(tmp_path / "a.tif", counts(), names=descriptions)
    scene = open_raster(path, scale=1e-4, sensor=sensor)
    assert list(scene.bands) == [name for name in expected if name]
    for index, name in enumerate(expected, 1):
        if name:
            assert scene.bands[name].files[0].source.index == index
        else:
            assert any(f"band {index} of" in note for note in scene.notes)


def test_names_that_say_nothing(tmp_path):
    path = write(tmp_path / "a.tif", counts(), names=["B2", "B3", "B10", "B11"])
    with pytest.raises(BandError, match=r"'B2', 'B3', 'B10', 'B11'(.|\n)*--bands"):
        open_raster(path, scale=1e-4)
    for labels in (
        ["B02", "B05", "B06", "B07"],
        ["B2", "B3", "B4", "B8"],
        ["B04", "B05", "nir", "x"],
    ):
        path = write(tmp_path / "c.tif", counts(), names=labels)
        with pytest.raises(BandError, match=r"B.*is not the same for each sensor(.|\n)*--bands"):
            open_raster(path, scale=1e-4)
    twice = write(tmp_path / "b.tif", counts(2), names=["red", "red"])
    with pytest.raises(BandError, match="twice"):
        open_raster(twice, scale=1e-4)


def test_all_labels_of_sentinel_2_as_earth_engine_writes_them(tmp_path):
    labels = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12"]
    path = write(tmp_path / "a.tif", counts(12), names=labels)
    assert list(open_raster(path, scale=1e-4).bands) == [
        *("coastal", "blue", "green", "red", "rededge071", "rededge075", "rededge078", "nir"),
        *("nir08", "nir09", "swir16", "swir22"),
    ]


def test_files_named_like_sentinel_2s_own_images_have_its_labels(tmp_path):
    paths = [
        write(tmp_path / f"T33UUU_20170216T102101_{label}.tif", counts(1), names=[label])
        for label in ("B04", "B05")
    ]
    assert list(open_raster(paths, scale=1e-4).bands) == ["red", "rededge071"]


@pytest.mark.parametrize(
    ("bands", "said"),
    [
        ("blue,gren,red,nir", "'gren'; did you mean 'green'"),
        ("blue,green,red", "3 bands are named"),
        ("blue,green,red,red", "twice"),
        ("-,-,-,-", "left out"),
    ],
)
def test_wrong_bands(tmp_path, bands, said):
    with pytest.raises(BandError, match=said):
        open_raster(write(tmp_path / "a.tif", counts()), bands=bands, scale=1e-4)


def test_a_file_a_band(tmp_path):
    values = counts(3)
    paths = [
        write(tmp_path / f"scene_{name}.tif", band[None])
        for name, band in zip("bgr", values, strict=True)
    ]
    scene = open_raster(paths, bands=["blue", "green", "red"], scale=2e-4)
    assert scene.id == "scene"
    np.testing.assert_allclose(
        scene.read(["blue", "green", "red"]).reflectance, values * 2e-4, atol=1e-6
    )


@pytest.mark.parametrize(
    ("names", "identifier"),
    [
        (
            ["blue_patch_26_2_by_6_LC08_L1TP_01_T1", "red_patch_26_2_by_6_LC08_L1TP_01_T1"],
            "patch_26_2_by_6_LC08_L1TP_01_T1",
        ),
        (["S2_B02_20200101_T33UUU", "S2_B03_20200101_T33UUU"], "20200101_T33UUU"),
        (["T33UUU_B02_10m", "T33UUU_B11_10m"], "T33UUU"),
        (["B02_10m", "B03_10m"], "folder"),
        (["scene_B02", "scenery_B03"], "folder"),
    ],
)
def test_a_file_a_band_is_named_after_what_the_names_share(tmp_path, names, identifier):
    folder = tmp_path / "folder"
    folder.mkdir()
    paths = [write(folder / f"{name}.tif", counts(1)) for name in names]
    assert open_raster(paths, bands="blue,red", scale=1e-4).id == identifier


def test_files_of_two_resolutions(tmp_path):
    fine = write(tmp_path / "B02.tif", counts(1, (60, 40)))
    coarse = counts(1, (30, 20))
    transform = Affine(20, 0, 400000, 0, -20, 5500000)
    path = write(tmp_path / "B11.tif", coarse, transform=transform)
    scene = open_raster([path, fine], bands="swir16,blue", scale=1e-4)
    assert scene.resolution == pytest.approx(10)
    assert scene.id == tmp_path.name
    read = scene.read(["swir16"], resolution=20).reflectance[0]
    np.testing.assert_allclose(read, coarse[0] * 1e-4, atol=1e-6)


def test_tags_of_the_file(tmp_path):
    values = counts(2)
    tags = ((1e-4, 2e-4), (-0.1, 0.05))
    path = write(tmp_path / "a.tif", values, names=["red", "nir"], tags=tags, nodata=5)
    scene = open_raster(path)
    expected = values * np.array(tags[0])[:, None, None] + np.array(tags[1])[:, None, None]
    expected[values == 5] = np.nan
    np.testing.assert_allclose(scene.read(["red", "nir"]).reflectance, expected, atol=1e-6)
    assert not scene.notes


def test_what_is_given_wins_and_is_noted(tmp_path):
    values = counts(1)
    tags = ((1e-4,), (-0.1,))
    path = write(tmp_path / "a.tif", values, names=["red"], tags=tags, nodata=5)
    scene = open_raster(path, scale=3e-4, offset=0.2, nodata=9)
    expected = np.where(values == 9, np.nan, values * 3e-4 + 0.2)
    np.testing.assert_allclose(scene.read(["red"]).reflectance, expected, atol=1e-6)
    said = " ".join(scene.notes)
    for what, own in (("scale 0.0003", "0.0001"), ("offset 0.2", "-0.1"), ("nodata 9", "5")):
        assert f"given {what} is used, not the file's {own}" in said


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32"])
def test_counts_without_scale_are_refused(tmp_path, dtype):
    path = write(tmp_path / "a.tif", counts(1).clip(0, 120).astype(dtype), names=["red"])
    with pytest.raises(MetadataError, match=f"{dtype}(.|\n)*--scale"):
        open_raster(path)
    with pytest.raises(MetadataError, match="--scale"):
        open_raster(path, offset=-0.1)


def test_floats_are_reflectance_if_they_can_be(tmp_path):
    good = write(tmp_path / "a.tif", RNG.random((1, *SHAPE), "float32"), names=["red"])
    scene = open_raster(good)
    assert any("taken as reflectance" in note for note in scene.notes)
    with rasterio.open(good) as data:
        np.testing.assert_array_equal(scene.read(["red"]).reflectance, data.read())
    scaled = write(tmp_path / "b.tif", counts(1, dtype="float32"), names=["red"])
    with pytest.raises(MetadataError, match="--scale"):
        open_raster(scaled)
    assert open_raster(scaled, scale=1e-4).bands["red"].scale == 1e-4


@pytest.mark.parametrize("nodata", [-9999.0, 1e20, np.nan])
def test_no_data_does_not_spoil_the_judgement(tmp_path, nodata):
    values = RNG.random((1, 300, 300), "float32")
    values[:, :150] = nodata
    values[:, 250:, :100] = np.inf
    path = write(tmp_path / "a.tif", values, names=["red"], nodata=nodata)
    assert open_raster(path).bands["red"].scale == 1
    # The bright part lies where none of the corners is.
    values[:, 120:180, 120:180] = 5000
    path = write(tmp_path / "b.tif", values, names=["red"], nodata=nodata)
    with pytest.raises(MetadataError, match="5000"):
        open_raster(path)


def test_nan_and_infinity_are_no_data(tmp_path):
    values = RNG.random((2, *SHAPE), "float32")
    values[0, 3, 4], values[:, 5, 6], values[:, 7, 8] = np.nan, np.inf, -np.inf
    path = write(tmp_path / "a.tif", values, names=["red", "nir"])
    pixels = open_raster(path).read(["red", "nir"])
    expected = np.zeros(SHAPE, np.uint8)
    expected[3, 4] = Validity.NOT_JUDGED
    expected[5, 6] = expected[7, 8] = Validity.NO_DATA
    np.testing.assert_array_equal(pixels.validity, expected)
    assert np.isfinite(pixels.reflectance[:, expected == 0]).all()


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_all_no_data(tmp_path, dtype):
    path = write(tmp_path / "a.tif", np.zeros((1, *SHAPE), dtype), names=["red"], nodata=0)
    pixels = open_raster(path, scale=1e-4).read(["red"])
    assert (pixels.validity == Validity.NO_DATA).all()


def test_counts_without_nodata_are_noted(tmp_path):
    path = write(tmp_path / "a.tif", counts(2), names=["red", "nir"])
    (note,) = open_raster(path, scale=1e-4).notes
    assert "--nodata" in note


def test_bands_of_another_crs_or_extent(tmp_path):
    one = write(tmp_path / "a.tif", counts(1))
    for name, change in {
        "crs": {"crs": "EPSG:32634"},
        "place": {"transform": Affine(10, 0, 400100, 0, -10, 5500000)},
        "size": {"transform": Affine(20, 0, 400000, 0, -20, 5500000)},
    }.items():
        other = write(tmp_path / f"{name}.tif", counts(1), **change)
        with pytest.raises(GridError, match=f"same ground(.|\n)*{name}.tif"):
            open_raster([one, other], bands="red,nir", scale=1e-4)


def test_turned_grid(tmp_path):
    turned = Affine(10, 0, 400000, 0, -10, 5500000) * Affine.rotation(20)
    path = write(tmp_path / "a.tif", counts(1), transform=turned)
    with pytest.raises(GridError, match="gdalwarp"):
        open_raster(path, bands="red", scale=1e-4)


def test_no_raster(tmp_path):
    (tmp_path / "a.tif").write_text("no raster")
    with pytest.raises(DamagedFileError, match=r"a\.tif"):
        open_raster(tmp_path / "a.tif")
    with pytest.raises(MissingFileError, match=r"b\.tif"):
        open_raster(tmp_path / "b.tif")


@pytest.mark.parametrize(
    "given_", [{"scale": 0}, {"scale": -1}, {"offset": np.nan}, {"sensor": "landsat-oly"}]
)
def test_unusable_arguments(tmp_path, given_):
    with pytest.raises(InputError):
        open_raster(write(tmp_path / "a.tif", counts(1)), bands="red", **({"scale": 1.0} | given_))


def test_png_and_vrt(tmp_path):
    values = RNG.integers(0, 255, (3, *SHAPE)).astype("uint8")
    png = write(tmp_path / "a.png", values, driver="PNG", crs=None, transform=Affine.identity())
    scene = open_raster(png, bands="red,green,blue", scale=1 / 255)
    np.testing.assert_allclose(scene.read(["green"]).reflectance[0], values[1] / 255, atol=1e-6)
    tif = write(tmp_path / "b.tif", values, names=["red", "green", "blue"])
    vrt = tmp_path / "b.vrt"
    copy_raster(tif, vrt, driver="VRT")
    scene = open_raster(vrt, scale=1 / 255)
    np.testing.assert_allclose(scene.read(["blue"]).reflectance[0], values[2] / 255, atol=1e-6)


@given(
    scale=st.floats(1e-6, 1e-2),
    offset=st.floats(-1, 1),
    nodata=st.none() | st.integers(0, 30),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_reflectance_is_value_times_scale_plus_offset(
    tmp_path_factory, scale, offset, nodata, dtype, seed
):
    values = np.random.default_rng(seed).integers(0, 30, (2, 9, 11)).astype(dtype)
    path = write(tmp_path_factory.mktemp("x") / "a.tif", values, names=["red", "nir"])
    scene = open_raster(path, scale=scale, offset=offset, nodata=nodata)
    expected = values.astype(float) * scale + offset
    # Where nothing says what means no data, 0 in every band does.
    empty = np.all(values == 0, axis=0) if nodata is None else values == nodata
    expected = np.where(empty, np.nan, expected)
    np.testing.assert_allclose(
        scene.read(["red", "nir"]).reflectance, expected, rtol=1e-5, atol=1e-6
    )


def write_cog(path, values):
    return write(
        path, values, driver="COG", names=["red", "nir"], nodata=0, blocksize=128, compress="NONE"
    )


def test_cog_over_http_by_ranges(tmp_path):
    values = counts(2, (1024, 1024))
    path = write_cog(tmp_path / "a.tif", values)
    window = Window(100, 200, 50, 40)
    with serve(tmp_path) as server:
        scene = open_raster(f"{server.url}/a.tif", scale=1e-4)
        part = scene.read(["red"], window).reflectance[0]
        np.testing.assert_allclose(part, values[0][window.slices] * 1e-4, atol=1e-6)
        size = path.stat().st_size
        assert 0 < sum(sent for _, _, sent in server.requests) < size / 3
        factor = scene.bands["red"].files[0].source.factors[-1]
        coarse = scene.read(["nir"], resolution=10 * factor).reflectance[0]
    with rasterio.open(path, overview_level=len(bin(factor)) - 4) as data:
        np.testing.assert_allclose(coarse, data.read(2) * 1e-4, atol=1e-6)


def test_http_query_and_missing_file(tmp_path):
    write_cog(tmp_path / "a.tif", counts(2, (256, 256)))
    with serve(tmp_path) as server:
        server.query = "sv=2021&sig=a%2Bb%3D"
        scene = open_raster(f"{server.url}/a.tif?{server.query}", scale=1e-4)
        assert scene.id == "a"
        assert scene.read(["red"]).reflectance.shape == (1, 256, 256)
        for url in (f"{server.url}/b.tif?{server.query}", f"{server.url}/a.tif?sig=wrong"):
            with pytest.raises(MissingFileError, match="no such file"):
                open_raster(url, scale=1e-4)


def test_buckets_are_read_by_ranges_and_named_as_they_were_given(tmp_path, monkeypatch):
    values = counts(2, (1024, 1024))
    (tmp_path / "eo-bucket").mkdir()
    write_cog(tmp_path / "eo-bucket" / "a.tif", values)
    with serve(tmp_path) as server:
        for key, value in {
            "AWS_S3_ENDPOINT": server.url.removeprefix("http://"),
            "AWS_HTTPS": "NO",
            "AWS_VIRTUAL_HOSTING": "FALSE",
            "AWS_NO_SIGN_REQUEST": "YES",
        }.items():
            monkeypatch.setenv(key, value)
        scene = open_raster("s3://eo-bucket/a.tif", scale=1e-4)
        part = scene.read(["red"], Window(10, 20, 30, 40)).reflectance[0]
        np.testing.assert_allclose(part, values[0, 10:40, 20:60] * 1e-4, atol=1e-6)
        size = (tmp_path / "eo-bucket" / "a.tif").stat().st_size
        assert 0 < sum(sent for _, _, sent in server.requests) < size / 3
        with pytest.raises(MissingFileError, match=r"^s3://eo-bucket/b\.tif: no such file"):
            open_raster("s3://eo-bucket/b.tif", scale=1e-4)


def test_own_overviews_are_read(tmp_path):
    path = write(tmp_path / "a.tif", counts(1, (256, 256)), names=["red"])
    with rasterio.open(path, "r+") as data:
        data.build_overviews([2, 4], Resampling.nearest)
    scene = open_raster(path, scale=1e-4)
    with rasterio.open(path, overview_level=1) as data:
        expected = data.read(1) * 1e-4
    np.testing.assert_allclose(
        scene.read(["red"], resolution=40).reflectance[0], expected, atol=1e-6
    )


def test_real_sentinel_patch(shared_data):
    path = sorted((shared_data / "sen12mscr").glob("*_input.tif"))[0]
    scene = open_raster(path, scale=1e-4)
    assert list(scene.bands) == [
        *("coastal", "blue", "green", "red", "rededge071", "rededge075", "rededge078", "nir"),
        *("nir08", "nir09", "cirrus", "swir16", "swir22"),
    ]
    with rasterio.open(path) as data:
        expected = data.read([3, 12]) * 1e-4
    np.testing.assert_allclose(scene.read(["green", "swir16"]).reflectance, expected, atol=1e-6)


def test_real_38_cloud_patch(shared_data):
    folder = shared_data / "38-Cloud" / "38-Cloud_training"
    patch = sorted((folder / "train_blue").glob("*.TIF"))[0].name.removeprefix("blue_")
    colours = ["blue", "green", "red", "nir"]
    paths = [folder / f"train_{name}" / f"{name}_{patch}" for name in colours]
    scale, offset = 2e-5 / np.sin(np.radians(40)), -0.1 / np.sin(np.radians(40))
    scene = open_raster(paths, bands=colours, scale=scale, offset=offset, nodata=0)
    raw = np.stack([rasterio.open(path).read(1) for path in paths]).astype(float)
    expected = np.where(raw == 0, np.nan, (raw * 2e-5 - 0.1) / np.sin(np.radians(40)))
    np.testing.assert_allclose(scene.read(colours).reflectance, expected, atol=1e-6)


def test_real_float_bands(shared_data):
    folder = shared_data / "landsat8_toa_cirrus"
    numbers = [2, 3, 4, 5, 9, 10]
    paths = [next(folder.glob(f"*_B{n}_toa.tif")) for n in numbers]
    scene = open_raster(paths, bands="blue,green,red,nir08,cirrus,lwir11")
    assert list(scene.bands) == ["blue", "green", "red", "nir08", "cirrus"]
    assert scene.id == "LC80130312015295LGN00"
    assert any("lwir11" in note for note in scene.notes)
    np.testing.assert_array_equal(
        scene.read(["cirrus"]).reflectance[0], rasterio.open(paths[4]).read(1)
    )
    with pytest.raises(MetadataError, match="no reflectance"):
        open_raster(paths[5], bands="red")  # kelvins


def masked_file(path, values, *, alpha):
    """Write counts whose upper half a mask, or an alpha band, leaves out; without nodata."""
    there = np.full(values.shape[1:], 255, np.uint8)
    there[: len(there) // 2] = 0
    if alpha:
        stack = np.concatenate([values, there[None].astype(values.dtype)])
        with rasterio.open(write(path, stack), "r+") as data:
            data.colorinterp = [ColorInterp.gray, *[ColorInterp.undefined] * 2, ColorInterp.alpha]
        return "blue,green,red,-"
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(write(path, values), "r+") as data,
    ):
        data.write_mask(there)
    return "blue,green,red"


@pytest.mark.parametrize("alpha", [False, True])
def test_what_a_mask_or_alpha_band_leaves_out_is_no_data(tmp_path, alpha):
    values = counts(3)
    names = masked_file(tmp_path / "a.tif", values, alpha=alpha)
    scene = open_raster(tmp_path / "a.tif", bands=names, scale=1e-4)
    pixels = scene.read(["blue", "green", "red"])
    assert (pixels.validity[:25] == Validity.NO_DATA).all()
    assert (pixels.validity[25:] == Validity.VALID).all()
    np.testing.assert_allclose(pixels.reflectance[:, 25:], values[:, 25:] * 1e-4, rtol=1e-6)
    assert not any("no data" in note for note in scene.notes)


def test_a_raster_that_lies_nowhere_is_noted(tmp_path):
    corners = [(0, 0), (0, 60), (50, 0), (50, 60)]
    points = [GroundControlPoint(r, c, 5e5 + 10 * c, 5e6 - 10 * r) for r, c in corners]
    values = np.full((2, *SHAPE), 0.3, np.float32)
    write(tmp_path / "points.tif", values, crs="EPSG:32633", transform=None, gcps=points)
    write(tmp_path / "none.tif", values, crs=None, transform=None)
    write(tmp_path / "crs.tif", values, crs=None)
    for name, said in (("points", "control points"), ("none", "1 m wide"), ("crs", "no CRS, so")):
        scene = open_raster(tmp_path / f"{name}.tif", bands="red,nir")
        assert said in scene.notes[0]
        assert "no CRS" in scene.notes[0]
    here = open_raster(write(tmp_path / "here.tif", values), bands="red,nir")
    assert not any("no CRS" in note for note in here.notes)


@pytest.mark.parametrize("described", [False, True])
def test_a_named_band_is_no_mask_though_gdal_takes_it_for_alpha(tmp_path, described):
    values = np.full((4, *SHAPE), 60, np.uint8)
    values[3, :20] = 0
    names = ("blue", "green", "red", "nir")
    path = write(tmp_path / "a.tif", values, names=names if described else ())
    with rasterio.open(path) as data:
        assert data.colorinterp[3] == ColorInterp.alpha
    scene = open_raster(path, bands=None if described else ",".join(names), scale=1 / 255)
    pixels = scene.read(names)
    np.testing.assert_allclose(pixels.reflectance, values / 255, atol=1e-6)
    assert (pixels.validity == Validity.VALID).all()
    left_out = open_raster(path, bands="blue,green,red,-", scale=1 / 255).read(["red"])
    np.testing.assert_array_equal(left_out.validity[:20], Validity.NO_DATA)


def test_each_band_has_its_own_value_for_no_data(tmp_path):
    write(tmp_path / "a.tif", np.full((2, *SHAPE), 7, np.uint16))
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{n}"><NoDataValue>{empty}</NoDataValue>'
        f'<SimpleSource><SourceFilename relativeToVRT="1">a.tif</SourceFilename>'
        f"<SourceBand>{n}</SourceBand></SimpleSource></VRTRasterBand>"
        for n, empty in ((1, 0), (2, 7))
    )
    (tmp_path / "a.vrt").write_text(
        f'<VRTDataset rasterXSize="{SHAPE[1]}" rasterYSize="{SHAPE[0]}">{bands}</VRTDataset>'
    )
    scene = open_raster(tmp_path / "a.vrt", bands="blue,green", scale=1e-4)
    assert (scene.read(["blue"]).validity == Validity.VALID).all()
    assert (scene.read(["green"]).validity == Validity.NO_DATA).all()


def test_what_signs_an_address_is_not_told(tmp_path):
    write(tmp_path / "a.tif", counts(2), tags=([1e-4] * 2, [0] * 2))
    with serve(tmp_path) as server:
        server.query = "sig=secret"
        scene = open_raster(f"{server.url}/a.tif?sig=secret", bands="blue,green")
    assert scene.path == f"{server.url}/a.tif"
    assert "secret" not in str(describe(scene))
    assert "secret" not in scene.bands["blue"].scale_from


def test_what_signs_a_gdal_name_is_not_told_either(tmp_path):
    write(tmp_path / "a.tif", counts(3), tags=([1e-4] * 3, [0] * 3), names=["blue", "green", "x"])
    with serve(tmp_path) as server:
        server.query = "sig=secret"
        scene = open_raster(f"/vsicurl/{server.url}/a.tif?sig=secret")
        with pytest.raises(BandError, match=r"a\.tif") as told:
            open_raster(f"{server.url}/a.tif?sig=secret", bands="blue")
    assert scene.path == f"/vsicurl/{server.url}/a.tif"
    assert scene.id == "a"
    assert "left out" in str(scene.notes)
    assert "secret" not in f"{describe(scene)} {scene.notes} {told.value}"


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (
            "/vsicurl?retry=3&url=https%3A%2F%2Fa.org%2Fb.tif%3Fsig%3Dx",
            "/vsicurl/https://a.org/b.tif",
        ),
        ("s3://bucket/b.tif?versionId=2", "s3://bucket/b.tif"),
        ("a?b=1.tif", "a?b=1.tif"),
    ],
)
def test_unsigned(location, expected):
    assert unsigned(location) == expected


def test_a_question_mark_in_a_local_name_is_part_of_it(tmp_path):
    path = write(tmp_path / "a?b=1.tif", counts(1), names=["red"])
    assert open_raster(path, scale=1e-4).id == "a?b=1"


@pytest.mark.parametrize("low", [-9999.0, -32768.0, -1.0, -3.4e38])
def test_a_number_that_no_reflectance_has_is_no_data_that_nobody_told(tmp_path, low):
    values = RNG.random((1, *SHAPE), "float32")
    values[:, :2, :2] = low
    path = write(tmp_path / "a.tif", values, names=["red"])
    with pytest.raises(MetadataError, match=r"down to -(.|\n)*--nodata -"):
        open_raster(path)
    pixels = open_raster(path, nodata=float(np.float32(low))).read(["red"])
    assert (pixels.validity[:2, :2] == Validity.NO_DATA).all()
    assert np.count_nonzero(pixels.validity) == 4
    assert open_raster(path, scale=1).bands["red"].scale == 1


def test_a_single_band_of_which_nothing_tells_no_data_has_data_at_0(tmp_path):
    values = RNG.random((1, *SHAPE), "float32") + 0.01
    values[:, :10] = 0
    scene = open_raster(write(tmp_path / "a.tif", values, names=["red"]))
    assert any("values of 0 are data (--nodata)" in note for note in scene.notes)
    assert (scene.read(["red"]).validity == Validity.VALID).all()
    told = open_raster(write(tmp_path / "b.tif", values, names=["red"], nodata=0)).notes
    assert not any("--nodata" in note for note in told)


@pytest.mark.parametrize(("dtype", "scale", "offset", "own"), [
    ("uint16", 1e-4, -0.1, None), ("int16", 2.75e-5, -0.2, None), ("float32", 0.01, 0.0, None),
    ("float32", None, 0.0, None), ("float32", None, 0.0, np.nan),
])  # fmt: skip
def test_0_in_every_band_is_no_data_where_nothing_says_so(tmp_path, dtype, scale, offset, own):
    values = (counts(3, dtype="float64") * (1 if dtype != "float32" else 1e-4)).astype(dtype)
    values[:, :10, :20] = 0
    values[0, 10:14] = 0  # one band alone may well be 0
    names = ["blue", "green", "red"]
    path = write(tmp_path / "a.tif", values, names=names, nodata=own)
    given = {} if scale is None else {"scale": scale, "offset": offset}
    scene = open_raster(path, **given)
    assert any("taken as no data" in note and "--nodata nan" in note for note in scene.notes)
    empty = (values == 0).all(axis=0)
    for resolution in (None, 20):  # the edge lies between pixels of 20 m too
        validity = scene.read(names, resolution=resolution).validity
        expected = empty if resolution is None else empty[::2, ::2]
        np.testing.assert_array_equal(validity == Validity.NO_DATA, expected)
        assert (validity[~expected] == Validity.VALID).all()
    for told in (float("nan"), 65535 if dtype != "float32" else -9999):
        meant = open_raster(path, nodata=told, **given)
        assert (meant.read(names).validity == Validity.VALID).all()
        assert not any("exactly 0" in note for note in meant.notes)


def test_where_one_band_has_a_value_for_no_data_0_is_data_in_the_others(tmp_path):
    values = counts(2)
    values[:, :10] = 0
    paths = [
        write(tmp_path / f"{name}.tif", values[n : n + 1], names=[name], nodata=nodata)
        for n, (name, nodata) in enumerate((("red", None), ("nir", 7)))
    ]
    scene = open_raster(paths, scale=1e-4)
    assert any(note.startswith("red: no value for no data") for note in scene.notes)
    assert (scene.read(["red", "nir"]).validity == Validity.VALID).all()


def test_a_local_crs_is_read_as_one_in_metres(tmp_path):
    crs = 'LOCAL_CS["site",UNIT["metre",1]]'
    path = write(tmp_path / "a.tif", counts(1), names=["red"], crs=crs)
    assert open_raster(path, scale=1e-4).resolution == 10


def test_floats_of_0_in_every_band_are_no_data_where_nothing_says_so(tmp_path):
    values = RNG.random((3, *SHAPE), "float32") + 0.01
    values[:, :10] = 0
    values[0, 10:14] = 0  # one band alone may well be 0
    names = ["blue", "green", "red"]
    path = write(tmp_path / "a.tif", values, names=names)
    scene = open_raster(path)
    assert any("taken as no data" in note for note in scene.notes)
    pixels = scene.read(names)
    assert (pixels.validity[:10] == Validity.NO_DATA).all()
    assert (pixels.validity[10:] == Validity.VALID).all()
    assert np.isnan(pixels.reflectance[:, :10]).all()
    meant = open_raster(path, nodata=float("nan"))
    assert (meant.read(names).validity == Validity.VALID).all()
    values[2, :10] = 0.02
    scene = open_raster(write(tmp_path / "b.tif", values, names=names))
    assert (scene.read(names).validity == Validity.VALID).all()


def test_the_empty_edge_of_a_real_float_scene_is_no_data(shared_data):
    folder = shared_data / "landsat8_toa_cirrus"
    paths = [next(folder.glob(f"*_B{n}_toa.tif")) for n in (2, 3, 4, 5, 6, 7, 9)]
    names = ["blue", "green", "red", "nir08", "swir16", "swir22", "cirrus"]
    raw = np.stack([rasterio.open(path).read(1) for path in paths])
    validity = open_raster(paths, bands=names).read(names).validity
    np.testing.assert_array_equal(validity == Validity.NO_DATA, (raw == 0).all(axis=0))
    assert 0.1 < (validity == Validity.NO_DATA).mean() < 0.2


@pytest.mark.parametrize("scale", [0.0, -1e-4, np.inf, np.nan, 1e300, 1e-300, 10_000.0])
def test_a_scale_that_no_reflectance_has_is_refused_wherever_it_comes_from(tmp_path, scale):
    path = write(tmp_path / "a.tif", counts(1), names=["red"], tags=((scale,), (0.0,)))
    said = rf"a\.tif: band 1 \(red\): the scale in the file's tags is {re.escape(f'{scale:g}')}"
    with pytest.raises(MetadataError, match=said):
        open_raster(path)
    assert open_raster(path, scale=1e-4).bands["red"].scale == 1e-4
    with pytest.raises(InputError, match=f"the given scale is {re.escape(str(scale))}"):
        open_raster(path, scale=scale)


@pytest.mark.parametrize("offset", [np.inf, np.nan, 1e300, -1000.0])
def test_an_offset_that_no_reflectance_has_is_refused_wherever_it_comes_from(tmp_path, offset):
    path = write(tmp_path / "a.tif", counts(1), names=["red"], tags=((1e-4,), (offset,)))
    with pytest.raises(
        MetadataError, match=r"a\.tif: band 1 \(red\): the offset in the file's tags"
    ):
        open_raster(path)
    with pytest.raises(MetadataError, match="the offset in the file's tags"):
        open_raster(path, scale=1e-4)
    assert open_raster(path, offset=-0.1).bands["red"].offset == -0.1
    with pytest.raises(InputError, match="the given offset"):
        open_raster(path, offset=offset)


def test_a_given_nodata_of_another_type_of_number_is_found(tmp_path):
    values = RNG.random((1, *SHAPE), "float32")
    values[:, :5] = -9999.9
    path = write(tmp_path / "a.tif", values, names=["red"])
    for nodata in (-9999.9, np.float64(-9999.9), np.float32(-9999.9)):
        pixels = open_raster(path, nodata=nodata).read(["red"])
        assert (pixels.validity[:5] == Validity.NO_DATA).all()
    with pytest.raises(InputError, match=r"nodata is \[0, 1\], expected a number"):
        open_raster(path, nodata=[0, 1])


@pytest.mark.parametrize(("high", "advice"), [(60, "0.01 for percent"), (6000, "0.0001")])
def test_the_scale_that_is_suggested_fits_the_values(tmp_path, high, advice):
    values = RNG.random((1, *SHAPE), "float32") * high
    path = write(tmp_path / "a.tif", values, names=["red"])
    with pytest.raises(MetadataError, match=f"--scale {advice}"):
        open_raster(path)


@pytest.mark.parametrize("dtype", ["complex64", "complex_int16"])
def test_complex_numbers_are_refused(tmp_path, dtype):
    values = np.full((2, *SHAPE), 0.3, "complex64")
    write(tmp_path / "a.tif", values, dtype=dtype, names=["red", "nir"])
    with pytest.raises(InputError, match=rf"a\.tif: band 1 \(red\) holds {dtype}.*real numbers"):
        open_raster(tmp_path / "a.tif", scale=1e-4)
