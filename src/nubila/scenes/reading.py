"""From the counts of a band's file to reflectance on a scene's grid."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from nubila.raster.grid import Grid, Window
from nubila.raster.resample import Axis, plan_axis, resample
from nubila.scenes.band import Band, BandFile, Saturation

__all__ = ["read_band"]

# Reflectance that neither snow nor cloud reaches, with the sun low and facing it (about 1.6).
_BRIGHTEST: Final = 2.0


def read_band(
    band: Band,
    file: BandFile,
    factor: int,
    grid: Grid,
    window: Window,
    target: NDArray[np.float32],
) -> NDArray[np.bool_] | None:
    """Fill `target` with the reflectance of a window; return where it is saturated, if anywhere.

    Args:
        band: gives scale, offset, and the counts that mean no data and saturated.
        file: one of the band's.
        factor: one of the file's.
        grid: the whole scene's at the target resolution.
        window: in pixels of `grid`.
        target: (rows, columns) of the window; NaN where there are no data.
    """
    rows, columns = _axes(file, factor, grid, window)
    spill = file.spill if factor > 1 and band.nodata is not None else 0
    counts, inner = _read_block(file, factor, rows, columns, spill and spill + 3)
    missing = _missing(counts, band.nodata)
    if missing is not None:
        missing = (_solid(missing, spill) if spill else missing)[inner]
    counts = counts[inner]
    same = rows.identity and columns.identity
    values = target if same else np.empty(counts.shape, np.float32)
    np.copyto(values, counts, casting="unsafe")
    values *= np.float32(band.scale)
    if missing is not None:
        np.copyto(values, np.float32(np.nan), where=missing)
    if not same:
        target[...] = resample(values, rows, columns)
    # Last, so that what is made of counts of 0 alone is the offset itself.
    if band.offset:
        target += np.float32(band.offset)
    limit = None
    saturated = _saturated(band, mixed=factor > 1 and bool(file.spill))
    # Asked this way round because the largest of counts with NaN among them is NaN.
    if saturated is not None and not counts.max() < saturated:
        limit = _any(counts >= saturated, rows, columns)
    if band.saturation is not None:
        flagged = _read_flags(band.saturation, grid, window)
        limit = flagged if limit is None else limit | flagged
    return limit


def _saturated(band: Band, *, mixed: bool) -> float | None:
    """Return from which count on a pixel is saturated; `mixed` with its neighbours, some are."""
    if band.saturated is None or not mixed or not band.scale > 0:
        return band.saturated
    return min(band.saturated, (_BRIGHTEST - band.offset) / band.scale)


def _missing(counts: NDArray[Any], nodata: float | None) -> NDArray[np.bool_] | None:
    """Return where there are no data, or None for nowhere."""
    missing: NDArray[np.bool_] | None = None
    if counts.dtype.kind == "f":
        missing = ~np.isfinite(counts)
    if nodata is not None and not np.isnan(nodata):
        empty = counts == nodata
        missing = empty if missing is None else missing | empty
    return missing if missing is not None and missing.any() else None


def _solid(mask: NDArray[np.bool_], spill: int) -> NDArray[np.bool_]:
    """Return where a wavelet level has no data, from where its counts are those of no data.

    A wavelet undershoots beside bright pixels and may hit the count by chance, in single pixels and
    thin lines; what is truly empty holds a square of 3 x 3 (or lies along the image's edge), and
    mixes into the data as far as `spill`.
    """
    # Taking single pixels and lines out blunts the corners of slanting edges by a pixel: one more.
    return _spread(~_spread(~mask, 1), 2 + spill)


def _spread(mask: NDArray[np.bool_], margin: int) -> NDArray[np.bool_]:
    """Return a mask grown by `margin` pixels to all sides, corners included."""
    for axis in (0, 1):
        grown = mask.copy()
        into, away = (np.swapaxes(m, 0, axis) for m in (grown, mask))
        for distance in range(1, min(margin, len(away) - 1) + 1):
            into[distance:] |= away[:-distance]
            into[:-distance] |= away[distance:]
        mask = grown
    return mask


def _any(mask: NDArray[np.bool_], rows: Axis, columns: Axis) -> NDArray[np.bool_]:
    """Return the target pixels that any masked source pixel weighs into."""
    return resample(mask.astype(np.float32), rows, columns) > 0


def _read_flags(saturation: Saturation, grid: Grid, window: Window) -> NDArray[np.bool_]:
    """Return where the flags raster marks a band as saturated."""
    file = saturation.file
    # As for a band: the coarsest level that is not coarser than the target.
    fitting = (
        f for f in file.source.factors if file.grid.resolution * f <= grid.resolution * 1.001
    )
    factor = max(fitting, default=1)
    rows, columns = _axes(file, factor, grid, window)
    flags, inner = _read_block(file, factor, rows, columns, 0)
    # A raster with a mask comes as floating point, and one of 8 bits may lack the bit.
    bits = flags[inner].astype(np.int32, copy=False) & saturation.bits
    return _any(bits != 0, rows, columns)


def _axes(file: BandFile, factor: int, grid: Grid, window: Window) -> tuple[Axis, Axis]:
    """Return how the pixels of a window of the target grid weigh those of a file's level."""
    rows, columns = (-(-n // factor) for n in file.source.shape)
    to_source = _to_source(file.level(factor), grid.transform)
    return (
        _axis(window.row, window.stop_row, to_source.e, to_source.f, rows),
        _axis(window.column, window.stop_column, to_source.a, to_source.c, columns),
    )


@lru_cache(maxsize=64)
def _to_source(level: Affine, target: Affine) -> Affine:
    """Return what takes target pixel corners to a level's: the scenes hold both to be parallel."""
    found: Affine = ~level * target
    return found


@lru_cache(maxsize=64)
def _axis(start: int, stop: int, ratio: float, offset: float, length: int) -> Axis:
    """Plan an axis once for all bands of one grid, and columns once for all parts of a tile."""
    return plan_axis(start, stop, ratio=ratio, offset=offset, length=length)


def _read_block(
    file: BandFile, factor: int, rows: Axis, columns: Axis, margin: int
) -> tuple[NDArray[Any], tuple[slice, slice]]:
    """Read the pixels that two axes touch and a margin; return them and where the former lie."""
    shape = -(-file.source.shape[0] // factor), -(-file.source.shape[1] // factor)
    inner = Window.between(rows.start, columns.start, rows.stop, columns.stop)
    outer = inner.expand(margin, within=shape)
    return file.source.read(factor, outer), inner.shift(-outer.row, -outer.column).slices
