"""Held to the package's own class, in the form that its README shows: (rows, columns, bands)."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES
from nubila.detect import View
from nubila.detect.csmask import Csmask
from nubila.errors import BandError

mask = pytest.importorskip("ukis_csmask.mask")

FOUR = ["blue", "green", "red", "nir"]
SIX = [*FOUR, "swir16", "swir22"]
BIOME = ("blue", "green", "red", "nir", "swir16", "swir22", "cirrus", "lwir11")


@pytest.fixture(scope="module")
def biome(shared_data: Path) -> View:
    """A patch of 256 x 256 pixels at 30 m with cloud, shadow and ground."""
    path = shared_data / "l8_biome" / "images" / "GrassCrops_02_0608.tif"
    with warnings.catch_warnings(), rasterio.open(path) as data:
        image = data.read().astype(np.float32) / np.float32(10000)
    return View(image, BIOME, "landsat-oli", "L1TP", 30.0, path.name)


def _own_class(view: View, order: list[str], level: str) -> NDArray[np.uint8]:
    """Return nubila's codes of what the package makes of a view."""
    image = np.stack([view.image[view.bands.index(name)] for name in order], axis=-1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of images smaller than a tile
        found = mask.CSmask(
            img=image.copy(), band_order=order, product_level=level, intra_op_num_threads=1
        )
    return np.array([0, 1, 3], np.uint8)[found.csm[..., 0]]


@pytest.mark.parametrize("level", ["l1c", "l2a"])
@pytest.mark.parametrize(("bands", "order"), [(4, FOUR), (None, SIX)])
def test_each_network_says_what_the_package_says(
    biome: View, level: str, bands: int | None, order: list[str]
) -> None:
    found = Csmask(bands).detect(replace(biome, level=level.upper()))
    np.testing.assert_array_equal(found.classes, _own_class(biome, order, level))
    assert {0, 1} <= set(np.unique(found.classes)), "there is cloud and there is ground"
    np.testing.assert_allclose(found.probabilities.sum(axis=0), 1, atol=1e-5)


def test_several_tiles_are_blended_as_by_the_package(biome: View) -> None:
    image = np.concatenate([biome.image, biome.image[:, :, ::-1]], axis=2)[:, :, :300]
    wide = replace(biome, image=image)
    np.testing.assert_array_equal(Csmask(4).detect(wide).classes, _own_class(wide, FOUR, "l1c"))


def test_fine_views_are_judged_at_30_metres() -> None:
    image = np.full((4, 90, 120), 0.1, np.float32)
    image[:, :45] = 0.7
    view = View(image, tuple(FOUR), level="L1C", resolution=10.0)
    coarse = View(image[:, 1::3, 1::3].copy(), tuple(FOUR), level="L1C", resolution=30.0)
    fine, whole = Csmask().detect(view), Csmask().detect(coarse)
    np.testing.assert_allclose(fine.probabilities[:, 1::3, 1::3], whole.probabilities, atol=1e-3)
    assert Csmask().name == "ukis-csmask"
    assert Csmask(4, resolution=None).name == "ukis-csmask-4-native"


def test_what_has_no_data_is_not_judged_and_what_is_missing_is_said() -> None:
    image = np.full((4, 64, 64), 0.2, np.float32)
    image[2, :10] = np.nan
    found = Csmask().detect(View(image, tuple(FOUR), resolution=30.0, name="a"))
    assert (found.classes[:10] == 255).all()
    assert set(np.unique(found.classes[10:])) <= set(CLASS_NAMES)
    lacking = View(image[:3], ("blue", "green", "red"), name="somewhere")
    assert Csmask().lacks(lacking) == "no nir"
    with pytest.raises(BandError, match="somewhere: ukis-csmask cannot judge it: no nir"):
        Csmask().detect(lacking)
    assert "swir16" in Csmask(6).lacks(View(image, tuple(FOUR)))
