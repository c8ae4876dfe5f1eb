"""Bare folders of Sentinel-2 images: what is assumed is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from nubila import open_scene
from nubila.errors import DamagedFileError, GridError, InputError, ProductError
from nubila.raster import Window
from tests.scenes.safe_product import SafeSpec, counts, write_jp2, write_safe


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = write_safe(tmp_path / "product", SafeSpec())
    return Path(shutil.copytree(next(folder.rglob("IMG_DATA")), tmp_path / "images"))


def test_assumptions_are_said(images: Path) -> None:
    scene = open_scene(images)
    assert scene.level == "L1C"
    assert scene.id == "T33UUU_20230821T101021"
    assert scene.acquired is not None
    assert scene.acquired.isoformat() == "2023-08-21T10:10:21+00:00"
    said = " ".join(scene.notes)
    for word in ("assumed, not read", "10000", "offset 0", "04.00", "no data", "Level-1C"):
        assert word in said
    raw = counts("T33UUU", "B02", 10, (48, 48)).astype(float)
    truth = np.where(raw == 0, np.nan, raw / 10_000)
    np.testing.assert_allclose(scene.read(["blue"]).reflectance[0], truth, atol=1e-6)


def test_where_images_were_found_is_said(images: Path) -> None:
    assert not any("found" in note for note in open_scene(images).notes)
    given = Path(shutil.copytree(images, images.parent / "given" / "a" / "b")).parents[1]
    assert f"found further down, in {given / 'a' / 'b'}" in open_scene(given).notes


def test_what_is_given_is_not_assumed(images: Path) -> None:
    scene = open_scene(images, scale=1e-4, offset=-0.1, nodata=7)
    said = " ".join(scene.notes)
    assert "offset" not in said
    assert "quantification" not in said
    raw = counts("T33UUU", "B02", 10, (48, 48)).astype(float)
    truth = np.where(raw == 7, np.nan, raw / 10_000 - 0.1)
    np.testing.assert_allclose(scene.read(["blue"]).reflectance[0], truth, atol=1e-6)


def test_a_scale_that_no_reflectance_has_is_refused(images: Path) -> None:
    for scale in (-1e-4, 0, 1e300, float("nan")):
        with pytest.raises(InputError, match="the given scale is"):
            open_scene(images, scale=scale)
    with pytest.raises(InputError, match="the given offset is inf"):
        open_scene(images, offset=float("inf"))


def test_bands_cannot_be_given(images: Path) -> None:
    with pytest.raises(InputError, match="bands"):
        open_scene(images, bands="blue,green")


def test_a_folder_within_a_product_is_read_with_the_products_xml(tmp_path: Path) -> None:
    product = write_safe(tmp_path, SafeSpec(level="L2A"))
    for folder in (next(product.rglob("R20m")), next(product.rglob("IMG_DATA"))):
        scene = open_scene(folder)
        assert scene.band("blue").offset == pytest.approx(-0.1)
        assert scene.id == product.stem


def test_level_2_names(tmp_path: Path) -> None:
    product = write_safe(tmp_path / "product", SafeSpec(level="L2A"))
    folder = Path(shutil.copytree(next(product.rglob("IMG_DATA")), tmp_path / "images"))
    scene = open_scene(folder)
    assert len(scene.band("blue").files) == 3
    assert scene.level == ""
    assert "level unknown" in " ".join(scene.notes)
    assert "scl" in scene.masks


def test_old_names(tmp_path: Path) -> None:
    spec = SafeSpec(layout="old", baseline="02.01", offset=None, size=24)
    product = write_safe(tmp_path / "product", spec)
    folder = Path(shutil.copytree(next(product.rglob("IMG_DATA")), tmp_path / "images"))
    assert len(open_scene(folder).bands) == 13


def test_images_of_two_scenes(images: Path) -> None:
    image = images / "T33UUU_20230821T101021_B02.jp2"
    shutil.copy(image, images / "T33UUU_20230826T101021_B02.jp2")
    with pytest.raises(ProductError, match="several scenes"):
        open_scene(images)


def test_a_band_twice(images: Path) -> None:
    (images / "again").mkdir()
    shutil.copy(images / "T33UUU_20230821T101021_B02.jp2", images / "again")
    with pytest.raises(ProductError, match="B02 is there more than once"):
        open_scene(images)


def test_another_place(images: Path) -> None:
    image = images / "T33UUU_20230821T101021_B03.jp2"
    transform = rasterio.Affine(10, 0, 300_000, 0, -10, 4_000_000)
    write_jp2(image, np.ones((48, 48), np.uint16), transform, "EPSG:32633")
    with pytest.raises(GridError, match=r"_B03\.jp2"):
        open_scene(images)


def test_a_damaged_image(images: Path) -> None:
    image = images / "T33UUU_20230821T101021_B03.jp2"
    image.write_bytes(image.read_bytes()[:100])
    with pytest.raises(DamagedFileError, match=image.name):
        open_scene(images)


def test_real_crop(shared_data: Path) -> None:
    folder = shared_data / "sentinel2_l1c_jp2"
    scene = open_scene(folder)
    assert scene.shape == (768, 1536)
    assert scene.default_resolution == 20
    assert len(scene.bands) == 13
    window = Window(100, 300, 200, 250)
    with rasterio.open(next(folder.rglob("*_B04.jp2"))) as data:
        raw = data.read(1).astype(np.float64)
    truth = np.where(raw == 0, np.nan, raw / 10_000)
    read = scene.read(["red"], window).reflectance[0]
    np.testing.assert_allclose(read, truth[window.slices], atol=1e-6)
    # At 60 m from 10 m: the area average, for these files have no levels.
    coarse = scene.read(["red"], resolution=60).reflectance[0]
    average = truth.reshape(128, 6, 256, 6).mean(axis=(1, 3))
    np.testing.assert_allclose(coarse, average, atol=1e-6)
