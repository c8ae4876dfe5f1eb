"""Products on disk: counts give the reflectance back, metadata have the real structure."""

from __future__ import annotations

import json
import math
import tarfile
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import RasterioIOError

from nubila.classes import ClassCode
from nubila.errors import InputError, OutputError
from nubila.synth import (
    SyntheticScene,
    WrittenProduct,
    make_scene,
    write_geotiff,
    write_landsat,
    write_safe,
)
from nubila.synth.product import work_folder

SCENE = {"seed": 8, "biome": "coast", "sky": "broken"}
SIZE = 180  # at 10 m


@pytest.fixture(scope="module")
def l1c(tmp_path_factory: pytest.TempPathFactory) -> WrittenProduct:
    folder = tmp_path_factory.mktemp("l1c")
    return write_safe(folder, size=SIZE, swath=True, baseline="05.00", **SCENE)


def scene_of(resolution: int, **arguments: object) -> SyntheticScene:
    shape = SIZE * 10 // resolution
    return make_scene((shape, shape), resolution=resolution, swath=True, **SCENE, **arguments)


def jp2(product: WrittenProduct, ending: str) -> Path:
    return next(product.path.rglob(f"*_{ending}.jp2"))


def open_truth(product: WrittenProduct, resolution: float) -> np.ndarray:
    with rasterio.open(product.truth[resolution]) as data:
        assert data.nodata == 255 and data.colormap(1)[1][:3] == (245, 245, 245)
        return data.read(1)


@pytest.mark.parametrize(
    ("label", "name", "resolution"),
    [("B02", "blue", 10), ("B11", "swir16", 20), ("B10", "cirrus", 60)],
)
def test_l1c_counts_give_the_reflectance_back(
    l1c: WrittenProduct, label: str, name: str, resolution: int
) -> None:
    scene = scene_of(resolution, bands=[name])
    with rasterio.open(jp2(l1c, label)) as data:
        counts = data.read(1).astype(np.float64)
        assert data.crs.to_epsg() == 32633
        assert data.transform.a == resolution and data.bounds.left == 300000
    empty = scene.truth == ClassCode.NO_DATA
    np.testing.assert_array_equal(counts == 0, empty)
    np.testing.assert_array_equal(counts == 65535, scene.saturated[0])
    plain = ~empty & ~scene.saturated[0]
    reflectance = (counts[plain] - 1000) / 10000
    np.testing.assert_allclose(reflectance, scene.reflectance[0][plain], atol=0.51e-4)
    np.testing.assert_array_equal(open_truth(l1c, resolution), scene.truth)


def test_jp2_is_lossless_and_tiled_as_real_products_are(l1c: WrittenProduct) -> None:
    with rasterio.open(jp2(l1c, "B09")) as data:
        assert data.tags(ns="IMAGE_STRUCTURE")["COMPRESSION_REVERSIBILITY"] == "LOSSLESS"
    # The codestream starts with SOC and SIZ; widths of image and tile are at bytes 8 and 24 (ISO
    # 15444-1, A.5.1); a tile is never wider than the image.
    for label, tile in (("B09", 192), ("B11", 640), ("B02", 1024)):
        code = jp2(l1c, label).read_bytes()
        siz = code[code.index(b"\xff\x4f\xff\x51") :]
        image, width = (int.from_bytes(siz[at : at + 4], "big") for at in (8, 24))
        assert width == min(tile, image)


def test_tiles_of_a_band_that_is_larger_than_one(tmp_path: Path) -> None:
    product = write_safe(tmp_path, size=1300, seed=1, sky="clear", biome="dunes")
    for label, tile, levels in (("B09", 192, [2]), ("B11", 640, [2, 4]), ("B08", 1024, [2, 4, 8])):
        with rasterio.open(jp2(product, label)) as data:
            assert data.block_shapes == [(min(tile, data.height),) * 2]
            assert data.overviews(1)[: len(levels)] == levels


def test_l1c_layout(l1c: WrittenProduct) -> None:
    product = l1c.path
    assert product.name == f"{l1c.path.stem}.SAFE"
    assert {p.name for p in product.iterdir()} == {"GRANULE", "MTD_MSIL1C.xml", "manifest.safe"}
    root = ElementTree.parse(product / "MTD_MSIL1C.xml").getroot()
    images = [e.text or "" for e in root.iter("IMAGE_FILE")]
    assert len(images) == 13
    assert all((product / f"{image}.jp2").is_file() for image in images)
    assert {e.text for e in root.iter("RADIO_ADD_OFFSET")} == {"-1000"}
    assert root.findtext(".//PRODUCT_URI") == product.name
    manifest = ElementTree.parse(product / "manifest.safe").getroot()
    places = [e.get("href", "") for e in manifest.iter("fileLocation")]
    assert len(places) == 15 and all((product / place).is_file() for place in places)
    tile = ElementTree.parse(next(product.rglob("MTD_TL.xml"))).getroot()
    zenith = float(tile.findtext(".//Mean_Sun_Angle/ZENITH_ANGLE", "nan"))
    assert 90 - zenith == pytest.approx(l1c.sun[0])


def paths(root: ElementTree.Element, above: str = "") -> set[str]:
    here = f"{above}/{root.tag.rpartition('}')[2]}"
    return {here}.union(*(paths(child, here) for child in root))


@pytest.mark.parametrize(("level", "baseline"), [("L1C", "02.09"), ("L2A", "05.09")])
def test_xml_has_only_elements_of_real_products(
    shared_data: Path, tmp_path: Path, level: str, baseline: str
) -> None:
    real_ones = shared_data / "sentinel2_metadata"
    if not real_ones.is_dir():
        pytest.skip(f"{real_ones} is not there")
    made = write_safe(tmp_path, size=60, level=level, baseline=baseline, **SCENE).path
    for name in (f"MTD_MSI{level}.xml", "MTD_TL.xml"):
        real = [ElementTree.parse(p).getroot() for p in real_ones.rglob(name)
                if f"_MSI{level}_" in str(p)]  # fmt: skip
        known = set().union(*map(paths, real))
        ours = ElementTree.parse(next(made.rglob(name))).getroot()
        assert paths(ours) <= known, paths(ours) - known
        assert ours.tag in {r.tag for r in real}


def test_l2a_zip_before_offsets(tmp_path: Path) -> None:
    product = write_safe(tmp_path, size=120, level="L2A", baseline="02.14", zipped=True, **SCENE)
    with zipfile.ZipFile(product.path) as packed:
        names = packed.namelist()
        main = packed.read(f"{product.path.stem}.SAFE/MTD_MSIL2A.xml").decode()
        packed.extractall(tmp_path / "unpacked")
    assert "ADD_OFFSET" not in main
    assert any(n.endswith("R10m/T33UUU_20230615T101031_B08_10m.jp2") for n in names)
    assert not any(
        "B10" in n or n.endswith("R20m/T33UUU_20230615T101031_B01_20m.jp2") for n in names
    )
    scene = make_scene((60, 60), resolution=20, level="L2A", bands=["red"], **SCENE)
    with rasterio.open(next((tmp_path / "unpacked").rglob("*_B04_20m.jp2"))) as data:
        counts = data.read(1)
    plain = ~scene.saturated[0] & (scene.reflectance[0] > 0)
    np.testing.assert_allclose(counts[plain] / 10000, scene.reflectance[0][plain], atol=0.51e-4)
    with rasterio.open(next((tmp_path / "unpacked").rglob("*_SCL_20m.jp2"))) as data:
        classes = data.read(1)
    for code, ours in ((9, ClassCode.CLOUD), (3, ClassCode.CLOUD_SHADOW), (6, ClassCode.WATER)):
        np.testing.assert_array_equal(classes == code, scene.truth == ours)


def test_nothing_is_overwritten_or_left_behind(tmp_path: Path) -> None:
    write_geotiff(tmp_path / "scene.tif", shape=(20, 20))
    with pytest.raises(OutputError, match="there already"):
        write_geotiff(tmp_path / "scene.tif", shape=(20, 20))

    def interrupt(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_safe(tmp_path, size=60, progress=interrupt)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scene.tif", "scene_truth_10m.tif"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": "L1B"}, "L1C or L2A"),
        ({"baseline": "5"}, "looks like 05.00"),
        ({"size": 20000}, "10980"),
    ],
)
def test_safe_refuses(tmp_path: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_safe(tmp_path, **arguments)


def mtl_of(folder: Path) -> dict[str, str]:
    """All entries of MTL.txt, without quotes."""
    lines = next(folder.glob("*_MTL.txt")).read_text().splitlines()
    pairs = [line.strip().partition(" = ") for line in lines if "GROUP" not in line]
    return {key: value.strip('"') for key, _, value in pairs}


@pytest.mark.parametrize(
    ("sensor", "level", "label", "name"),
    [
        ("landsat-oli", "L1TP", "B5", "nir08"),
        ("landsat-oli", "L2SP", "SR_B2", "blue"),
        ("landsat-tm", "L1TP", "B1", "blue"),
    ],
)
def test_landsat_counts_give_the_reflectance_back(
    tmp_path: Path, sensor: str, level: str, label: str, name: str
) -> None:
    product = write_landsat(tmp_path, size=90, sensor=sensor, level=level, **SCENE)
    mtl = mtl_of(product.path)
    number = label[-1]
    source = "LEVEL2" if level == "L2SP" else "LEVEL1"
    groups = json.loads(next(product.path.glob("*_MTL.json")).read_text())["LANDSAT_METADATA_FILE"]
    rescaling = next(v for k, v in groups.items() if k.startswith(source) and
                     f"REFLECTANCE_MULT_BAND_{number}" in v)  # fmt: skip
    scale = float(rescaling[f"REFLECTANCE_MULT_BAND_{number}"])
    offset = float(rescaling[f"REFLECTANCE_ADD_BAND_{number}"])
    sine = 1.0 if level == "L2SP" else math.sin(math.radians(float(mtl["SUN_ELEVATION"])))
    scene = make_scene((90, 90), resolution=30, sensor=sensor, swath=True, bands=[name],
                       level="L2A" if level == "L2SP" else "L1C", **SCENE)  # fmt: skip
    with rasterio.open(product.path / mtl[f"FILE_NAME_BAND_{number}"]) as data:
        counts = data.read(1)
    with rasterio.open(next(product.path.glob("*_QA_RADSAT.TIF"))) as data:
        flags = data.read(1)
    saturated = (flags & (1 << (int(number) - 1))) > 0
    np.testing.assert_array_equal(saturated, scene.saturated[0])
    plain = (counts > 0) & ~saturated & (scene.reflectance[0] > 0)
    assert plain.mean() > 0.3
    reflectance = (counts[plain] * scale + offset) / sine
    np.testing.assert_allclose(
        reflectance, scene.reflectance[0][plain], atol=0.501 * scale / sine + 1e-6
    )
    with rasterio.open(product.truth[30]) as data:
        np.testing.assert_array_equal(data.read(1), scene.truth)


def test_landsat_flags_and_footprint(tmp_path: Path) -> None:
    product = write_landsat(tmp_path, size=120, packed=True, **SCENE)
    with tarfile.open(product.path) as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    truth = open_truth(product, 30)
    empty = truth == ClassCode.NO_DATA
    assert empty[0, 0] and empty[-1, -1] and not empty[60, 60]
    with rasterio.open(next((tmp_path / "unpacked").glob("*_QA_PIXEL.TIF"))) as data:
        flags = data.read(1)
    for bit, code in ((0, 255), (3, 1), (4, 3), (5, 4), (7, 5)):
        found = (flags >> bit) & 1 > 0
        np.testing.assert_array_equal(found, truth == code, err_msg=f"bit {bit}")
    root = ElementTree.parse(next((tmp_path / "unpacked").glob("*_MTL.xml"))).getroot()
    assert root.findtext(".//PROCESSING_LEVEL") == "L1TP"


def test_landsat_7_gaps(tmp_path: Path) -> None:
    whole = write_landsat(tmp_path / "a", size=150, sensor="landsat-etm+", **SCENE)
    gaps = write_landsat(tmp_path / "b", size=150, sensor="landsat-etm+", gaps=True, **SCENE)
    there, left = (open_truth(p, 30) != ClassCode.NO_DATA for p in (whole, gaps))
    lost = there & ~left
    assert not (left & ~there).any()
    assert 0.1 < lost.sum() / there.sum() < 0.4
    assert lost[:, 72:78].sum() < 0.05 * lost.sum()  # hardly any in the middle
    with pytest.raises(InputError, match="only landsat-etm"):
        write_landsat(tmp_path, gaps=True)


def test_mtl_structure_is_that_of_real_products(shared_data: Path, tmp_path: Path) -> None:
    real = next((shared_data / "landsat_c2l2").glob("*/*_MTL.json"), None)
    if real is None:
        pytest.skip(f"no MTL in {shared_data / 'landsat_c2l2'}")
    product = write_landsat(tmp_path, size=20, level="L2SP")
    ours, theirs = (json.loads(p.read_text())["LANDSAT_METADATA_FILE"]
                    for p in (next(product.path.glob("*_MTL.json")), real))  # fmt: skip
    for group, entries in ours.items():
        assert set(entries) <= set(theirs[group]), group


def test_geotiff_says_its_scale_and_bands(tmp_path: Path) -> None:
    product = write_geotiff(
        tmp_path / "scene.tif", shape=(50, 70), resolution=20, scale=2e-4, offset=-0.1,
        bands=["blue", "nir"], swath=True, **SCENE,
    )  # fmt: skip
    scene = make_scene((50, 70), resolution=20, bands=["blue", "nir"], swath=True, **SCENE)
    with rasterio.open(product.path) as data:
        assert data.descriptions == ("blue", "nir") and data.nodata == 0
        scale, offset = data.scales[0], data.offsets[0]
        counts = data.read()
    empty = scene.truth == ClassCode.NO_DATA
    np.testing.assert_array_equal((counts == 0).all(axis=0), empty)
    np.testing.assert_allclose(
        counts[:, ~empty] * scale + offset, scene.reflectance[:, ~empty], atol=1.01e-4
    )
    assert sum(product.shares.values()) == pytest.approx(1)
    np.testing.assert_array_equal(open_truth(product, 20), scene.truth)


def test_what_gdal_said_of_a_full_disk_is_told(tmp_path: Path) -> None:
    said = RuntimeError("TIFFAppendToStrip:Write error at scanline 0")
    with (
        pytest.raises(OutputError, match=r"a\.tif: .*scanline 0 \(is the disk full\?"),
        work_folder(tmp_path / "a.tif"),
    ):
        raise RasterioIOError("Write failed. See previous exception for details.") from said
    assert not list(tmp_path.iterdir())
