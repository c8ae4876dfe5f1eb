"""NumPy arrays as scenes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from affine import Affine
from numpy.typing import NDArray

from nubila.bands import parse_bands
from nubila.errors import GridError, InputError
from nubila.raster import Grid, Window
from nubila.scenes.scene import Band, BandFile, Scene

__all__ = ["ArraySource", "scene_from_array"]


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Counts (rows, columns) in memory, in one block; reading gives views, not copies."""

    values: NDArray[Any]
    name: str = "array"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.values.shape
        return rows, columns

    @property
    def factors(self) -> tuple[int, ...]:
        """Only the array itself."""
        return (1,)

    @property
    def block(self) -> tuple[int, int]:
        """The whole array."""
        return self.shape

    def read(self, factor: int, window: Window) -> NDArray[Any]:
        """Return a view of the window."""
        return self.values[window.slices]


def scene_from_array(
    array: NDArray[Any],
    bands: str | Sequence[str],
    *,
    scale: float | Mapping[str, float] = 1.0,
    offset: float | Mapping[str, float] = 0.0,
    nodata: float | None = None,
    saturated: float | None = None,
    resolution: float = 10.0,
    grid: Grid | None = None,
    name: str = "array",
) -> Scene:
    """Return a scene over an array; reflectance = array * scale + offset.

    Args:
        array: (bands, rows, columns) of any real number type; NaN and infinity are no data.
        bands: common names in the order of the first axis; ``-`` leaves one out.
        scale: of all bands, or by name.
        offset: of all bands, or by name.
        nodata: value that means no data.
        saturated: value from which a pixel is saturated.
        resolution: metres a pixel; not used with a grid.
        grid: where the pixels lie; default no CRS, top left corner at the origin.
        name: what messages and output call the scene.

    Raises:
        InputError: the array is not three-dimensional, not of numbers, empty, or has another
            number of bands than named; scale is 0 or something is not finite.
        GridError: the grid has another shape than the array.

    >>> scene_from_array(np.zeros((3, 64, 64), "uint16"), "blue,green,red", scale=1e-4).shape
    (64, 64)
    """
    names = parse_bands(bands)
    _check(array, names)
    rows, columns = array.shape[1:]
    if grid is None:
        _check_numbers(resolution=resolution)
        grid = Grid(None, Affine(resolution, 0, 0, 0, -resolution, 0), (rows, columns))
    if grid.shape != (rows, columns):
        raise GridError(f"{name}: the grid has shape {grid.shape}, the array {(rows, columns)}")
    found = {}
    for band, values in zip(names, array, strict=True):
        if band == "-":
            continue
        factor, addend = _of(scale, band, "scale"), _of(offset, band, "offset")
        _check_numbers(scale=factor)
        found[band] = Band(
            name=band,
            label=band,
            files=(BandFile(ArraySource(values, f"{name} ({band})"), grid),),
            scale=factor,
            offset=addend,
            nodata=nodata,
            saturated=saturated,
            resolution=grid.resolution,
        )
    return Scene(
        id=name,
        path=name,
        sensor="unknown",
        level="",
        bands=found,
        grid=grid,
        default_resolution=grid.resolution,
    )


def _check(array: NDArray[Any], names: Sequence[str]) -> None:
    if array.ndim != 3 or 0 in array.shape:
        raise InputError(
            f"an array must be (bands, rows, columns) and not empty, got shape {array.shape}"
        )
    if len(names) != len(array):
        raise InputError(
            f"{len(names)} bands are named ({', '.join(names)}), but the array of shape "
            f"{array.shape} has {len(array)}"
        )
    if array.dtype.kind not in "uif":
        raise InputError(f"an array must hold real numbers, got {array.dtype}")


def _of(value: float | Mapping[str, float], band: str, what: str) -> float:
    """Return a number that is given for all bands or by name."""
    if not isinstance(value, Mapping):
        number = float(value)
    elif band in value:
        number = float(value[band])
    else:
        raise InputError(f"no {what} is given for band {band!r} (given: {', '.join(value)})")
    if not math.isfinite(number):
        raise InputError(f"{what} of band {band!r} must be a finite number, got {number}")
    return number


def _check_numbers(**numbers: float) -> None:
    for name, number in numbers.items():
        if not (math.isfinite(number) and number > 0):
            raise InputError(f"{name} must be a positive number, got {number}")
