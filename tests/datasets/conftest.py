"""A manifest of tiny files that tests bend."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

WriteManifest = Callable[..., Path]


def write_raster(path: Path, values: np.ndarray, **profile: Any) -> None:
    """Write (bands, rows, columns) as the kind of file that the suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values)
        return
    driver = {".tif": "GTiff", ".png": "PNG"}[path.suffix]
    count, height, width = values.shape
    with rasterio.open(
        path,
        "w",
        driver=driver,
        count=count,
        height=height,
        width=width,
        dtype=values.dtype,
        **profile,
    ) as data:
        data.write(values)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a three-band image of 4 x 6 pixels at 10 m and its mask."""
    image = np.arange(3 * 4 * 6, dtype=np.uint16).reshape(3, 4, 6) * 100
    utm = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6)}
    write_raster(tmp_path / "alps" / "a.tif", image, **utm)
    mask = np.zeros((1, 4, 6), np.uint8)
    mask[0, 1], mask[0, 2], mask[0, 3] = 64, 192, 255
    write_raster(tmp_path / "alps" / "a_mask.tif", mask)
    return tmp_path


@pytest.fixture
def manifest(folder: Path) -> WriteManifest:
    """A function that writes a manifest of one row, or of several, with some columns changed."""
    default = {
        "image": "alps/a.tif",
        "mask": "alps/a_mask.tif",
        "bands": "blue;green;red",
        "scale": "0.0001",
        "codes": "0=clear|snow|water;64=cloud shadow;192=thin cloud;255=cloud",
    }

    def write(*rows: dict[str, str], header: list[str] | None = None) -> Path:
        whole = [default | row for row in rows or ({},)]
        columns = header or list(dict.fromkeys(name for row in whole for name in row))
        path = folder / "manifest.csv"
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(whole)
        return path

    return write
