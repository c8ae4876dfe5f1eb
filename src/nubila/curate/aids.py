"""What helps to label an image besides its pixels: the sun's place, a snow line, a map of water."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.warp import Resampling, reproject

from nubila.curate.shadow import Sun
from nubila.curate.surface import UNKNOWN
from nubila.datasets import SampleSpec
from nubila.errors import InputError, NubilaError
from nubila.raster.grid import Grid
from nubila.scenes.open import open_scene

__all__ = ["Aids", "aids_told", "check_snow_line", "find_aids"]

_MONTHS: Final = 12


@dataclass(frozen=True)
class Aids:
    """What helps to label one image; nothing of it is needed.

    Attributes:
        sun: its place.
        snow_line: metres below which there is no snow; None for what the image itself tells.
        water: (rows, columns) 1 = water, 0 = no water, `surface.UNKNOWN` = not known.
    """

    sun: Sun | None = None
    snow_line: float | None = None
    water: NDArray[np.uint8] | None = None


def check_snow_line(snow_line: tuple[float, ...]) -> tuple[float, ...]:
    """Return metres for all the year, for each month, or for none, if it is one of them.

    Raises:
        InputError: there are neither 0, 1 nor 12 numbers.
    """
    if len(snow_line) not in (0, 1, _MONTHS):
        raise InputError(
            f"snow line: {len(snow_line)} numbers; expected one, or {_MONTHS} with January's first"
        )
    return snow_line


def find_aids(
    spec: SampleSpec, shape: tuple[int, int], snow_line: tuple[float, ...], water: Path | None
) -> Aids:
    """Return what helps to label an image.

    Args:
        spec: the image. Its manifest's columns ``sun_elevation`` and ``sun_azimuth`` (degrees) tell
            the sun's place; else the product's metadata do. ``date`` tells the month.
        shape: rows and columns of the image.
        snow_line: metres, for all the year or by month.
        water: a raster in any CRS, 1 = water, 0 = none, any other value = not known; it tells of
            images that have a georeference.

    Raises:
        ManifestError: a column holds no such value.
        InputError: the raster cannot be read.
    """
    layer = None if water is None else _water(spec, shape, water)
    return Aids(_sun(spec), _line_of(spec, snow_line), layer)


def aids_told(spec: SampleSpec, snow_line: tuple[float, ...], water: Path | None) -> str:
    """Return what of it an image's label rests on in words; empty for nothing."""
    parts = []
    if (sun := _sun(spec)) is not None:
        parts.append(f"sun {sun.elevation:g} {sun.azimuth:g}")
    if (line := _line_of(spec, snow_line)) is not None:
        parts.append(f"snow line {line:g}")
    if water is not None:
        state = water.stat() if water.is_file() else None
        parts.append(f"water {water.name} {state and (state.st_size, state.st_mtime_ns)}")
    return "; ".join(parts)


def _sun(spec: SampleSpec) -> Sun | None:
    texts = [spec.tags.get(name, "").strip() for name in ("sun_elevation", "sun_azimuth")]
    if not any(texts):
        found = _scene_sun(spec) if spec.scene else None
        return None if found is None else Sun(*found)
    try:
        return Sun(*(float(text) for text in texts))
    except (ValueError, InputError) as error:
        raise spec.error(
            "sun_elevation", f"{texts[0]!r} with sun_azimuth {texts[1]!r}: {error}"
        ) from error


def _scene_sun(spec: SampleSpec) -> tuple[float, float] | None:
    try:
        return open_scene(spec.images[0]).sun
    except NubilaError as error:
        raise spec.error("image", str(error)) from error


def _line_of(spec: SampleSpec, snow_line: tuple[float, ...]) -> float | None:
    if len(snow_line) < _MONTHS:
        return snow_line[0] if snow_line else None
    date = spec.tags.get("date", "").strip()
    try:
        return snow_line[int(date[5:7]) - 1]
    except (ValueError, IndexError) as error:
        raise spec.error(
            "date", f"{date!r}: a snow line by month needs the date as YYYY-MM-DD"
        ) from error


def _water(spec: SampleSpec, shape: tuple[int, int], path: Path) -> NDArray[np.uint8] | None:
    """Return a map of water on the image's grid; None for an image without a georeference."""
    grid = _grid(spec)
    if grid is None or grid.crs is None or grid.shape != shape:
        return None
    try:
        with rasterio.open(path) as data:
            if data.crs is None:
                raise InputError(f"{path}: has no georeference; expected a map of water with one")
            found = np.full(shape, UNKNOWN, np.uint8)
            reproject(
                rasterio.band(data, 1),
                found,
                dst_transform=grid.transform,
                dst_crs=grid.crs,
                dst_nodata=UNKNOWN,
                resampling=Resampling.nearest,
            )
    except RasterioError as error:
        raise InputError(f"{path}: cannot be read as a map of water: {error}") from error
    found[found > 1] = UNKNOWN
    return found


def _grid(spec: SampleSpec) -> Grid | None:
    try:
        if spec.scene:
            scene = open_scene(spec.images[0])
            return scene.grid_at(spec.resolution or scene.default_resolution)
        if spec.images[0].suffix.lower() == ".npy":
            return None
        with rasterio.open(spec.images[0]) as data:
            return Grid(data.crs, data.transform, (data.height, data.width))
    except (NubilaError, RasterioError) as error:
        raise spec.error("image", str(error)) from error
