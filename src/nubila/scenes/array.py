"""NumPy arrays as scenes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from affine import Affine
from numpy.typing import ArrayLike, NDArray

from nubila.bands import parse_bands
from nubila.errors import GridError, InputError
from nubila.raster import Grid, Window
from nubila.scenes.fill import filled_with_0, is_told
from nubila.scenes.reflectance import in_percent, too_high, too_low
from nubila.scenes.scaling import check_scaling, plain_number
from nubila.scenes.scene import Band, BandFile, Scene

__all__ = ["ArraySource", "scene_from_array"]

_SAMPLE: Final = 128  # rows and columns that are looked at, evenly over the array


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Counts (rows, columns) in memory, in one block; reading gives views, not copies.

    Of a masked array it gives floating-point copies, NaN where it is masked.
    """

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
        """Return the window."""
        part = self.values[window.slices]
        if not isinstance(part, np.ma.MaskedArray):
            return part
        # No count need be free to mean no data; a float32 holds those of 24 bits exactly.
        plain: NDArray[Any] = np.ma.filled(
            part.astype(np.result_type(part.dtype, np.float32)), np.nan
        )
        return plain


def scene_from_array(
    array: ArrayLike,
    bands: str | Sequence[str],
    *,
    scale: float | Mapping[str, float] | None = None,
    offset: float | Mapping[str, float] = 0.0,
    nodata: float | None = None,
    saturated: float | None = None,
    resolution: float = 10.0,
    grid: Grid | None = None,
    zero_fill: bool = False,
    name: str = "array",
) -> Scene:
    """Return a scene over an array; reflectance = array * scale + offset.

    Args:
        array: (bands, rows, columns) of any real number type; NaN, infinity, and what a masked
            array masks are no data.
        bands: common names in the order of the first axis; ``-`` leaves one out.
        scale: of all bands, or by name. None takes floating-point values as reflectance if they
            can be, and refuses integers; a scale that is given, 1 too, is taken at its word.
        offset: of all bands, or by name.
        nodata: value that means no data.
        saturated: value from which a pixel is saturated.
        resolution: metres a pixel; not used with a grid.
        grid: where the pixels lie; default no CRS, top left corner at the origin.
        zero_fill: take pixels of exactly 0 in every band that is read as no data, which the mask
            notes if there are any, unless `nodata` is given or the array masks something.
            Reflectance of which it is known that NaN alone means no data goes without.
        name: what messages and output call the scene.

    Raises:
        InputError: the array is not three-dimensional, not of numbers, empty, or has another
            number of bands than named; scale or offset are such as no reflectance has, or
            something is no number; without a scale, values are integers or so high or low that
            they are no reflectance.
        GridError: the grid has another shape than the array.

    >>> scene_from_array(np.zeros((3, 64, 64), "uint16"), "blue,green,red", scale=1e-4).shape
    (64, 64)
    """
    names = parse_bands(bands)
    stack = _stack(array)
    _check(stack, names)
    rows, columns = stack.shape[1:]
    nodata = None if nodata is None else plain_number(nodata, f"{name}: nodata")
    saturated = None if saturated is None else plain_number(saturated, f"{name}: saturated")
    if grid is None:
        resolution = plain_number(resolution, f"{name}: resolution")
        if not (math.isfinite(resolution) and resolution > 0):
            raise InputError(f"resolution must be a positive number, got {resolution}")
        grid = Grid(None, Affine(resolution, 0, 0, 0, -resolution, 0), (rows, columns))
    if grid.shape != (rows, columns):
        raise GridError(f"{name}: the grid has shape {grid.shape}, the array {(rows, columns)}")
    found = {}
    for band, values in zip(names, stack, strict=True):
        if band == "-":
            continue
        if scale is None:
            _check_reflectance(values, band, name, nodata)
        factor = 1.0 if scale is None else _of(scale, band, "scale")
        addend = _of(offset, band, "offset")
        check_scaling(
            factor,
            addend,
            scale_said=f"{name}: scale of band {band!r} is {factor}",
            offset_said=f"{name}: offset of band {band!r} is {addend}",
            error=InputError,
        )
        found[band] = Band(
            name=band,
            label=band,
            files=(BandFile(ArraySource(values, f"{name} ({band})"), grid),),
            scale=factor,
            offset=addend,
            nodata=nodata,
            saturated=saturated,
            resolution=grid.resolution,
            zero_fill=zero_fill and not is_told(None, given=nodata, masked=np.ma.is_masked(stack)),
        )
    return Scene(
        id=name,
        path=name,
        sensor="unknown",
        level="",
        bands=filled_with_0(found),
        grid=grid,
        default_resolution=grid.resolution,
    )


def _stack(array: ArrayLike) -> NDArray[Any]:
    """Return an array of whatever NumPy makes one of, masks kept."""
    try:
        if isinstance(array, list | tuple) and any(isinstance(a, np.ma.MaskedArray) for a in array):
            return np.ma.stack(array)
        return array if isinstance(array, np.ma.MaskedArray) else np.asarray(array)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"an array must be (bands, rows, columns) of numbers, got a {type(array).__name__} "
            f"that does not make one: {error}"
        ) from error


def _check_reflectance(values: NDArray[Any], band: str, name: str, nodata: float | None) -> None:
    """Refuse integers and values that no reflectance has."""
    counts = "give scale=1e-4 for reflectance x 10000 (and offset=-0.1 for Sentinel-2 from baseline"
    counts += " 04.00, if it is in the counts)"
    if values.dtype.kind != "f":
        raise InputError(
            f"{name}: values are {values.dtype} and no scale is known; {counts}, or scale=1 if "
            "they are reflectance as they are"
        )
    step_rows, step_columns = (-(-n // _SAMPLE) for n in values.shape)
    seen = values[::step_rows, ::step_columns]
    high, low = too_high(seen, nodata), too_low(seen, nodata)
    if high is not None:
        told = "give scale=0.01 for percent" if in_percent(high) else counts
        raise InputError(
            f"{name}: band {band} has values to {high:g} and no scale is known, so it is no "
            f"reflectance (1 = 100 %); {told}"
        )
    if low is not None:
        raise InputError(
            f"{name}: band {band} has values down to {low:g}, which no reflectance is; give "
            f"nodata={low:g} if that means no data, or scale=1 if it is meant"
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
        return plain_number(value, what)
    if band in value:
        return plain_number(value[band], f"{what} of band {band!r}")
    raise InputError(f"no {what} is given for band {band!r} (given: {', '.join(value)})")
