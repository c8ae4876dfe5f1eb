"""How generated collections code, name and write their files, whatever their layout."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from nubila.raster.gdal import gdal_env

__all__ = [
    "Codes",
    "Floats",
    "coded",
    "letters",
    "level_1",
    "safe_name",
    "save_array",
    "to_counts",
    "write_csv",
    "write_image",
    "write_mtl",
]

Floats = NDArray[np.float32]
Codes = NDArray[np.uint8]

_UTM: Final = CRS.from_epsg(32632)


def coded(truth: NDArray[Any], table: Mapping[int, int], no_data: int) -> Codes:
    """Return a collection's codes for ours, (rows, columns) uint8; what is not named becomes 0."""
    codes = np.zeros(256, np.uint8)
    codes[255] = no_data
    for ours, theirs in table.items():
        codes[ours] = theirs
    coded: Codes = codes[truth]
    return coded


def to_counts(reflectance: Floats) -> NDArray[np.uint16]:
    """Return reflectance (1.0 = 100 %) x 10000 as uint16 of the same shape, 0 for no data."""
    values = np.clip(np.rint(reflectance * 1e4), 1, 65535)
    return np.where(np.isnan(reflectance), 0, values).astype(np.uint16)


def level_1(reflectance: Floats, elevation: float) -> NDArray[np.uint16]:
    """Return Landsat 8 Level-1 counts: (reflectance x sin(sun elevation) + 0.1) / 2e-5.

    The elevation is in degrees; counts are uint16 of the same shape, 0 for no data.
    """
    values = (reflectance * math.sin(math.radians(elevation)) + 0.1) / 2e-5
    whole = np.clip(np.rint(values), 1, 65535)
    return np.where(np.isnan(reflectance), 0, whole).astype(np.uint16)


def write_image(
    path: Path,
    values: NDArray[Any],
    resolution: float | None = None,
    *,
    driver: str | None = None,
    crs: CRS | None = None,
    transform: Affine | None = None,
) -> None:
    """Write (bands, rows, columns), with a georeference where a resolution in metres is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if resolution is not None:
        crs, transform = _UTM, Affine(resolution, 0, 500000, 0, -resolution, 5200000)
    place = {"crs": crs, "transform": transform} if crs else {}
    count, height, width = values.shape
    packed = {} if driver or path.suffix == ".png" else {"compress": "deflate"}
    kind = driver or ("PNG" if path.suffix == ".png" else "GTiff")
    with (
        gdal_env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"),  # ENVI writes a header beside it
        rasterio.open(
            path, "w", driver=kind, count=count, height=height, width=width, dtype=values.dtype,
            **packed, **place,
        ) as data,
    ):  # fmt: skip
        data.write(values)


def save_array(path: Path, values: NDArray[Any]) -> None:
    """Write an array of any shape as .npy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ascontiguousarray(values))


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows, headed by the keys of the first."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_mtl(path: Path, elevation: float) -> None:
    """Write the metadata that `level_1` goes by; the elevation of the sun in degrees."""
    lines = [f"  REFLECTANCE_{k}_BAND_{n} = {v}" for n in range(1, 10)
             for k, v in (("MULT", "2.0000E-05"), ("ADD", "-0.100000"))]  # fmt: skip
    start, end = "GROUP = L1_METADATA_FILE", "END_GROUP = L1_METADATA_FILE"
    text = [start, f"  SUN_ELEVATION = {elevation:.8f}", *lines, end, "END", ""]
    path.write_text("\n".join(text))


def safe_name(number: int, day: date) -> str:
    """Return the name of a Sentinel-2 product, another for each number."""
    tile = f"T{1 + number % 60:02d}{letters(number)[-3:].upper()}"
    return f"S2A_MSIL1C_{day:%Y%m%d}T101021_N0206_R022_{tile}_{day:%Y%m%d}T121320"


def letters(number: int) -> str:
    """Return four letters, another for each number: ``aaaa``, ``aaab`` ..."""
    return "".join(chr(ord("a") + number // 26**power % 26) for power in (3, 2, 1, 0))
