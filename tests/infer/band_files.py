"""Bands of one scene in files of several formats, resolutions and block shapes."""

from __future__ import annotations

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS

from nubila.scenes import open_scene
from tests.infer.toy import BANDS

# Files of one ground, 2400 x 1920 m, in blocks that fit neither each other nor the tiles.
_FILES = {
    "blue": (10, "JP2OpenJPEG", {"BLOCKXSIZE": 80, "BLOCKYSIZE": 96, "RESOLUTIONS": 4}),
    "green": (10, "GTiff", {"TILED": True, "BLOCKXSIZE": 64, "BLOCKYSIZE": 48}),
    "red": (10, "GTiff", {"BLOCKYSIZE": 7}),
    "nir": (20, "GTiff", {"TILED": True, "BLOCKXSIZE": 16, "BLOCKYSIZE": 32}),
    "cirrus": (60, "JP2OpenJPEG", {"BLOCKXSIZE": 64, "BLOCKYSIZE": 64, "RESOLUTIONS": 2}),
    "swir16": (20, "JP2OpenJPEG", {"BLOCKXSIZE": 112, "BLOCKYSIZE": 64, "RESOLUTIONS": 3}),
}


def write_bands(folder, metres=(2400, 1920), seed=0):
    """Write a file for each band, and return their paths in the order of `BANDS`."""
    rng = np.random.default_rng(seed)
    paths = []
    for name in BANDS:
        size, driver, options = _FILES[name]
        shape = -(-metres[0] // size), -(-metres[1] // size)
        values = rng.integers(100, 9000, shape).astype(np.uint16)
        values[: shape[0] // 3, : shape[1] // 5] = 0
        values[shape[0] // 2 :, -shape[1] // 6 :] = 0
        values[rng.random(shape) < 0.01] = 0
        path = folder / f"{name}.{'jp2' if driver == 'JP2OpenJPEG' else 'tif'}"
        if driver == "JP2OpenJPEG":
            options = options | {"QUALITY": 100, "REVERSIBLE": "YES"}
        with rasterio.open(
            path, "w", driver=driver, count=1, dtype="uint16", height=shape[0], width=shape[1],
            crs=CRS.from_epsg(32632), transform=Affine(size, 0, 6e5, 0, -size, 5.3e6), nodata=0,
            **options,
        ) as data:  # fmt: skip
            data.write(values, 1)
        if name == "green":
            with rasterio.open(path, "r+") as data:
                data.build_overviews([2, 4], rasterio.enums.Resampling.average)
        paths.append(path)
    return paths


def band_scene(folder, metres=(2400, 1920)):
    """Write the files and open them as a scene."""
    return open_scene(write_bands(folder, metres), bands=",".join(BANDS), scale=1e-4, nodata=0)
