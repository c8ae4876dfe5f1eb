"""Samples: an image in reflectance, its label as sets of allowed classes, and where it is from."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from nubila.datasets.rasters import (
    Raster,
    raster_codes,
    read_image,
    read_raster,
    size_told,
    undecodable,
)
from nubila.datasets.spec import LEFT_OUT, SampleSpec
from nubila.errors import NubilaError
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
        unnamed: values of its mask that no code names, each with its share of the mask's pixels.
    """

    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    bands: tuple[str, ...]
    meta: SampleMeta
    unnamed: Mapping[int, float] = field(default_factory=dict)


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
        rasters = [read_image(spec, path, None) for path in spec.images]
        mask = np.zeros(rasters[0].values.shape[1:], np.uint8)
    elif spec.corner is None:
        mask = mask_codes(spec)
        rasters = [read_image(spec, path, mask.shape) for path in spec.images]
    else:
        rasters = [read_raster(spec, "image", path) for path in spec.images]
        mask = _mask_part(spec, rasters[0].values.shape[1:])
    for path, raster in zip(spec.images, rasters, strict=True):
        if raster.values.shape[1:] != mask.shape:
            raise spec.error(
                "image",
                f"{path} has {size_told(raster.values.shape[1:])} pixels, its mask "
                f"{spec.mask or 'none, but another of its files'} {size_told(mask.shape)}; they "
                f"must be on one grid",
            )
    image, empty = _reflectance(spec, rasters)
    label, unnamed = _read_label(spec, mask)
    if empty is not None:
        label[empty] = 0
    if spec.coverage is not None:
        label[_coverage(spec, mask.shape) <= 0] = 0
    return Sample(
        image=image,
        label=label,
        bands=tuple(band for band in spec.bands if band != LEFT_OUT),
        meta=_meta(spec, rasters[0].resolution or spec.resolution),
        unnamed=unnamed,
    )


def mask_codes(spec: SampleSpec) -> NDArray[Any]:
    """Read a sample's whole mask file: (rows, columns) codes.

    `codes.NO_CODE` where the file says that it has no data by a value that the manifest's codes do
    not name (``*`` names none), or by NaN.

    Raises:
        ManifestError: it cannot be decoded, or holds no codes.
    """
    path = spec.label_file
    return raster_codes(spec, read_raster(spec, "mask", path), "mask", path)


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
    mask = np.zeros(pixels.grid.shape, np.uint8)
    if spec.mask is not None:
        mask = _on_grid(spec, "mask", spec.mask, pixels.grid)
    label, unnamed = _read_label(spec, mask)
    if spec.coverage is not None:
        label[_on_grid(spec, "coverage", spec.coverage, pixels.grid) <= 0] = 0
    label[unseen(pixels.reflectance, bands)] = 0
    return Sample(pixels.reflectance, label, bands, _meta(spec, pixels.grid.resolution), unnamed)


def _read_label(
    spec: SampleSpec, mask: NDArray[Any]
) -> tuple[NDArray[np.uint8], Mapping[int, float]]:
    """Return a mask's label, and the values in it that no code names."""
    if spec.mask is None:
        return np.zeros(mask.shape, np.uint8), {}
    return spec.codes.apply(mask), spec.codes.unnamed(mask)


def _on_grid(spec: SampleSpec, column: str, path: Path, grid: Grid) -> NDArray[Any]:
    """Return a raster's codes on a grid, by the nearest pixel; `NO_CODE` outside of it."""
    raster = read_raster(spec, column, path)
    codes = raster_codes(spec, raster, column, path).astype(np.int32)
    if raster.grid is None or raster.grid.crs is None:
        if codes.shape != grid.shape:
            raise spec.error(
                column,
                f"it has no georeference and {size_told(codes.shape)} pixels, the image "
                f"{size_told(grid.shape)} at {grid.resolution:g} m",
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
            part = Raster(data.read(window=window), data.nodatavals)
    except (RasterioError, OSError) as error:
        raise undecodable(spec, "mask", path, error) from error
    place = slice(top - row, top - row + height), slice(left - column, left - column + width)
    found[place] = raster_codes(spec, part, "mask", path)
    return found


def _coverage(spec: SampleSpec, shape: tuple[int, ...]) -> NDArray[Any]:
    assert spec.coverage is not None
    raster = read_raster(spec, "coverage", spec.coverage)
    values = raster_codes(spec, raster, "coverage", spec.coverage)
    if values.shape != shape:
        raise spec.error(
            "coverage",
            f"{spec.coverage} has {size_told(values.shape)} pixels, expected {size_told(shape)}",
        )
    return values


def _reflectance(
    spec: SampleSpec, rasters: list[Raster]
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
    within = [i for n in counts for i in range(n)]
    used = [i for i, band in enumerate(spec.bands) if band != LEFT_OUT]
    # A band that is named holds data, and is no mask, whatever the file has marked it as.
    false = {file_of[i] for i in used if within[i] == rasters[file_of[i]].alpha}
    rasters = [
        replace(raster, empty=()) if i in false else raster for i, raster in enumerate(rasters)
    ]
    image = np.empty((len(used), *rasters[0].values.shape[1:]), np.float32)
    holes: list[NDArray[np.bool_] | None] = []
    for target, i in zip(image, used, strict=True):
        raster, index = rasters[file_of[i]], within[i]
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


def _without_data(raster: Raster, index: int, nodata: float | None) -> NDArray[np.bool_] | None:
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
