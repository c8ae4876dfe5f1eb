"""Samples: an image in reflectance, its label as sets of allowed classes, and where it is from."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.warp import Resampling, reproject
from rasterio.windows import Window as RasterioWindow

from nubila.bands import BANDS
from nubila.datasets.codes import NO_CODE
from nubila.datasets.local import local_env
from nubila.datasets.spec import LEFT_OUT, SampleSpec
from nubila.errors import NubilaError
from nubila.raster.gdal import masked_bands
from nubila.raster.grid import Grid
from nubila.scenes.auxiliary import with_auxiliary
from nubila.scenes.open import open_scene

__all__ = ["Sample", "SampleMeta", "load_sample", "mask_codes", "unseen"]

# Patches seldom have a georeference, and `Sample` says so by its resolution. A filter for each
# read would not be safe with threads.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

# No sunlight that comes back: elevation, and beyond 4 micrometres the ground's own heat.
_NO_LIGHT: Final = frozenset(b.name for b in BANDS.values() if not 0 < b.wavelength < 4)


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
            `classes.class_set`); 0 = ignored, and so is a pixel that no reflective band saw.
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
        grid: where the pixels lie, or None for an .npy.
    """

    values: NDArray[Any]
    nodata: tuple[float | None, ...] = ()
    empty: tuple[NDArray[np.bool_] | None, ...] = ()
    grid: Grid | None = None

    @property
    def resolution(self) -> float | None:
        """Metres a pixel, where the file has a CRS."""
        return self.grid.resolution if self.grid and self.grid.crs else None


def load_sample(spec: SampleSpec) -> Sample:
    """Read a sample's pixels.

    An image that is a product is read whole at the spec's resolution, and its mask is brought to
    its grid by the nearest pixel; a whole Sentinel-2 tile with 14 bands at 20 m takes 1.7 GB.

    Raises:
        ManifestError: a file cannot be decoded, the bands are not as many as named, or image and
            mask differ in size; the message names manifest, line, file and what was expected.
    """
    if spec.scene:
        return _load_scene(spec)
    if spec.mask is None:
        rasters = [_read_image(spec, path, None) for path in spec.images]
        mask = np.zeros(rasters[0].values.shape[1:], np.uint8)
    elif spec.corner is None:
        mask = mask_codes(spec)
        rasters = [_read_image(spec, path, mask.shape) for path in spec.images]
    else:
        rasters = [_read(spec, "image", path) for path in spec.images]
        mask = _mask_part(spec, rasters[0].values.shape[1:])
    for path, raster in zip(spec.images, rasters, strict=True):
        if raster.values.shape[1:] != mask.shape:
            raise spec.error(
                "image",
                f"{path} has {_size(raster.values.shape[1:])} pixels, its mask "
                f"{spec.mask or 'none, but another of its files'} {_size(mask.shape)}; they must "
                f"be on one grid",
            )
    image, empty = _reflectance(spec, rasters)
    label = np.zeros_like(mask) if spec.mask is None else spec.codes.apply(mask)
    if empty is not None:
        label[empty] = 0
    if spec.coverage is not None:
        label[_coverage(spec, mask.shape) <= 0] = 0
    return Sample(
        image=image,
        label=label,
        bands=tuple(band for band in spec.bands if band != LEFT_OUT),
        meta=_meta(spec, rasters[0].resolution or spec.resolution),
    )


def mask_codes(spec: SampleSpec) -> NDArray[Any]:
    """Read a sample's whole mask file: (rows, columns) codes.

    `codes.NO_CODE` where the file says that it has no data by a value that the manifest's codes do
    not name (``*`` names none), or by NaN.

    Raises:
        ManifestError: it cannot be decoded, or holds no codes.
    """
    path = spec.label_file
    return _mask_codes(spec, _read(spec, "mask", path), "mask", path)


def unseen(image: NDArray[np.floating[Any]], bands: Sequence[str]) -> NDArray[np.bool_]:
    """Return where no reflective band of an image has data.

    Heights are known beyond the edge of what a sensor saw, and say nothing of the sky there.

    Args:
        image: (bands, rows, columns), NaN = no data.
        bands: common names in the order of the first axis; where none is reflective, all count.

    Returns:
        (rows, columns) bool.
    """
    found = np.ones(image.shape[1:], bool)
    for place in _reflective(bands):
        found &= np.isnan(image[place])
    return found


def _reflective(bands: Sequence[str]) -> list[int]:
    found = [place for place, band in enumerate(bands) if band not in _NO_LIGHT]
    return found or list(range(len(bands)))


def _meta(spec: SampleSpec, resolution: float | None) -> SampleMeta:
    return SampleMeta(
        id=spec.id,
        folder=spec.folder,
        group=spec.group,
        split=spec.split,
        sensor=spec.sensor,
        level=spec.level,
        resolution=resolution,
        tags=spec.tags,
    )


def _load_scene(spec: SampleSpec) -> Sample:
    """Read a product, with its auxiliary rasters as bands and its labels on its grid."""
    bands = tuple(band for band in spec.bands if band != LEFT_OUT)
    try:
        scene = with_auxiliary(open_scene(spec.images[0]), dict(spec.auxiliary))
        pixels = scene.read(bands, resolution=spec.resolution or scene.default_resolution or None)
    except NubilaError as error:
        raise spec.error("image", str(error)) from error
    label = np.zeros(pixels.grid.shape, np.uint8)
    if spec.mask is not None:
        label = spec.codes.apply(_on_grid(spec, "mask", spec.mask, pixels.grid))
    if spec.coverage is not None:
        label[_on_grid(spec, "coverage", spec.coverage, pixels.grid) <= 0] = 0
    label[unseen(pixels.reflectance, bands)] = 0
    return Sample(pixels.reflectance, label, bands, _meta(spec, pixels.grid.resolution))


def _on_grid(spec: SampleSpec, column: str, path: Path, grid: Grid) -> NDArray[Any]:
    """Return a raster's codes on a grid, by the nearest pixel; `NO_CODE` outside of it."""
    raster = _read(spec, column, path)
    codes = _mask_codes(spec, raster, column, path).astype(np.int32)
    if raster.grid is None or raster.grid.crs is None:
        if codes.shape != grid.shape:
            raise spec.error(
                column,
                f"it has no georeference and {_size(codes.shape)} pixels, the image "
                f"{_size(grid.shape)} at {grid.resolution:g} m",
            )
        return codes
    if raster.grid == grid:
        return codes
    found = np.full(grid.shape, NO_CODE, np.int32)
    reproject(
        codes,
        found,
        src_transform=raster.grid.transform,
        src_crs=raster.grid.crs,
        dst_transform=grid.transform,
        dst_crs=grid.crs,
        resampling=Resampling.nearest,
        init_dest_nodata=False,
    )
    return found


def _mask_part(spec: SampleSpec, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the part of a larger mask that lies under an image, `NO_CODE` outside of the mask."""
    (row, column), path = spec.corner or (0, 0), spec.label_file
    found = np.full(shape, NO_CODE, np.int64)
    try:
        with local_env(), rasterio.open(path) as data:
            top, left = max(row, 0), max(column, 0)
            height = max(min(row + shape[0], data.height) - top, 0)
            width = max(min(column + shape[1], data.width) - left, 0)
            if not (height and width):
                return found
            window = RasterioWindow(left, top, width, height)
            part = _Raster(data.read(window=window), data.nodatavals)
    except (RasterioError, OSError) as error:
        raise _undecodable(spec, "mask", path, error) from error
    place = slice(top - row, top - row + height), slice(left - column, left - column + width)
    found[place] = _mask_codes(spec, part, "mask", path)
    return found


def _coverage(spec: SampleSpec, shape: tuple[int, ...]) -> NDArray[Any]:
    assert spec.coverage is not None
    raster = _read(spec, "coverage", spec.coverage)
    values = _mask_codes(spec, raster, "coverage", spec.coverage)
    if values.shape != shape:
        raise spec.error(
            "coverage", f"{spec.coverage} has {_size(values.shape)} pixels, expected {_size(shape)}"
        )
    return values


def _undecodable(spec: SampleSpec, column: str, path: Path, error: Exception) -> Exception:
    return spec.error(column, f"{path} cannot be decoded as an image: {error}")


def _read(spec: SampleSpec, column: str, path: Path) -> _Raster:
    """Return a file's values: (bands, rows, columns), or an .npy array's own axes."""
    try:
        if path.suffix.lower() == ".npy":
            return _Raster(np.load(path, mmap_mode="r", allow_pickle=False))
        with local_env(), rasterio.open(path) as data:
            masked = enumerate(masked_bands(data), 1)
            return _Raster(
                values=data.read(),
                nodata=data.nodatavals,
                empty=tuple(data.read_masks(i) == 0 if is_so else None for i, is_so in masked),
                grid=Grid(data.crs, data.transform, (data.height, data.width)),
            )
    except (RasterioError, ValueError, EOFError, OSError) as error:
        raise _undecodable(spec, column, path, error) from error


def _mask_codes(spec: SampleSpec, raster: _Raster, column: str, path: Path) -> NDArray[Any]:
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


def _read_image(spec: SampleSpec, path: Path, shape: tuple[int, ...] | None) -> _Raster:
    """Return an image's values as (bands, rows, columns); `shape` is its mask's, if it has one."""
    raster = _read(spec, "image", path)
    if path.suffix.lower() != ".npy":
        return raster
    values = raster.values
    if values.ndim == 2:
        return _Raster(values[None])
    # The bands' axis is the one that is as long as there are names; where both are, the mask tells.
    count = len(spec.bands) if len(spec.images) == 1 else None
    first = values.ndim == 3 and count in (None, values.shape[0])
    last = values.ndim == 3 and count in (None, values.shape[2])
    if shape is not None:
        first, last = first and values.shape[1:] == shape, last and values.shape[:2] == shape
    if first or last:
        return _Raster(values if first else np.moveaxis(values, -1, 0))
    raise spec.error(
        "image",
        f"{path} has shape {values.shape}; expected {len(spec.bands)} bands and "
        f"{'any' if shape is None else _size(shape)} pixels, as its mask, bands first or last",
    )


def _reflectance(
    spec: SampleSpec, rasters: list[_Raster]
) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Return the bands that are used, scaled, NaN for no data; and where no reflective one has any.

    None in place of an array of False.
    """
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
    holes: list[NDArray[np.bool_] | None] = []
    for target, i in zip(image, used, strict=True):
        raster, index = place[i]
        nodata = _of(spec.nodata, i, file_of) if spec.nodata else None
        empty = _without_data(raster, index, nodata)
        scale, offset = _of(spec.scale, i, file_of), _of(spec.offset, i, file_of)
        plane = raster.values[index]
        np.multiply(plane, np.float32(scale), out=target, dtype=np.float32, casting="unsafe")
        if offset:
            target += np.float32(offset)
        if empty is not None:
            target[empty] = np.nan
        holes.append(empty)
    counted = [holes[i] for i in _reflective([spec.bands[i] for i in used])]
    gone = [empty for empty in counted if empty is not None]
    return image, np.logical_and.reduce(gone) if len(gone) == len(counted) else None


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
