"""Samples: an image in reflectance, its label as sets of allowed classes, and where it is from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from nubila.datasets.manifest import LEFT_OUT, SampleSpec
from nubila.raster.gdal import gdal_env, masked_bands
from nubila.raster.grid import Grid

__all__ = ["Sample", "SampleMeta", "load_sample"]


@dataclass(frozen=True)
class SampleMeta:
    """Where a sample is from.

    Attributes:
        id: unique in its manifest.
        folder: first part of the image's path; scores are given by folder.
        group: scene or place; stays on one side of a split and counts as one scene.
        split, sensor, level: as the manifest says.
        resolution: metres a pixel from the georeference, else from the manifest, else None.
        tags: further columns of the manifest.
    """

    id: str
    folder: str
    group: str
    split: str
    sensor: str
    level: str
    resolution: float | None
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Sample:
    """A labelled image.

    Attributes:
        image: (bands, rows, columns) float32 reflectance, 1.0 = 100 %, NaN = no data.
        label: (rows, columns) uint8, the set of classes that each pixel may be (bits as in
            `classes.class_set`); 0 = ignored, and so is a pixel without data in any band.
        bands: common names in the order of the image's first axis.
        meta: where it is from.
    """

    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    bands: tuple[str, ...]
    meta: SampleMeta


@dataclass(frozen=True)
class _Raster:
    """Values (bands, rows, columns), and what the file says of itself.

    Attributes:
        nodata: of each band, or empty.
        empty: (rows, columns) for each band, where a mask or an alpha band says that there are no
            data, or None; or empty.
    """

    values: NDArray[Any]
    nodata: tuple[float | None, ...] = ()
    empty: tuple[NDArray[np.bool_] | None, ...] = ()
    resolution: float | None = None


def load_sample(spec: SampleSpec) -> Sample:
    """Read a sample's pixels.

    Raises:
        ManifestError: a file cannot be decoded, the bands are not as many as named, or image and
            mask differ in size; the message names manifest, line, file and what was expected.
    """
    mask = _mask_codes(spec, _read(spec, "mask", spec.mask))
    rasters = [_read_image(spec, path, mask.shape) for path in spec.images]
    for path, raster in zip(spec.images, rasters, strict=True):
        if raster.values.shape[1:] != mask.shape:
            raise spec.error(
                "image",
                f"{path} has {_size(raster.values.shape[1:])} pixels, its mask {spec.mask} "
                f"{_size(mask.shape)}; they must be on one grid",
            )
    image = _reflectance(spec, rasters)
    label = spec.codes.apply(mask)
    label[np.isnan(image).all(axis=0)] = 0
    return Sample(
        image=image,
        label=label,
        bands=tuple(band for band in spec.bands if band != LEFT_OUT),
        meta=SampleMeta(
            id=spec.id,
            folder=spec.folder,
            group=spec.group,
            split=spec.split,
            sensor=spec.sensor,
            level=spec.level,
            resolution=rasters[0].resolution or spec.resolution,
            tags=spec.tags,
        ),
    )


def _read(spec: SampleSpec, column: str, path: Path) -> _Raster:
    """Return a file's values: (bands, rows, columns), or an .npy array's own axes."""
    try:
        if path.suffix.lower() == ".npy":
            return _Raster(np.load(path, mmap_mode="r", allow_pickle=False))
        with gdal_env(), rasterio.open(path) as data:
            grid = Grid(data.crs, data.transform, (data.height, data.width))
            masked = enumerate(masked_bands(data), 1)
            return _Raster(
                values=data.read(),
                nodata=data.nodatavals,
                empty=tuple(data.read_masks(i) == 0 if is_so else None for i, is_so in masked),
                resolution=grid.resolution if data.crs else None,
            )
    except (RasterioError, ValueError, EOFError, OSError) as error:
        raise spec.error(column, f"{path} cannot be decoded as an image: {error}") from error


def _mask_codes(spec: SampleSpec, raster: _Raster) -> NDArray[Any]:
    """Return (rows, columns) codes; painted colours become red * 65536 + green * 256 + blue.

    A fourth band (alpha) is not looked at. An .npy of three layers of 0 and 1, as the Sentinel-2
    Cloud Mask Catalogue has, comes out as 65536, 256 and 1.
    """
    values = raster.values
    if spec.mask.suffix.lower() == ".npy" and values.ndim == 3 and values.shape[-1] in (1, 3, 4):
        values = np.moveaxis(values, -1, 0)  # an .npy of (rows, columns, layers)
    if values.ndim == 2 or (values.ndim == 3 and len(values) == 1):
        codes = values.reshape(values.shape[-2:])
    elif values.ndim == 3 and len(values) in (3, 4) and values.dtype in (np.uint8, np.bool_):
        red, green, blue = values[:3].astype(np.int32)
        codes = red * 65536 + green * 256 + blue
    else:
        raise spec.error(
            "mask",
            f"{spec.mask} has shape {raster.values.shape} and type {values.dtype}; expected one "
            f"band of codes, or three of 8 bits (red, green, blue)",
        )
    if codes.dtype.kind == "f" and not np.array_equal(codes, np.round(codes), equal_nan=True):
        raise spec.error("mask", f"{spec.mask} holds fractions; expected whole numbers as codes")
    return codes


def _read_image(spec: SampleSpec, path: Path, shape: tuple[int, ...]) -> _Raster:
    """Return an image's values as (bands, rows, columns)."""
    raster = _read(spec, "image", path)
    if path.suffix.lower() != ".npy":
        return raster
    values = raster.values
    if values.ndim == 2:
        return _Raster(values[None])
    # The bands' axis is the one that is as long as there are names; where both are, the mask tells.
    count = len(spec.bands) if len(spec.images) == 1 else None
    first = values.ndim == 3 and count in (None, values.shape[0]) and values.shape[1:] == shape
    last = values.ndim == 3 and count in (None, values.shape[2]) and values.shape[:2] == shape
    if first or last:
        return _Raster(values if first else np.moveaxis(values, -1, 0))
    raise spec.error(
        "image",
        f"{path} has shape {values.shape}; expected {len(spec.bands)} bands and its mask's "
        f"{_size(shape)} pixels, bands first or last",
    )


def _reflectance(spec: SampleSpec, rasters: list[_Raster]) -> NDArray[np.float32]:
    """Return the bands that are used, scaled, NaN where there are no data."""
    counts = [len(raster.values) for raster in rasters]
    if sum(counts) != len(spec.bands):
        found = " + ".join(str(n) for n in counts)
        raise spec.error(
            "bands", f"{len(spec.bands)} names for {found} bands in the image; write - to leave out"
        )
    file_of = [i for i, n in enumerate(counts) for _ in range(n)]
    place = [(raster, i) for raster, n in zip(rasters, counts, strict=True) for i in range(n)]
    used = [i for i, band in enumerate(spec.bands) if band != LEFT_OUT]
    image = np.empty((len(used), *rasters[0].values.shape[1:]), np.float32)
    for target, i in zip(image, used, strict=True):
        raster, index = place[i]
        plane = raster.values[index]
        nodata = _of(spec.nodata, i, file_of) if spec.nodata else None
        empty = _without_data(raster, index, nodata)
        scale, offset = _of(spec.scale, i, file_of), _of(spec.offset, i, file_of)
        np.multiply(plane, np.float32(scale), out=target, dtype=np.float32, casting="unsafe")
        target += np.float32(offset)
        if empty is not None:
            target[empty] = np.nan
    return image


def _without_data(raster: _Raster, index: int, nodata: float | None) -> NDArray[np.bool_] | None:
    """Return where a band has no data, or None for nowhere; `nodata` wins over the file's."""
    plane = raster.values[index]
    empty = raster.empty[index] if raster.empty else None
    own = raster.nodata[index] if raster.nodata else None
    count = own if nodata is None else nodata
    if plane.dtype.kind == "f":
        empty = _either(empty, ~np.isfinite(plane))
    if count is not None and np.isfinite(count):
        empty = _either(empty, plane == count)
    return empty


def _either(one: NDArray[np.bool_] | None, other: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return other if one is None else one | other


def _of(values: tuple[float, ...], band: int, file_of: list[int]) -> float:
    """Return a band's value from one for all, one a band, or one a file."""
    if len(values) == 1:
        return values[0]
    return values[band if len(values) == len(file_of) else file_of[band]]


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)
