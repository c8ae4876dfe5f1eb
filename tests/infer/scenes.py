"""Small scenes in memory, with a georeference, for the tests of this room and of the command."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS

from nubila.raster import Grid
from nubila.scenes import Scene
from nubila.scenes.array import scene_from_array

BANDS = ("blue", "green", "red", "nir")
GRID = Grid(CRS.from_epsg(32632), Affine(20, 0, 600_000, 0, -20, 5_300_000), (200, 240))


def counts(shape=(200, 240), seed=0, empty=True):
    """Counts with blocks of land and cloud; the first 20 columns are no data (0) if `empty`."""
    rng = np.random.default_rng(seed)
    rows, columns = -(-shape[0] // 16), -(-shape[1] // 16)
    blocks = rng.uniform(500, 9000, (len(BANDS), rows, columns))
    values = blocks.repeat(16, axis=1).repeat(16, axis=2)[:, : shape[0], : shape[1]]
    values = (values + rng.normal(0, 100, values.shape)).clip(1, 65535).astype(np.uint16)
    if empty:
        values[:, :, :20] = 0
    return values


def scene(name="X1", *, grid=GRID, seed=0, acquired=datetime(2024, 7, 5, 10, 10, tzinfo=UTC)):
    found: Scene = scene_from_array(
        counts(grid.shape, seed), BANDS, scale=1e-4, nodata=0, grid=grid, name=name
    )
    return replace(found, acquired=acquired, platform="Sentinel-2A", level="L1C")


def write_raster(path, *, seed=0, grid=GRID):
    """Write a GeoTIFF whose bands are described; reflectance needs a scale of 1e-4."""
    values = counts(grid.shape, seed)
    with rasterio.open(
        path, "w", driver="GTiff", count=len(BANDS), dtype="uint16", crs=grid.crs,
        height=grid.shape[0], width=grid.shape[1], transform=grid.transform, nodata=0,
    ) as data:  # fmt: skip
        data.write(values)
        data.descriptions = BANDS
        data.scales = [1e-4] * len(BANDS)
    return path
