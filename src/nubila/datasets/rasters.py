"""The files of a sample: values of images, codes of masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from nubila.datasets.codes import NO_CODE
from nubila.datasets.local import local_env
from nubila.datasets.spec import SampleSpec
from nubila.raster.gdal import alpha_band, masked_bands
from nubila.raster.grid import Grid

__all__ = ["Raster", "raster_codes", "read_image", "read_raster", "size_told", "undecodable"]


@dataclass(frozen=True)
class Raster:
    """Values (bands, rows, columns), and what the file says of itself.

    Attributes:
        nodata: of each band, or empty.
        empty: (rows, columns) for each band, where a mask or an alpha band says that there are no
            data, or None; or empty.
        alpha: place of the alpha band, or None.
        grid: where the pixels lie, or None for an .npy.
    """

    values: NDArray[Any]
    nodata: tuple[float | None, ...] = ()
    empty: tuple[NDArray[np.bool_] | None, ...] = ()
    alpha: int | None = None
    grid: Grid | None = None

    @property
    def resolution(self) -> float | None:
        """Metres a pixel, where the file has a CRS."""
        return self.grid.resolution if self.grid and self.grid.crs else None


def undecodable(spec: SampleSpec, column: str, path: Path, error: Exception) -> Exception:
    """Return the error that names manifest, line and file."""
    return spec.error(column, f"{path} cannot be decoded as an image: {error}")


def read_raster(spec: SampleSpec, column: str, path: Path) -> Raster:
    """Return a file's values: (bands, rows, columns), or an .npy array's own axes."""
    try:
        if path.suffix.lower() == ".npy":
            return Raster(np.load(path, mmap_mode="r", allow_pickle=False))
        with local_env(), rasterio.open(path) as data:
            masked = masked_bands(data)
            places = enumerate(masked, 1)
            return Raster(
                values=data.read(),
                nodata=data.nodatavals,
                empty=tuple(data.read_masks(i) == 0 if is_so else None for i, is_so in places),
                alpha=alpha_band(masked, data.nodatavals),
                grid=Grid(data.crs, data.transform, (data.height, data.width)),
            )
    except (RasterioError, ValueError, EOFError, OSError) as error:
        raise undecodable(spec, column, path, error) from error


def raster_codes(spec: SampleSpec, raster: Raster, column: str, path: Path) -> NDArray[Any]:
    """Return (rows, columns) codes; painted colours become red * 65536 + green * 256 + blue.

    A fourth band (alpha) is not looked at. An .npy of three layers of 0 and 1, as the Sentinel-2
    Cloud Mask Catalogue has, comes out as 65536, 256 and 1. `NO_CODE` where there are no data.
    """
    values, nodata = raster.values, [n for n in raster.nodata[:3] if n is not None]
    if path.suffix.lower() == ".npy" and values.ndim == 3 and values.shape[-1] in (1, 3, 4):
        values = np.moveaxis(values, -1, 0)  # an .npy of (rows, columns, layers)
    if values.ndim == 2 or (values.ndim == 3 and len(values) == 1):
        codes = values.reshape(values.shape[-2:])
        empty = nodata[0] if nodata else None
    elif values.ndim == 3 and len(values) in (3, 4) and values.dtype in (np.uint8, np.bool_):
        red, green, blue = values[:3].astype(np.int32)
        codes = red * 65536 + green * 256 + blue
        empty = nodata[0] * 65536 + nodata[1] * 256 + nodata[2] if len(nodata) == 3 else None
    else:
        raise spec.error(
            column,
            f"{path} has shape {raster.values.shape} and type {values.dtype}; expected one "
            f"band of codes, or three of 8 bits (red, green, blue)",
        )
    # A code that a person gave a meaning has it, whatever the file says.
    is_named = column == "mask" and empty in spec.codes.codes
    missing = _without_codes(codes, None if is_named else empty)
    if codes.dtype.kind == "f" and (codes != np.round(codes))[~missing].any():
        raise spec.error(column, f"{path} holds fractions; expected whole numbers as codes")
    if missing.any():
        codes = np.where(missing, 0, codes).astype(np.int64)
        codes[missing] = NO_CODE
    return codes


def _without_codes(codes: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    missing: NDArray[np.bool_] = ~np.isfinite(codes)
    if nodata is not None:
        missing |= codes == nodata
    return missing


def read_image(spec: SampleSpec, path: Path, shape: tuple[int, ...] | None) -> Raster:
    """Return an image's values as (bands, rows, columns); `shape` is its mask's, if it has one."""
    raster = read_raster(spec, "image", path)
    if path.suffix.lower() != ".npy":
        return raster
    values = raster.values
    if values.ndim == 2:
        return Raster(values[None])
    # The bands' axis is the one that is as long as there are names; where both are, the mask tells.
    count = len(spec.bands) if len(spec.images) == 1 else None
    first = values.ndim == 3 and count in (None, values.shape[0])
    last = values.ndim == 3 and count in (None, values.shape[2])
    if shape is not None:
        first, last = first and values.shape[1:] == shape, last and values.shape[:2] == shape
    if first or last:
        return Raster(values if first else np.moveaxis(values, -1, 0))
    raise spec.error(
        "image",
        f"{path} has shape {values.shape}; expected {len(spec.bands)} bands and "
        f"{'any' if shape is None else size_told(shape)} pixels, as its mask, bands first or last",
    )


def size_told(shape: tuple[int, ...]) -> str:
    """Return rows and columns in words."""
    return " x ".join(str(n) for n in shape)
