"""Writing synthetic scenes as Landsat Collection 2 products, Level 1 and Level 2."""

from __future__ import annotations

import math
import tarfile
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import transform as transform_points

from nubila.bands import SENSORS
from nubila.classes import CLOUD_CODES, ClassCode
from nubila.errors import InputError, nearest
from nubila.raster.gdal import gdal_env
from nubila.raster.grid import Grid
from nubila.synth.describe import SceneDescription, describe_scene
from nubila.synth.instrument import SENSOR_BANDS, saturation_limit
from nubila.synth.landsat_metadata import Groups, mtl_json, mtl_text, mtl_xml
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
from nubila.synth.scene import SyntheticScene

__all__ = ["write_landsat"]

_SIZE = 30.0  # metres
# Sensor: prefix of product names, satellite, instrument.
_SATELLITES: Final = {
    "landsat-oli": ("LC08", "LANDSAT_8", "OLI_TIRS"),
    "landsat-etm+": ("LE07", "LANDSAT_7", "ETM"),
    "landsat-tm": ("LT05", "LANDSAT_5", "TM"),
}
_LEVELS: Final = {"L1TP": "L1C", "L2SP": "L2A"}  # to the level that `make_scene` knows
_SURFACE = 2.75e-5, -0.2  # scale and offset of Level 2 (LSDS-1619)

# QA_PIXEL (LSDS-1822, table 6-3): fill bit 0; dilated 1, cirrus 2, cloud 3, shadow 4, snow 5,
# clear 6, water 7; two bits of confidence each for cloud, shadow, snow and cirrus from bit 8.
_QA_PIXEL: Final = {
    ClassCode.CLEAR: 21824,
    ClassCode.CLOUD: 22280,
    ClassCode.THIN_CLOUD: 54596,
    ClassCode.CLOUD_SHADOW: 23888,
    ClassCode.SNOW: 30048,
    ClassCode.WATER: 21952,
    ClassCode.NO_DATA: 1,
}


@dataclass(frozen=True)
class _Product:
    """What names and metadata of a product are made from."""

    sensor: str
    level: str
    acquired: date
    processed: date
    grid: Grid
    sun: tuple[float, float]

    def id(self, level: str) -> str:
        """Name of the product at a level."""
        prefix = _SATELLITES[self.sensor][0]
        return f"{prefix}_{level}_193024_{self.acquired:%Y%m%d}_{self.processed:%Y%m%d}_02_T1"

    @property
    def labels(self) -> dict[str, str]:
        """Band number -> common name of the bands that are written."""
        there = SENSOR_BANDS[self.sensor]
        bands = {k.removeprefix("B"): name for k, (name, _) in SENSORS[self.sensor].bands.items()}
        cut = "cirrus" if self.level == "L2SP" else ""
        return {k: name for k, name in bands.items() if name in there and name != cut}

    def scaling(self, band: str) -> tuple[float, float, int]:
        """Scale and offset of a band's counts before the sun's correction, and the last count."""
        if self.level == "L2SP":
            return (*_SURFACE, 65535)
        if self.sensor == "landsat-oli":
            return 2e-5, -0.1, 65535  # LSDS-1574
        limit = saturation_limit(self.sensor, band, 90)
        scale = (limit + 0.01) / 254  # 8-bit counts of 1 to 255
        return float(f"{scale:.4e}"), float(f"{-0.01 - scale:.6f}"), 255

    def file(self, what: str) -> str:
        """Name of a file: a band number, or what follows the product's name."""
        if what.isdigit():
            what = f"SR_B{what}.TIF" if self.level == "L2SP" else f"B{what}.TIF"
        return f"{self.id(self.level)}_{what}"


def write_landsat(
    folder: str | Path,
    *,
    size: int = 7600,
    sensor: str = "landsat-oli",
    level: str = "L1TP",
    seed: int = 0,
    preset: str | None = None,
    biome: str | None = None,
    sky: str | None = None,
    gaps: bool = False,
    packed: bool = False,
    progress: Progress = lambda share: None,
) -> WrittenProduct:
    """Write a Landsat Collection 2 product of a synthetic scene, and its truth beside it.

    The product has a turned footprint, tiled GeoTIFFs with overviews, QA_PIXEL, QA_RADSAT, and
    the MTL as txt, json and xml. Memory does not grow with `size`.

    Args:
        folder: where the product, under its own name, and ``<name>_truth_30m.tif`` go.
        size: rows and columns at 30 m; a real scene has about 7600.
        sensor: ``landsat-oli``, ``landsat-etm+`` or ``landsat-tm``.
        level: ``L1TP`` for the top of the atmosphere, ``L2SP`` for the ground.
        seed: same seed, same scene; it is in the product's name as its day of processing.
        preset: see `nubila.synth.make_scene`; so are `biome` and `sky`.
        biome: see `preset`.
        sky: see `preset`.
        gaps: ETM+ only: with the gaps since the scan line corrector failed.
        packed: write ``<name>.tar``.
        progress: called with the share that is done, from 0 to 1.

    Raises:
        InputError: an argument does not hold.
        OutputError: the product is there already, or cannot be written.
    """
    _check(sensor, level, size, gaps)
    description = describe_scene(
        (size * _SIZE, size * _SIZE), seed=seed, preset=preset, biome=biome, sky=sky, swath=True,
        gaps=gaps, sensor=sensor,
    )  # fmt: skip
    product = _product(description, size, sensor, level)
    name = product.id(level)
    final = Path(folder) / (f"{name}.tar" if packed else name)
    with work_folder(final) as work:
        (work / name).mkdir()
        truth = {_SIZE: work / "truth.tif"}
        counts = _write_images(product, description, work / name, truth[_SIZE], progress)
        _write_mtl(product, work / name, counts)
        done = _pack(work / name, work / final.name) if packed else work / name
        kept = keep_truth(truth, final, name)
        done.rename(final)
    return WrittenProduct(final, kept, class_shares(counts), description.sun)


def _check(sensor: str, level: str, size: int, gaps: bool) -> None:
    if sensor not in _SATELLITES:
        known = ", ".join(_SATELLITES)
        raise InputError(
            f"no Landsat sensor {sensor!r}{nearest(sensor, _SATELLITES)} (known: {known})"
        )
    if level not in _LEVELS:
        raise InputError(f"a Landsat product has level L1TP or L2SP, not {level!r}")
    if size < 16:
        raise InputError(f"size must be at least 16 pixels of 30 m, got {size}")
    if gaps and sensor != "landsat-etm+":
        raise InputError(f"only landsat-etm+ has gaps, not {sensor}")


def _product(description: SceneDescription, size: int, sensor: str, level: str) -> _Product:
    acquired = date(2011 if sensor == "landsat-tm" else 2021, 6, 15)
    transform = Affine(_SIZE, 0, 299985, 0, -_SIZE, 5900415)
    return _Product(
        sensor=sensor,
        level=level,
        acquired=acquired,
        processed=acquired + timedelta(days=10 + description.seed % 10**5),
        grid=Grid(CRS.from_epsg(32633), transform, (size, size)),
        sun=description.sun,
    )


def _write_images(
    product: _Product,
    description: SceneDescription,
    folder: Path,
    truth: Path,
    progress: Progress,
) -> NDArray[np.int64]:
    """Write bands, flags and truth; return the number of pixels of each class."""
    values = {number: partial(_counts, product=product, band=band)
              for number, band in product.labels.items()}  # fmt: skip
    dtype = "uint8" if product.scaling("red")[2] == 255 else "uint16"
    bands = [Layer(folder / f"{n}.tif", dtype, v, 0) for n, v in values.items()]
    pixel = Layer(folder / "QA_PIXEL.tif", "uint16", partial(_qa_pixel, sensor=product.sensor))
    radsat = Layer(folder / "QA_RADSAT.tif", "uint16", partial(_qa_radsat, product=product))
    counts = make_layers(
        description,
        product.grid,
        [*bands, pixel, radsat, truth_layer(truth)],
        sensor=product.sensor,
        level=_LEVELS[product.level],
        bands=list(product.labels.values()),
        progress=lambda share: progress(0.8 * share),
    )
    for number, layer in enumerate((*bands, pixel, radsat)):
        what = layer.path.stem
        final = folder / product.file(what if what.isdigit() else f"{what}.TIF")
        _to_cog(layer.path, final, "AVERAGE" if what.isdigit() else "NEAREST")
        progress(0.8 + 0.2 * (number + 1) / (len(bands) + 2))
    return counts


def _counts(scene: SyntheticScene, product: _Product, band: str) -> NDArray[np.unsignedinteger]:
    """Return counts: count * scale + offset is reflectance, times the sun's sine at Level 1."""
    scale, offset, last = product.scaling(band)
    number = scene.bands.index(band)
    values = scene.reflectance[number]
    if product.level == "L1TP":
        values = values * np.float32(math.sin(math.radians(product.sun[0])))
    values = (values - np.float32(offset)) * np.float32(1 / scale)
    empty = np.isnan(values)
    rounded = np.clip(np.rint(np.nan_to_num(values)), 1, last)
    counts: NDArray[np.unsignedinteger] = rounded.astype(np.uint8 if last == 255 else np.uint16)
    counts[scene.saturated[number]] = last
    counts[empty] = 0
    return counts


def _qa_pixel(scene: SyntheticScene, sensor: str) -> NDArray[np.uint16]:
    codes = np.zeros(256, np.uint16)
    for truth, code in _QA_PIXEL.items():
        codes[truth] = code
    if sensor != "landsat-oli":  # without a cirrus band: no cirrus bits, thin cloud is a maybe
        codes &= np.uint16(0x3FFF)
        codes[ClassCode.THIN_CLOUD] = 0b0001011001000000
    return codes[scene.truth]


def _qa_radsat(scene: SyntheticScene, product: _Product) -> NDArray[np.uint16]:
    """Return a bit for each saturated band: bit 0 is band 1."""
    flags = np.zeros(scene.truth.shape, np.uint16)
    for number, band in product.labels.items():
        bit = np.uint16(1 << (int(number) - 1))
        flags[scene.saturated[scene.bands.index(band)]] |= bit
    return flags


def _to_cog(tiff: Path, final: Path, resampling: str) -> None:
    """Replace a plain GeoTIFF by a tiled, compressed one with overviews, as USGS serves them."""
    with gdal_env(GDAL_NUM_THREADS="ALL_CPUS"):
        rasterio.shutil.copy(
            tiff, final, driver="COG", COMPRESS="DEFLATE", BLOCKSIZE=256, PREDICTOR="YES",
            OVERVIEW_RESAMPLING=resampling,
        )  # fmt: skip
    tiff.unlink()


def _write_mtl(product: _Product, folder: Path, counts: NDArray[np.int64]) -> None:
    valid = max(int(counts[: ClassCode.NO_DATA].sum()), 1)
    cover = 100 * float(sum(counts[code] for code in CLOUD_CODES)) / valid
    groups = _groups(product, cover)
    (folder / product.file("MTL.txt")).write_text(mtl_text(groups))
    (folder / product.file("MTL.json")).write_text(mtl_json(groups))
    (folder / product.file("MTL.xml")).write_bytes(mtl_xml(groups))


def _groups(product: _Product, cover: float) -> Groups:
    contents: dict[str, str | int] = {
        "ORIGIN": "Synthetic scene made by nubila",
        "LANDSAT_PRODUCT_ID": product.id(product.level),
        "PROCESSING_LEVEL": product.level,
        "COLLECTION_NUMBER": "02",
        "COLLECTION_CATEGORY": "T1",
        "OUTPUT_FORMAT": "GEOTIFF",
    }
    contents |= {f"FILE_NAME_BAND_{n}": product.file(n) for n in product.labels}
    contents |= {
        "FILE_NAME_QUALITY_L1_PIXEL": product.file("QA_PIXEL.TIF"),
        "FILE_NAME_QUALITY_L1_RADIOMETRIC_SATURATION": product.file("QA_RADSAT.TIF"),
        "FILE_NAME_METADATA_ODL": product.file("MTL.txt"),
        "FILE_NAME_METADATA_XML": product.file("MTL.xml"),
    }
    _, satellite, instrument = _SATELLITES[product.sensor]
    image: dict[str, str | int] = {
        "SPACECRAFT_ID": satellite,
        "SENSOR_ID": instrument,
        "WRS_TYPE": 2,
        "WRS_PATH": 193,
        "WRS_ROW": 24,
        "DATE_ACQUIRED": product.acquired.isoformat(),
        "SCENE_CENTER_TIME": "10:02:31.8610990Z",
        "STATION_ID": "LGN",
        "CLOUD_COVER": f"{cover:.2f}",
        "CLOUD_COVER_LAND": f"{cover:.2f}",
        "SUN_AZIMUTH": f"{(product.sun[1] + 180) % 360 - 180:.8f}",
        "SUN_ELEVATION": f"{product.sun[0]:.8f}",
        "EARTH_SUN_DISTANCE": "1.0157000",
    }
    groups = {
        "PRODUCT_CONTENTS": contents,
        "IMAGE_ATTRIBUTES": image,
        "PROJECTION_ATTRIBUTES": _projection(product.grid),
    }
    if product.level == "L2SP":
        groups["LEVEL2_PROCESSING_RECORD"] = {
            "LANDSAT_PRODUCT_ID": product.id("L2SP"),
            "PROCESSING_LEVEL": "L2SP",
            "DATE_PRODUCT_GENERATED": f"{product.processed}T00:59:51Z",
            "PROCESSING_SOFTWARE_VERSION": "LPGS_15.3.1c",
        }
        groups["LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"] = _rescaling(product)
    level1 = _Product(
        product.sensor, "L1TP", product.acquired, product.processed, product.grid, product.sun
    )
    groups["LEVEL1_PROCESSING_RECORD"] = {
        "LANDSAT_PRODUCT_ID": product.id("L1TP"),
        "PROCESSING_LEVEL": "L1TP",
        "DATE_PRODUCT_GENERATED": f"{product.processed}T00:50:13Z",
        "PROCESSING_SOFTWARE_VERSION": "LPGS_15.3.1c",
    }
    groups["LEVEL1_RADIOMETRIC_RESCALING"] = _rescaling(level1)
    return groups


def _rescaling(product: _Product) -> dict[str, str | int]:
    factors: dict[str, str | int] = {}
    for position, key in enumerate(("REFLECTANCE_MULT_BAND_", "REFLECTANCE_ADD_BAND_")):
        for number, band in product.labels.items():
            factors[f"{key}{number}"] = f"{product.scaling(band)[position]:.7g}"
    return factors


def _projection(grid: Grid) -> dict[str, str | int]:
    """Return the map projection; corners are the centres of the corner pixels."""
    rows, columns = grid.shape
    corners = {"UL": (0, 0), "UR": (columns - 1, 0), "LL": (0, rows - 1),
               "LR": (columns - 1, rows - 1)}  # fmt: skip
    places = {k: grid.transform * (c + 0.5, r + 0.5) for k, (c, r) in corners.items()}
    longitudes, latitudes = transform_points(
        grid.crs, "EPSG:4326", [x for x, _ in places.values()], [y for _, y in places.values()]
    )
    result: dict[str, str | int] = {
        "MAP_PROJECTION": "UTM",
        "DATUM": "WGS84",
        "ELLIPSOID": "WGS84",
        "UTM_ZONE": 33,
        "GRID_CELL_SIZE_REFLECTIVE": "30.00",
        "REFLECTIVE_LINES": rows,
        "REFLECTIVE_SAMPLES": columns,
        "ORIENTATION": "NORTH_UP",
    }
    for key, longitude, latitude in zip(places, longitudes, latitudes, strict=True):
        result[f"CORNER_{key}_LAT_PRODUCT"] = f"{latitude:.5f}"
        result[f"CORNER_{key}_LON_PRODUCT"] = f"{longitude:.5f}"
    for key, (x, y) in places.items():
        result[f"CORNER_{key}_PROJECTION_X_PRODUCT"] = f"{x:.3f}"
        result[f"CORNER_{key}_PROJECTION_Y_PRODUCT"] = f"{y:.3f}"
    return result


def _pack(folder: Path, archive: Path) -> Path:
    """Pack a product as USGS does: a plain tar with the files at its top."""
    with tarfile.open(archive, "w") as packed:
        for path in sorted(folder.iterdir()):
            packed.add(path, path.name)
    return archive
