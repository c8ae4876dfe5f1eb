"""Landsat products against numbers read from MTL by regular expressions and raw counts."""

from __future__ import annotations

import math
import re
import tarfile
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from nubila.classes import Validity
from nubila.errors import (
    DamagedFileError,
    GridError,
    MetadataError,
    MissingFileError,
    ProductError,
)
from nubila.scenes.landsat import open_landsat
from nubila.scenes.landsat_mtl import parse_groups

from .landsat_product import FORMATS, SHAPE, LandsatProduct

REAL = [
    "LC08_L2SP_005009_20150710_20200908_02_T2",
    "LC08_L2SP_008059_20191201_20200825_02_T1",
    "LC08_L2SP_017036_20130419_20200913_02_T2",
]
OLI = ["coastal", "blue", "green", "red", "nir08", "swir16", "swir22"]


def counts_of(path):
    with rasterio.open(path) as data:
        return data.read(1)


def group_number(text, group, key):
    part = re.search(rf"GROUP = {group}\n(.*?)END_GROUP", text, re.DOTALL)[1]
    return float(re.search(rf"\b{key} = (\S+)", part)[1])


@pytest.mark.parametrize("product", REAL)
def test_real_products(shared_data, product):
    folder = shared_data / "landsat_c2l2" / product
    text = (folder / f"{product}_MTL.txt").read_text()
    scene = open_landsat(folder)
    assert list(scene.bands) == OLI  # Level 2 has no cirrus band
    pixels = scene.read(OLI)
    filled = np.ones(scene.shape, bool)
    for number, reflectance in enumerate(pixels.reflectance, 1):
        counts = counts_of(folder / f"{product}_SR_B{number}.TIF")
        group = "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"
        mult = group_number(text, group, f"REFLECTANCE_MULT_BAND_{number}")
        add = group_number(text, group, f"REFLECTANCE_ADD_BAND_{number}")
        expected = np.where(counts == 0, np.nan, counts * mult + add)
        np.testing.assert_allclose(reflectance, expected, rtol=0, atol=1e-6)
        filled &= counts == 0
    np.testing.assert_array_equal(pixels.validity == Validity.NO_DATA, filled)
    assert 0.2 < filled.mean() < 0.5  # the footprint is turned against the grid
    sun = group_number(text, "IMAGE_ATTRIBUTES", "SUN_ELEVATION")
    assert scene.sun[0] == pytest.approx(sun)
    assert scene.id == product
    assert (scene.sensor, scene.level, scene.platform) == ("landsat-oli", "L2SP", "LANDSAT_8")
    assert scene.acquired.tzinfo is UTC
    assert f"{scene.acquired:%Y%m%d}" == product.split("_")[3]
    assert scene.footprint["type"] == "Polygon"
    assert scene.grid_at(scene.default_resolution) == scene.grid  # pixels that are not square
    qa = scene.masks["qa_pixel"].source
    whole = counts_of(folder / f"{product}_QA_PIXEL.TIF")
    np.testing.assert_array_equal(counts_of(qa.path), whole)


@pytest.mark.parametrize("product", REAL)
def test_real_saturation_is_what_the_flags_say(shared_data, product):
    folder = shared_data / "landsat_c2l2" / product
    flags = counts_of(folder / f"{product}_QA_RADSAT.TIF")
    pixels = open_landsat(folder).read(["red", "swir16"])
    expected = ((flags >> 3) & 1 | (flags >> 5) & 1).astype(bool)
    found = pixels.validity == Validity.SATURATED
    np.testing.assert_array_equal(found, expected & np.isfinite(pixels.reflectance).all(axis=0))


@pytest.mark.parametrize("product", REAL)
def test_real_metadata_are_the_same_in_all_formats(shared_data, product):
    folder = shared_data / "landsat_c2l2" / product
    groups = [
        parse_groups((folder / f"{product}_MTL.{ending}").read_bytes(), f"x.{ending}")
        for ending in ("txt", "json", "xml")
    ]
    assert groups[0] == groups[1] == groups[2]
    assert groups[0]["IMAGE_ATTRIBUTES"]["SENSOR_ID"] == "OLI_TIRS"
    assert len(groups[0]) >= 12


words = st.text("ABCXYZ_019", min_size=1, max_size=8).map(lambda word: f"K{word}")
values = st.text("ABC_09.+-:", min_size=1, max_size=8).map(lambda value: f"v{value}")


@given(st.dictionaries(words, st.dictionaries(words, values), min_size=1, max_size=4))
def test_formats_say_the_same(groups):
    for ending, write in FORMATS.items():
        assert parse_groups(write(groups).encode(), f"x_MTL.{ending}") == groups


@pytest.mark.parametrize("sensor", ["OLI_TIRS", "ETM", "TM"])
@pytest.mark.parametrize("level", ["L1TP", "L1GT", "L1GS"])
def test_level_1_is_divided_by_the_sine_of_the_sun(tmp_path, sensor, level):
    product = LandsatProduct(sensor=sensor, level=level, sun=23.75)
    scene = open_landsat(product.write(tmp_path / "x"))
    names = [*OLI, "cirrus"] if sensor == "OLI_TIRS" else ["blue", "green", "red", *OLI[4:]]
    assert list(scene.bands) == names
    assert scene.level == level
    assert scene.default_resolution == 30
    text = (tmp_path / "x" / f"{product.id}_MTL.txt").read_text()
    for number, name in zip(product.numbers, names, strict=True):
        mult = float(re.search(rf"REFLECTANCE_MULT_BAND_{number} = (\S+)", text)[1])
        add = float(re.search(rf"REFLECTANCE_ADD_BAND_{number} = (\S+)", text)[1])
        counts = product.counts[number].astype(float)
        expected = (mult * counts + add) / math.sin(math.radians(23.75))
        expected[counts == 0] = np.nan
        found = scene.read([name]).reflectance[0]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("sensor", ["OLI_TIRS", "ETM", "TM"])
@pytest.mark.parametrize("level", ["L2SP", "L2SR"])
def test_level_2_needs_no_sun_and_takes_its_own_numbers(tmp_path, sensor, level):
    product = LandsatProduct(sensor=sensor, level=level)
    del product.groups["IMAGE_ATTRIBUTES"]["SUN_ELEVATION"]
    scene = open_landsat(product.write(tmp_path))
    assert "cirrus" not in scene.bands
    assert scene.sun is None
    blue = product.counts["2" if sensor == "OLI_TIRS" else "1"].astype(float)
    expected = np.where(blue == 0, np.nan, blue * 2.75e-5 - 0.2)
    np.testing.assert_allclose(scene.read(["blue"]).reflectance[0], expected, atol=1e-6)


def test_time_is_utc(tmp_path):
    scene = open_landsat(LandsatProduct().write(tmp_path))
    assert scene.acquired == datetime(2016, 1, 20, 17, 39, 5, 123456, tzinfo=UTC)


@pytest.mark.parametrize("given", ["", "0.0", "-12.5", "91", "noon"])
def test_level_1_without_sun_is_refused(tmp_path, given):
    product = LandsatProduct()
    image = product.groups["IMAGE_ATTRIBUTES"]
    if given:
        image["SUN_ELEVATION"] = given
    else:
        del image["SUN_ELEVATION"]
    with pytest.raises(MetadataError, match="SUN_ELEVATION"):
        open_landsat(product.write(tmp_path))


@pytest.mark.parametrize("level", ["L1TP", "L2SP"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("REFLECTANCE_MULT_BAND_2", "-2.75e-05"),
        ("REFLECTANCE_MULT_BAND_2", "0"),
        ("REFLECTANCE_MULT_BAND_2", "1e300"),
        ("REFLECTANCE_ADD_BAND_2", "-1e300"),
    ],
)
def test_numbers_that_make_no_reflectance_are_refused(tmp_path, level, key, value):
    product = LandsatProduct(level=level)
    next(group for group in product.groups.values() if key in group)[key] = value
    said = f"{product.id}_MTL.txt: {key} is {float(value):g}"
    with pytest.raises(MetadataError, match=re.escape(said)):
        open_landsat(product.write(tmp_path))


def test_a_sun_on_the_horizon_makes_no_reflectance(tmp_path):
    with pytest.raises(MetadataError, match=r"MULT_BAND_1 is 2e-05; / sin\(SUN_ELEVATION = 1e-05"):
        open_landsat(LandsatProduct(sun=1e-5).write(tmp_path / "a"))
    assert open_landsat(LandsatProduct(sun=0.1).write(tmp_path / "b")).sun[0] == 0.1


def test_gaps_of_landsat_7_are_no_data(tmp_path):
    product = LandsatProduct(sensor="ETM")
    gaps = np.zeros(SHAPE, bool)
    gaps[::7] = True
    for number in product.numbers:
        product.counts[number][gaps] = 0
    pixels = open_landsat(product.write(tmp_path)).read(["red", "nir08", "swir16"])
    gaps[:, :3] = True  # the product's own edge
    np.testing.assert_array_equal(pixels.validity == Validity.NO_DATA, gaps)
    assert (pixels.validity[~gaps] == Validity.VALID).all()


@pytest.mark.parametrize(
    ("sensor", "band", "bit"),
    [("OLI_TIRS", "red", 3), ("OLI_TIRS", "cirrus", 8), ("ETM", "red", 2), ("TM", "swir22", 6)],
)
def test_saturation_is_the_bit_of_the_band_number(tmp_path, sensor, band, bit):
    product = LandsatProduct(sensor=sensor)
    product.counts["QA_RADSAT"][10, 20] = 1 << bit
    product.counts["QA_RADSAT"][11, 20] = 0xFFFF & ~(1 << bit)
    validity = open_landsat(product.write(tmp_path)).read([band]).validity
    assert np.argwhere(validity == Validity.SATURATED).tolist() == [[10, 20]]


def pack(folder, archive, mode):
    with tarfile.open(archive, mode) as tar:
        for file in sorted(folder.iterdir()):
            tar.add(file, file.name)
    return archive


@pytest.mark.parametrize(("ending", "mode"), [("tar", "w"), ("tar.gz", "w:gz")])
def test_tar_is_as_the_folder(tmp_path, ending, mode):
    folder = LandsatProduct().write(tmp_path / "x", formats=("txt", "xml"))
    archive = pack(folder, tmp_path / f"product.{ending}", mode)
    one, other = open_landsat(folder), open_landsat(archive)
    assert one.id == other.id
    for name in one.bands:
        np.testing.assert_array_equal(one.read([name]).reflectance, other.read([name]).reflectance)


def test_tar_that_leads_out_is_refused(tmp_path):
    folder = LandsatProduct().write(tmp_path / "x")
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        for file in folder.iterdir():
            tar.add(file, f"../../{file.name}")
    with pytest.raises(ProductError, match="leads out"):
        open_landsat(tmp_path / "evil.tar")


def test_tar_cut_short_is_refused(tmp_path):
    archive = pack(LandsatProduct().write(tmp_path / "x"), tmp_path / "x.tar", "w")
    archive.write_bytes(archive.read_bytes()[:9000])
    with pytest.raises((DamagedFileError, ProductError)):
        open_landsat(archive)


@pytest.mark.parametrize("ending", ["txt", "json", "xml"])
def test_any_format_and_the_path_of_the_mtl(tmp_path, ending):
    product = LandsatProduct(level="L2SP")
    folder = product.write(tmp_path, formats=(ending,))
    scene = open_landsat(folder / f"{product.id}_MTL.{ending}")
    assert scene.id == open_landsat(folder).id == product.id
    assert scene.bands["blue"].scale == pytest.approx(2.75e-5)


@pytest.mark.parametrize(
    ("group", "key", "value", "said"),
    [
        ("IMAGE_ATTRIBUTES", "SUN_ELEVATION", "38.6", "sun_elevation"),
        ("LEVEL1_RADIOMETRIC_RESCALING", "REFLECTANCE_ADD_BAND_4", "-0.2", "band 4"),
    ],
)
def test_formats_that_contradict_each_other(tmp_path, group, key, value, said):
    product = LandsatProduct()
    product.write(tmp_path, formats=("txt", "json"))
    product.groups[group][key] = value
    product.write(tmp_path, formats=("xml",))
    with pytest.raises(MetadataError, match=f"contradict.*{said}"):
        open_landsat(tmp_path)


def test_formats_may_write_a_number_differently(tmp_path):
    product = LandsatProduct()
    product.write(tmp_path, formats=("txt",))
    product.groups["LEVEL1_RADIOMETRIC_RESCALING"]["REFLECTANCE_MULT_BAND_4"] = "0.00002"
    product.write(tmp_path, formats=("json",))
    assert open_landsat(tmp_path).has_band("red")


def test_missing_band_is_named_when_read(tmp_path):
    product = LandsatProduct()
    product.write(tmp_path)
    (tmp_path / product.file("6")).unlink()
    scene = open_landsat(tmp_path)
    assert not scene.has_band("swir16")
    assert any(product.file("6") in note for note in scene.notes)
    assert scene.read(["red"]).reflectance.shape == (1, *SHAPE)
    with pytest.raises(MissingFileError, match=product.file("6")):
        scene.read(["red", "swir16"])


def test_only_metadata_there(tmp_path):
    product = LandsatProduct()
    product.counts.clear()
    with pytest.raises(MissingFileError, match=product.file("4")):
        open_landsat(product.write(tmp_path))


def test_no_flags_is_noted(tmp_path):
    product = LandsatProduct()
    del product.counts["QA_RADSAT"], product.counts["QA_PIXEL"]
    scene = open_landsat(product.write(tmp_path))
    assert scene.bands["red"].saturation is None
    assert any("QA_RADSAT" in note for note in scene.notes)
    assert not scene.masks


@pytest.mark.parametrize("renamed", [False, True])
def test_mtl_of_another_scene(tmp_path, renamed):
    here, there = LandsatProduct(row="034"), LandsatProduct(row="035")
    here.write(tmp_path, formats=())
    there.counts.clear()
    there.write(tmp_path, stem=here.id if renamed else None)
    with pytest.raises(MetadataError, match=f"another scene.*{there.id}") as caught:
        open_landsat(tmp_path)
    assert here.id in str(caught.value)


def test_mtl_of_another_scene_beside_the_right_one(tmp_path):
    here, there = LandsatProduct(row="034"), LandsatProduct(row="035")
    here.write(tmp_path)
    there.counts.clear()
    there.write(tmp_path, formats=("json",))
    with pytest.raises(MetadataError, match=there.id):
        open_landsat(tmp_path)


def test_mtl_that_lists_another_scene(tmp_path):
    product = LandsatProduct()
    product.groups["PRODUCT_CONTENTS"]["FILE_NAME_BAND_4"] = LandsatProduct(row="035").file("4")
    with pytest.raises(MetadataError, match="is listed"):
        open_landsat(product.write(tmp_path))


def test_real_mtl_of_another_scene(shared_data, tmp_path):
    for file in (shared_data / "landsat_c2l2" / REAL[0]).glob("*.TIF"):
        (tmp_path / file.name).symlink_to(file)
    text = (shared_data / "landsat_c2l2" / REAL[1] / f"{REAL[1]}_MTL.txt").read_text()
    (tmp_path / f"{REAL[0]}_MTL.txt").write_text(text)
    with pytest.raises(MetadataError, match=REAL[1]):
        open_landsat(tmp_path)


def test_two_products_in_a_folder(tmp_path):
    one, other = LandsatProduct(level="L1TP"), LandsatProduct(level="L2SP")
    one.write(tmp_path)
    other.write(tmp_path)
    with pytest.raises(ProductError, match="several") as caught:
        open_landsat(tmp_path)
    assert one.id in str(caught.value)
    assert other.id in str(caught.value)
    assert open_landsat(tmp_path / f"{other.id}_MTL.txt").level == "L2SP"


def test_bands_of_another_crs_or_extent(tmp_path):
    with pytest.raises(GridError, match="EPSG:32614"):
        open_landsat(LandsatProduct(epsg={"4": 32614}).write(tmp_path / "crs"))
    with pytest.raises(GridError, match="same ground"):
        open_landsat(LandsatProduct(left={"5": 3000}).write(tmp_path / "extent"))
    wrong = LandsatProduct()
    wrong.counts["3"] = wrong.counts["3"][:-5]
    with pytest.raises(GridError, match=wrong.file("3")):
        open_landsat(wrong.write(tmp_path / "shape"))


def test_all_no_data(tmp_path):
    product = LandsatProduct()
    for counts in product.counts.values():
        counts[:] = 0
    pixels = open_landsat(product.write(tmp_path)).read(["blue", "green", "red"])
    assert (pixels.validity == Validity.NO_DATA).all()
    assert np.isnan(pixels.reflectance).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:1500], "cut short"),
        (lambda text: text.replace("LANDSAT_METADATA_FILE", "L1_METADATA_FILE"), "Collection 1"),
        (lambda text: text.replace('"OLI_TIRS"', '"MSS"'), "SENSOR_ID 'MSS'"),
        (lambda text: text.replace('"L1TP"', '"L3"'), "PROCESSING_LEVEL"),
        (lambda text: text.replace("REFLECTANCE_ADD_BAND_4", "X"), "REFLECTANCE_ADD_BAND_4"),
        (lambda text: text.replace("E-05", "E-O5"), "expected a number"),
        (lambda text: text.replace("2016-01-20", "2016-13-20"), "no date"),
        (lambda text: text.replace("IMAGE_ATTRIBUTES", "X"), "IMAGE_ATTRIBUTES"),
        (lambda text: "\x93not an MTL", "KEY = VALUE"),
    ],
)
def test_damaged_metadata(tmp_path, change, said):
    product = LandsatProduct()
    product.write(tmp_path)
    mtl = tmp_path / f"{product.id}_MTL.txt"
    mtl.write_text(change(mtl.read_text()))
    with pytest.raises(MetadataError, match=said):
        open_landsat(tmp_path)


def test_band_without_scale(tmp_path):
    product = LandsatProduct()
    del product.groups["LEVEL1_RADIOMETRIC_RESCALING"]["REFLECTANCE_MULT_BAND_4"]
    with pytest.raises(MetadataError, match="REFLECTANCE_MULT_BAND_4"):
        open_landsat(product.write(tmp_path))


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        ("json", "[1, 2"),
        ("json", '{"LANDSAT_METADATA_FILE": 3}'),
        ("json", '{"a": {}, "b": {}}'),
        ("xml", '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>'),
        ("xml", "<LANDSAT_METADATA_FILE><PRODUCT"),
    ],
)
def test_hostile_or_broken_json_and_xml(tmp_path, ending, content):
    product = LandsatProduct()
    product.write(tmp_path, formats=())
    (tmp_path / f"{product.id}_MTL.{ending}").write_text(content)
    with pytest.raises(MetadataError, match="MTL"):
        open_landsat(tmp_path)


def test_no_product(tmp_path):
    with pytest.raises(ProductError, match="MTL"):
        open_landsat(tmp_path)
    with pytest.raises(MissingFileError):
        open_landsat(tmp_path / "nowhere")
