"""Writing synthetic scenes as Sentinel-2 products: SAFE folders or zips of JPEG 2000 bands."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from nubila.bands import SENSORS
from nubila.classes import CLOUD_CODES, NO_DATA, ClassCode
from nubila.errors import InputError
from nubila.raster.gdal import gdal_env
from nubila.raster.grid import Grid
from nubila.synth.describe import SceneDescription, describe_scene
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
from nubila.synth.safe_metadata import SafeInfo, manifest_xml, product_xml, tile_xml
from nubila.synth.scene import SyntheticScene

__all__ = ["FULL_TILE", "write_safe"]

FULL_TILE: Final = 10980  # pixels of 10 m along a side of a real tile
_SENSOR: Final = "sentinel-2-msi"
_LABELS: Final = SENSORS[_SENSOR].bands
_QUANTIFICATION = 10000
_SATURATED = 65535
# Internal tiles of real products, by resolution in metres; 6 resolution levels, 5 at 60 m.
_JP2_TILE: Final = {10: (1024, 6), 20: (640, 6), 60: (192, 5)}
# Level-2A stores bands at their own and every coarser resolution, apart from B08.
_L2A: Final = {
    10: ("B02", "B03", "B04", "B08"),
    20: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12", "SCL"),
    60: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B09", "B11", "B12", "SCL"),
}
_FIRST_OFFSET_BASELINE = 4.0
_TO_SCL: Final = {
    ClassCode.CLEAR: 5,
    ClassCode.CLOUD: 9,
    ClassCode.THIN_CLOUD: 10,
    ClassCode.CLOUD_SHADOW: 3,
    ClassCode.SNOW: 11,
    ClassCode.WATER: 6,
    ClassCode.NO_DATA: 0,
}
_VEGETATION = 4  # in the scene classification
_DAY: Final = date(2023, 6, 15)


def write_safe(
    folder: str | Path,
    *,
    size: int = FULL_TILE,
    level: str = "L1C",
    baseline: str = "05.00",
    seed: int = 0,
    preset: str | None = None,
    biome: str | None = None,
    sky: str | None = None,
    swath: bool = False,
    zipped: bool = False,
    day: date = _DAY,
    progress: Progress = lambda share: None,
) -> WrittenProduct:
    """Write a Sentinel-2 product of a synthetic scene, and its truth beside it.

    The product has the names, XML, JPEG 2000 tiling and calibration of a real one:
    reflectance = (count + offset) / 10000, where the offset is -1000 from baseline 04.00 on and
    absent before; 0 is no data and 65535 is saturated. Memory does not grow with `size`.

    Args:
        folder: where the product, under its own name, and ``<name>_truth_<resolution>m.tif`` go.
        size: rows and columns at 10 m; 10980 is a whole tile.
        level: ``L1C`` or ``L2A``.
        baseline: processing baseline, such as ``02.09`` or ``05.00``.
        seed: same seed, same scene; it is in the product's name as its time of generation.
        preset: see `nubila.synth.make_scene`; so are `biome`, `sky` and `swath`.
        biome: see `preset`.
        sky: see `preset`.
        swath: see `preset`.
        zipped: write ``<name>.zip`` with the SAFE folder in it.
        day: when the scene was sensed; in names and metadata only.
        progress: called with the share that is done, from 0 to 1.

    Raises:
        InputError: level, baseline, size, preset, biome or sky does not hold.
        OutputError: the product is there already, or cannot be written.
    """
    description = describe_scene(
        (size * 10.0, size * 10.0), seed=seed, preset=preset, biome=biome, sky=sky,
        swath=swath,
    )  # fmt: skip
    info = _info(description, size, level, baseline, day)
    name = f"{info.product_id}.SAFE"
    final = Path(folder) / (f"{info.product_id}.zip" if zipped else name)
    with work_folder(final) as work:
        counts, truth = _write_images(work / name, work, info, description, progress)
        _write_metadata(work / name, info, counts)
        done = _zip(work / name, work / final.name) if zipped else work / name
        kept = keep_truth(truth, final, info.product_id)
        done.rename(final)
    return WrittenProduct(final, kept, class_shares(counts), description.sun)


def _info(
    description: SceneDescription, size: int, level: str, baseline: str, day: date
) -> SafeInfo:
    if level not in ("L1C", "L2A"):
        raise InputError(f"a SAFE has level L1C or L2A, not {level!r}")
    if not re.fullmatch(r"\d\d\.\d\d", baseline):
        raise InputError(f"a processing baseline looks like 05.00, not {baseline!r}")
    if not 60 <= size <= FULL_TILE:
        raise InputError(f"size must be 60 to {FULL_TILE} pixels of 10 m, got {size}")
    grids = {r: _grid(size, r) for r in (10, 20, 60)}
    sensed = datetime.combine(day, time(10, 10, 31), tzinfo=UTC)
    made = datetime.combine(day, time(14, 0), tzinfo=UTC)
    made += timedelta(seconds=description.seed % 10**8)
    info = SafeInfo(
        level=level,
        baseline=baseline,
        offset=-1000 if float(baseline) >= _FIRST_OFFSET_BASELINE else None,
        sensed=sensed,
        made=made,
        tile="T33UUU",
        orbit=41677,
        relative_orbit=22,
        sun=description.sun,
        grids=grids,
        images=(),
    )
    images = [
        _image_path(info, label, r) for r in grids for label in _labels(level, info.offset, r)
    ]
    return replace(info, images=images)


def _grid(size: int, resolution: int) -> Grid:
    """Return the grid of a resolution, from the upper left corner of tile T33UUU."""
    count = math.ceil(size * 10 / resolution)
    transform = Affine(resolution, 0, 300000, 0, -resolution, 5900040)
    return Grid(CRS.from_epsg(32633), transform, (count, count))


def _labels(level: str, offset: int | None, resolution: int) -> tuple[str, ...]:
    if level == "L2A":
        old = offset is None  # before baseline 04.00, B01 was there at 60 m only
        return tuple(b for b in _L2A[resolution] if not (old and (b, resolution) == ("B01", 20)))
    return tuple(label for label, (_, size) in _LABELS.items() if size == resolution)


def _image_path(info: SafeInfo, label: str, resolution: int) -> str:
    name = f"{info.tile}_{info.sensed:%Y%m%dT%H%M%S}_{label}"
    images = f"GRANULE/{info.granule}/IMG_DATA"
    if info.level == "L1C":
        return f"{images}/{name}"
    return f"{images}/R{resolution}m/{name}_{resolution}m"


def _write_images(
    product: Path, work: Path, info: SafeInfo, description: SceneDescription, progress: Progress
) -> tuple[NDArray[np.int64], dict[float, Path]]:
    """Write the bands and truth at every resolution; return class counts at 10 m."""
    counts = np.zeros(256, np.int64)
    truth: dict[float, Path] = {}
    weights = {10: 0.8, 20: 0.17, 60: 0.03}  # of the time that a resolution takes
    before = 0.0
    for resolution, grid in info.grids.items():
        labels = _labels(info.level, info.offset, resolution)
        layers = [_band_layer(product, info, label, resolution) for label in labels]
        truth[resolution] = work / f"truth_{resolution}m.tif"

        def advance(share: float, start: float = before, part: float = weights[resolution]) -> None:
            progress(start + part * share)

        tally = make_layers(
            description,
            grid,
            [*layers, truth_layer(truth[resolution])],
            sensor=_SENSOR,
            level=info.level,
            bands=_names(labels),
            progress=partial(_scaled, advance, 0.6),
        )
        if resolution == 10:
            counts = tally
        for number, layer in enumerate(layers):
            _to_jp2(layer.path, resolution)
            advance(0.6 + 0.4 * (number + 1) / len(layers))
        before += weights[resolution]
    return counts, truth


def _scaled(progress: Progress, factor: float, share: float) -> None:
    progress(factor * share)


def _names(labels: Sequence[str]) -> list[str]:
    return [_LABELS[label][0] for label in labels if label != "SCL"]


def _band_layer(product: Path, info: SafeInfo, label: str, resolution: int) -> Layer:
    path = product / f"{_image_path(info, label, resolution)}.tif"
    if label == "SCL":
        return Layer(path, "uint8", _scene_classification)
    name = _LABELS[label][0]
    return Layer(path, "uint16", partial(_counts, band=name, offset=info.offset or 0))


def _counts(scene: SyntheticScene, band: str, offset: int) -> NDArray[np.uint16]:
    """Return the counts of a band: (count + offset) / 10000 = reflectance, 0 without data."""
    number = scene.bands.index(band)
    values = scene.reflectance[number] * np.float32(_QUANTIFICATION) - np.float32(offset)
    empty = np.isnan(values)
    rounded = np.clip(np.rint(np.nan_to_num(values)), 1, _SATURATED - 1)
    counts: NDArray[np.uint16] = rounded.astype(np.uint16)
    counts[scene.saturated[number]] = _SATURATED
    counts[empty] = 0
    return counts


def _scene_classification(scene: SyntheticScene) -> NDArray[np.uint8]:
    """Return the truth in the codes of Level-2A's scene classification."""
    codes = np.zeros(256, np.uint8)
    for truth, code in _TO_SCL.items():
        codes[truth] = code
    result = codes[scene.truth]
    red = scene.reflectance[scene.bands.index("red")]
    infrared = scene.reflectance[scene.bands.index("nir08")]
    green = (infrared - red) > np.float32(0.4) * (infrared + red)
    result[(scene.truth == ClassCode.CLEAR) & green] = _VEGETATION
    return result


def _to_jp2(tiff: Path, resolution: int) -> None:
    """Replace an uncompressed GeoTIFF by a lossless JPEG 2000 file tiled as real products are."""
    tile, levels = _JP2_TILE[resolution]
    options: dict[str, Any] = {
        "driver": "JP2OpenJPEG",
        "REVERSIBLE": "YES",
        "QUALITY": "100",
        "BLOCKXSIZE": tile,
        "BLOCKYSIZE": tile,
        "RESOLUTIONS": levels,
        "GMLJP2": "YES",
        "GEOJP2": "NO",
    }
    with gdal_env(GDAL_NUM_THREADS="ALL_CPUS"):
        rasterio.shutil.copy(tiff, tiff.with_suffix(".jp2"), **options)
    tiff.unlink()


def _write_metadata(product: Path, info: SafeInfo, counts: NDArray[np.int64]) -> None:
    valid = max(int(counts.sum() - counts[NO_DATA]), 1)
    cloudy = 100 * float(sum(counts[code] for code in CLOUD_CODES)) / valid
    empty = 100 * float(counts[NO_DATA]) / max(int(counts.sum()), 1)
    main = product / f"MTD_MSI{info.level}.xml"
    main.write_bytes(product_xml(info, cloud_cover=cloudy, nodata_share=empty))
    tile = product / "GRANULE" / info.granule / "MTD_TL.xml"
    tile.write_bytes(tile_xml(info, cloud_cover=cloudy))
    (product / "manifest.safe").write_bytes(manifest_xml(product, info))


def _zip(product: Path, archive: Path) -> Path:
    """Pack a SAFE folder; its JPEG 2000 files are stored, for they do not shrink further."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for path in sorted(product.rglob("*")):
            packed.write(path, Path(product.name) / path.relative_to(product))
    return archive
