"""Flags rasters of 16 bits go through the whole engine: band 9's bit does not fit 8."""

from pathlib import Path

import numpy as np
import rasterio

from nubila.classes import Validity
from nubila.infer import mask_scene
from nubila.scenes import open_scene
from nubila.synth import write_landsat
from tests.infer.toy import write_toy


def test_a_landsat_level_1_product_with_cirrus_is_masked_with_its_saturation(tmp_path):
    product = Path(write_landsat(tmp_path, size=300, seed=3, preset="mixed").path)
    flags = next(product.glob("*_QA_RADSAT.TIF"))
    with rasterio.open(flags) as data:
        profile, values = data.profile, data.read(1)
    values[100:120, 140:150] = 1 << 1  # band 2, blue, which the model needs
    values[150:160, 140:150] = 1 << 8  # band 9, cirrus, which it can do without
    with rasterio.open(flags, "w", **profile) as data:
        data.write(values, 1)

    scene = open_scene(str(product))
    model = write_toy(tmp_path / "toy.onnx", bands=("blue", "green", "red", "cirrus"))
    mask = mask_scene(scene, model=model)
    assert "cirrus" in scene.bands
    found = np.argwhere(mask.validity == Validity.SATURATED)
    assert {tuple(p) for p in found} >= {(r, c) for r in range(100, 120) for c in range(140, 150)}
