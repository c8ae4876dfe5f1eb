"""Bands from rasters of their own, such as elevation, warped onto a scene's grid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterioWindow

from nubila.bands import BANDS, band_name
from nubila.errors import DamagedFileError, GridError
from nubila.raster.gdal import gdal_env, read_info
from nubila.raster.grid import Grid, Window
from nubila.scenes.location import gdal_path, unsigned
from nubila.scenes.scene import Band, BandFile, Scene

__all__ = ["WarpedSource", "auxiliary_advice", "with_auxiliary"]

# Bands that no sensor has, and what brings their files' usual unit to ours.
_SCALES: Final = {"elevation": 1e-3}  # metres to kilometres

# Decimations that are warped straight from the file, so that a coarse mask needs no fine warping.
_FACTORS: Final = (1, 2, 4, 8, 16, 32, 64)


def with_auxiliary(scene: Scene, files: Mapping[str, str | Path]) -> Scene:
    """Return a scene with bands added, or replaced, from rasters on any grid in any CRS.

    Each is warped bilinearly onto the scene's grid when it is read; no data stay no data, and so
    does what lies outside of the raster.

    Args:
        scene: the scene.
        files: band name -> a file whose first band it is. Elevation is in metres in the file and
            in kilometres in the scene; other bands have the file's own scale and offset.

    Raises:
        BandError: a name is no band.
        GridError: the scene or the file has no CRS.
        MissingFileError: a file is not there.
        DamagedFileError: GDAL cannot open a file.

    >>> with_auxiliary(open_scene("S2A_...SAFE"), {"elevation": "dem.tif"})  # doctest: +SKIP
    """
    added = {band_name(name): _band(scene, band_name(name), str(p)) for name, p in files.items()}
    beside = tuple(unsigned(str(path)) for path in files.values())
    told = (*(scene.files or (scene.path,)), *beside) if beside else scene.files
    return replace(scene, bands={**scene.bands, **added}, files=told)


def auxiliary_advice(lacking: Sequence[str]) -> str:
    """Return how to give the bands that come from a raster of their own, or an empty text."""
    own = [name for name in lacking if name in BANDS and name in _SCALES]
    told = " ".join(f"--auxiliary {name}=FILE" for name in own)
    return f"; no product has {', '.join(own)}: give it with {told}" if own else ""


def _band(scene: Scene, name: str, file: str) -> Band:
    path = gdal_path(file)
    info = read_info(path)
    for what, crs in ((scene.path, scene.crs), (file, info.grid.crs)):
        if crs is None:
            raise GridError(f"{what}: has no CRS, so {file} cannot be laid on {scene.path}")
    grid = scene.grid
    source = WarpedSource(path, file, grid)
    return Band(
        name=name,
        label=file,
        files=(BandFile(source, grid),),
        scale=_SCALES.get(name, info.scales[0]),
        offset=0.0 if name in _SCALES else info.offsets[0],
        scale_from="metres" if name in _SCALES else f"tags of {file}",
        resolution=max(grid.resolution, info.grid.resolution),
    )


@dataclass(frozen=True)
class WarpedSource:
    """The first band of a raster, warped onto a grid; opened for each read, from any thread.

    Attributes:
        path: as GDAL takes it.
        name: as it was given.
        grid: where the pixels of factor 1 lie.
    """

    path: str
    name: str
    grid: Grid

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns at factor 1."""
        return self.grid.shape

    @property
    def factors(self) -> tuple[int, ...]:
        """Powers of two, as far as the grid has pixels for them."""
        return tuple(f for f in _FACTORS if f <= min(self.shape))

    @property
    def block(self) -> tuple[int, int]:
        """Any rows may be read by themselves."""
        return 1, self.shape[1]

    def read(self, factor: int, window: Window) -> NDArray[Any]:
        """Return float32 values of `window`, in pixels of the level `factor`, NaN = no data.

        Raises:
            DamagedFileError: the pixels cannot be decoded.
        """
        level = Grid(
            self.grid.crs,
            self.grid.transform * Affine.scale(factor),
            (math.ceil(self.shape[0] / factor), math.ceil(self.shape[1] / factor)),
        )
        try:
            with gdal_env(), rasterio.open(self.path) as data, _warped(data, level) as warped:
                values: NDArray[np.float32] = warped.read(
                    1, window=RasterioWindow(window.column, window.row, *window.shape[::-1])
                )
        except RasterioError as error:
            raise DamagedFileError(
                f"{self.name}: cannot be warped onto the scene's grid: {error}"
            ) from error
        return values


def _warped(data: Any, level: Grid) -> WarpedVRT:  # noqa: ANN401 (rasterio's datasets are untyped)
    """Return a view of a raster on a grid: bilinear, exact, NaN outside of it.

    The whole level is one view, and the transformation is not approximated (beyond a millionth of a
    pixel; rasterio 1.4 fails on 0), so that a window gives what the whole would have given.
    """
    return WarpedVRT(
        data,
        crs=level.crs,
        transform=level.transform,
        height=level.shape[0],
        width=level.shape[1],
        resampling=Resampling.bilinear,
        tolerance=1e-6,
        dtype="float32",
        nodata=math.nan,
    )
