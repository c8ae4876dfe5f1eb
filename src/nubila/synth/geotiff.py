"""Writing synthetic scenes as one GeoTIFF with a band for each spectral band."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from nubila.errors import InputError
from nubila.raster.grid import Grid
from nubila.synth.describe import describe_scene
from nubila.synth.product import (
    Layer,
    Progress,
    WrittenProduct,
    class_shares,
    keep_truth,
    make_layers,
    truth_layer,
    work_folder,
)
from nubila.synth.scene import SyntheticScene, check_bands

__all__ = ["write_geotiff"]

_HIGHEST: Final = 65535


def write_geotiff(
    path: str | Path,
    *,
    shape: tuple[int, int],
    resolution: float = 10.0,
    sensor: str = "sentinel-2-msi",
    level: str = "L1C",
    bands: Sequence[str] | None = None,
    scale: float = 1e-4,
    offset: float = 0.0,
    seed: int = 0,
    preset: str | None = None,
    biome: str | None = None,
    sky: str | None = None,
    swath: bool = False,
    progress: Progress = lambda share: None,
) -> WrittenProduct:
    """Write a synthetic scene as a GeoTIFF of uint16 counts, and its truth beside it.

    Reflectance = count * scale + offset, both in the file; 0 is no data; the bands' descriptions
    are their common names.

    Args:
        path: of the GeoTIFF; the truth goes to ``<stem>_truth_<resolution>m.tif``.
        shape: rows and columns.
        resolution: metres.
        sensor: see `nubila.synth.make_scene`, as for the other arguments.
        level: ``L1C`` or ``L2A``.
        bands: common names; all of the sensor's where None.
        scale: of counts.
        offset: of counts.
        seed: same seed, same scene.
        preset: see `sensor`; so are `biome`, `sky` and `swath`.
        biome: see `preset`.
        sky: see `preset`.
        swath: see `preset`.
        progress: called with the share that is done, from 0 to 1.

    Raises:
        InputError: an argument does not hold.
        OutputError: the file is there already, or cannot be written.
    """
    final = Path(path)
    if final.suffix.lower() not in (".tif", ".tiff"):
        raise InputError(
            f"{final}: a GeoTIFF is one file, whose name ends in .tif; give one such as "
            f"{final / 'scene.tif' if final.is_dir() else f'{final}.tif'}"
        )
    if not (math.isfinite(resolution) and resolution > 0 and min(shape) > 0):
        raise InputError(
            f"{final}: {shape[0]} x {shape[1]} pixels of {resolution:g} m; expected at least one "
            f"pixel of more than 0 m"
        )
    names = check_bands(sensor, level, bands)
    description = describe_scene(
        (shape[0] * resolution, shape[1] * resolution), seed=seed, preset=preset, biome=biome,
        sky=sky, swath=swath, sensor=sensor,
    )  # fmt: skip
    transform = Affine(resolution, 0, 300000, 0, -resolution, 5900040)
    grid = Grid(CRS.from_epsg(32633), transform, shape)
    with work_folder(final) as work:
        image = Layer(
            work / "image.tif", "uint16", partial(_counts, scale=scale, offset=offset), 0, names,
            scale, offset, compress="deflate",
        )  # fmt: skip
        truth = {resolution: work / "truth.tif"}
        counts = make_layers(
            description, grid, [image, truth_layer(truth[resolution])], sensor=sensor, level=level,
            bands=names, progress=progress,
        )  # fmt: skip
        kept = keep_truth(truth, final, final.stem)
        image.path.rename(final)
    return WrittenProduct(final, kept, class_shares(counts), description.sun)


def _counts(scene: SyntheticScene, scale: float, offset: float) -> NDArray[np.uint16]:
    values = (scene.reflectance - np.float32(offset)) * np.float32(1 / scale)
    empty = np.isnan(values)
    rounded = np.clip(np.rint(np.nan_to_num(values)), 1, _HIGHEST)
    counts: NDArray[np.uint16] = rounded.astype(np.uint16)
    counts[empty] = 0
    return counts
