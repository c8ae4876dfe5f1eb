"""What all product writers share: making rasters block by block, and the truth beside them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from nubila._version import __version__
from nubila.classes import CLASS_NAMES, COLOURS, NO_DATA
from nubila.errors import OutputError
from nubila.raster.atomic import make_folder
from nubila.raster.gdal import gdal_env
from nubila.raster.grid import Grid, Window
from nubila.raster.names import VERSION_TAG
from nubila.synth.describe import SceneDescription
from nubila.synth.scene import SyntheticScene, render

__all__ = [
    "Layer",
    "Progress",
    "WrittenProduct",
    "class_shares",
    "keep_truth",
    "make_layers",
    "truth_layer",
    "work_folder",
]

Progress = Callable[[float], None]

_BLOCK: Final = 512


@dataclass(frozen=True)
class WrittenProduct:
    """A synthetic product on disk.

    Attributes:
        path: folder or archive or file of the product.
        truth: resolution in metres -> GeoTIFF of classes on that grid, beside the product.
        shares: class name -> share of the pixels with data, on the finest grid.
        sun: elevation and azimuth in degrees.
    """

    path: Path
    truth: Mapping[float, Path]
    shares: Mapping[str, float]
    sun: tuple[float, float]


@dataclass(frozen=True)
class Layer:
    """A raster to make.

    Attributes:
        path: of the GeoTIFF.
        dtype: of its values.
        values: gives (rows, columns) or (bands, rows, columns) from a block of the scene.
        nodata: value, or None.
        bands: their descriptions where there are several, with one scale and offset for all.
        scale, offset: to reflectance, written into the file where there are several bands.
        colours: of classes, or None.
        compress: GeoTIFF compression, or ``none``.
        tags: of the file.
    """

    path: Path
    dtype: str
    values: Callable[[SyntheticScene], NDArray[Any]]
    nodata: float | None = None
    bands: tuple[str, ...] = ()
    scale: float = 1.0
    offset: float = 0.0
    colours: Mapping[int, tuple[int, int, int]] | None = None
    compress: str = "none"
    tags: Mapping[str, str] = field(default_factory=dict)


def make_layers(
    description: SceneDescription,
    grid: Grid,
    layers: Sequence[Layer],
    *,
    sensor: str,
    level: str,
    bands: Sequence[str],
    progress: Progress = lambda share: None,
) -> NDArray[np.int64]:
    """Write rasters over a whole scene, made and written block by block in bounded memory.

    Args:
        description: the scene.
        grid: of the rasters.
        layers: what to write, each as a tiled GeoTIFF.
        sensor: see `make_scene`.
        level: ``L1C`` or ``L2A``.
        bands: common names that the layers' `values` look for.
        progress: called with the share that is done, from 0 to 1.

    Returns:
        (256,) number of pixels of each class.
    """
    windows = list(_blocks(grid.shape))
    counts = np.zeros(256, np.int64)

    def make(window: Window) -> tuple[Window, list[NDArray[Any]], NDArray[np.int64]]:
        scene = render(
            description, window, resolution=grid.resolution, sensor=sensor, level=level, bands=bands
        )
        tally = np.bincount(scene.truth.ravel(), minlength=256)
        return window, [layer.values(scene) for layer in layers], tally

    workers = min(4, os.cpu_count() or 1)
    with gdal_env(), ExitStack() as stack, ThreadPoolExecutor(workers) as pool:
        files = [stack.enter_context(_create(layer, grid)) for layer in layers]
        done = 0
        for start in range(0, len(windows), 4 * workers):  # bounds what waits to be written
            group = windows[start : start + 4 * workers]
            for window, arrays, tally in pool.map(make, group):
                area = RasterioWindow(window.column, window.row, window.width, window.height)
                for file, array in zip(files, arrays, strict=True):
                    file.write(array if array.ndim == 3 else array[None], window=area)
                counts += tally
                done += 1
                progress(done / len(windows))
    return counts


def truth_layer(path: Path) -> Layer:
    """Return the layer that writes a scene's truth."""
    return Layer(
        path, "uint8", lambda scene: scene.truth, NO_DATA, colours=COLOURS, compress="deflate",
        tags={VERSION_TAG: __version__},
    )  # fmt: skip


def class_shares(counts: NDArray[np.int64]) -> dict[str, float]:
    """Return class name -> share of the pixels that have data, from `make_layers`'s counts."""
    valid = max(int(counts[list(CLASS_NAMES)].sum()), 1)
    return {name: float(counts[code]) / valid for code, name in CLASS_NAMES.items()}


@contextmanager
def work_folder(final: Path) -> Iterator[Path]:
    """Yield an empty folder beside `final` in which to make it; it is removed in the end.

    Raises:
        OutputError: `final` exists, or nothing can be written there.
    """
    if final.exists():
        raise OutputError(f"{final}: is there already; remove it, or choose another folder or seed")
    make_folder(final.parent)
    work = final.with_name(f".{final.name}.part-{os.getpid()}")
    try:
        work.mkdir()
        yield work
    except RasterioError as error:  # which only points to what GDAL said, and GDAL not to why
        raise OutputError(
            f"{final}: cannot be written: {error.__cause__ or error} (is the disk full? free some "
            f"space or choose another folder)"
        ) from error
    except OSError as error:
        raise OutputError(f"{final}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def keep_truth(truth: Mapping[float, Path], final: Path, name: str) -> dict[float, Path]:
    """Move truth rasters from the work folder to ``<name>_truth_<resolution>m.tif`` by `final`."""
    kept = {}
    for resolution, path in truth.items():
        kept[resolution] = final.with_name(f"{name}_truth_{resolution:g}m.tif")
        path.replace(kept[resolution])
    return kept


def _blocks(shape: tuple[int, int]) -> Iterator[Window]:
    rows, columns = shape
    for row, column in product(range(0, rows, _BLOCK), range(0, columns, _BLOCK)):
        yield Window(row, column, min(_BLOCK, rows - row), min(_BLOCK, columns - column))


def _create(layer: Layer, grid: Grid) -> Any:  # noqa: ANN401 (rasterio is untyped)
    layer.path.parent.mkdir(parents=True, exist_ok=True)
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "count": max(1, len(layer.bands)),
        "dtype": layer.dtype,
        "height": grid.shape[0],
        "width": grid.shape[1],
        "crs": grid.crs,
        "transform": grid.transform,
        "nodata": layer.nodata,
        "tiled": True,
        "blockxsize": _BLOCK,
        "blockysize": _BLOCK,
        "compress": layer.compress,
        "BIGTIFF": "IF_SAFER",
    }
    file = rasterio.open(layer.path, "w", **profile)
    file.update_tags(**layer.tags)
    if layer.bands:
        file.descriptions = layer.bands
        file.scales = (layer.scale,) * len(layer.bands)
        file.offsets = (layer.offset,) * len(layer.bands)
    if layer.colours is not None:
        file.write_colormap(1, {k: (*v, 255) for k, v in layer.colours.items()})
    return file
