"""The one lazy `Scene` that every reader gives: reflectance and validity for any window."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from nubila.bands import band_name
from nubila.classes import Validity
from nubila.errors import BandError, MissingFileError, nearest
from nubila.raster.grid import Grid, Window
from nubila.raster.resample import plan_axis, resample

__all__ = ["Band", "BandFile", "Pixels", "RasterSource", "Saturation", "Scene", "validity_of"]


class RasterSource(Protocol):
    """One raster of counts, read by windows at its own resolution or coarser, from any thread."""

    @property
    def name(self) -> str:
        """What an error calls the raster."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns at factor 1."""
        ...

    @property
    def factors(self) -> tuple[int, ...]:
        """Decimations stored in the file: 1, then its overviews or wavelet levels."""
        ...

    @property
    def block(self) -> tuple[int, int]:
        """Rows and columns that are decoded together at factor 1."""
        ...

    def read(self, factor: int, window: Window) -> NDArray[Any]:
        """Return the counts of `window`, which counts in pixels of the level `factor`."""
        ...


@dataclass(frozen=True)
class BandFile:
    """A raster and the grid that it lies on at factor 1."""

    source: RasterSource
    grid: Grid


@dataclass(frozen=True)
class Saturation:
    """A raster of flags (Landsat's QA_RADSAT) and the bits that mark this band as saturated."""

    file: BandFile
    bits: int


@dataclass(frozen=True)
class Band:
    """A band of a scene: reflectance = count * scale + offset.

    Attributes:
        name: common name, as in `nubila.bands`.
        label: what the product calls it, such as ``B8A``.
        files: the same band at one or more resolutions, finest first.
        scale, offset: to reflectance (1.0 = 100 %), sun elevation included where it applies.
        scale_from: where the two were read, for people.
        nodata: count that means no data, or None. NaN and infinity always do.
        saturated: counts from here up are saturated, or None.
        saturation: flags raster, or None.
        resolution: native ground resolution in metres; a coarser file never stands in silently
            for a request at this resolution.
        missing: files that the product names and that are not there, as (resolution, path).
    """

    name: str
    label: str
    files: tuple[BandFile, ...]
    scale: float = 1.0
    offset: float = 0.0
    scale_from: str = "given"
    nodata: float | None = None
    saturated: float | None = None
    saturation: Saturation | None = None
    resolution: float = 0.0
    missing: tuple[tuple[float, str], ...] = ()

    def level(self, resolution: float) -> tuple[BandFile, int]:
        """Return the file and decimation to read for a target resolution in metres.

        The coarsest level that is not coarser than the target, so that nothing finer than needed
        is decoded.

        Raises:
            MissingFileError: only files coarser than asked for (and than native) are there.
        """
        best: tuple[float, BandFile, int] | None = None
        for file in self.files:
            for factor in file.source.factors:
                size = file.grid.resolution * factor
                if size <= resolution * 1.001 and (best is None or size > best[0] * 1.001):
                    best = size, file, factor
        if best is not None:
            return best[1], best[2]
        finest = min(self.files, key=lambda f: f.grid.resolution)
        if finest.grid.resolution > max(resolution, self.resolution) * 1.01:
            absent = "".join(f"\n  {path}" for size, path in self.missing)
            raise MissingFileError(
                f"band {self.name} ({self.label}) is there at {finest.grid.resolution:g} m, not at "
                f"{resolution:g} m; missing:{absent or ' a finer file'}\n"
                f"Use --resolution {finest.grid.resolution:g}, or fetch the missing files."
            )
        return finest, 1


@dataclass(frozen=True)
class Pixels:
    """What a read gives.

    Attributes:
        bands: common names, in the order of the first axis.
        reflectance: (bands, rows, columns) float32, NaN where a band has no data.
        validity: (rows, columns) uint8 of `Validity` over the bands read.
        grid: where the pixels lie.
    """

    bands: tuple[str, ...]
    reflectance: NDArray[np.float32]
    validity: NDArray[np.uint8]
    grid: Grid


@dataclass(frozen=True)
class Scene:
    """A scene, opened but not read.

    Attributes:
        id: the product's own identifier; output files are named after it.
        path: what was opened, as given.
        sensor: a key of `nubila.bands.SENSORS`.
        level: ``L1C``, ``L2A``, ``L1TP``, ``L2SP`` ...; ``""`` where unknown.
        bands: common name -> `Band`.
        grid: the finest grid of the bands; coarser ones start at its corner.
        acquired: time-zone aware, or None.
        baseline: processing baseline or software version, or ``""``.
        platform: ``Sentinel-2A``, ``LANDSAT_8`` ..., or ``""``.
        sun: elevation and azimuth in degrees, or None.
        default_resolution: metres, what `nubila mask` uses when not told.
        notes: what had to be assumed, for people; printed, never hidden.
        footprint: GeoJSON geometry in longitude and latitude from the metadata, or None.
        masks: the product's own masks (``scl``, ``qa_pixel``) by name.
        missing: bands that the product has but of which no file is there: name -> those files.
    """

    id: str
    path: str
    sensor: str
    level: str
    bands: Mapping[str, Band]
    grid: Grid
    acquired: datetime | None = None
    baseline: str = ""
    platform: str = ""
    sun: tuple[float, float] | None = None
    default_resolution: float = 0.0
    notes: tuple[str, ...] = ()
    footprint: Mapping[str, Any] | None = None
    masks: Mapping[str, BandFile] = field(default_factory=dict)
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def crs(self) -> CRS | None:
        """CRS of the scene's grid."""
        return self.grid.crs

    @property
    def transform(self) -> Affine:
        """Affine transform of the scene's finest grid."""
        return self.grid.transform

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns at the finest resolution."""
        return self.grid.shape

    @cached_property
    def resolution(self) -> float:
        """Finest ground resolution in metres."""
        return self.grid.resolution

    def band(self, name: str) -> Band:
        """Return a band by common name; ``nir`` falls back to the narrow ``nir08`` and back.

        Raises:
            MissingFileError: the product has the band, but its files are not there.
            BandError: the scene has no such band; the message lists those it has.
        """
        wanted = band_name(name)
        other = {"nir": "nir08", "nir08": "nir"}.get(wanted, wanted)
        for candidate in (wanted, other):
            if candidate in self.bands:
                return self.bands[candidate]
            if candidate in self.missing:
                files = "".join(f"\n  {path}" for path in self.missing[candidate])
                raise MissingFileError(
                    f"{self.path}: band {candidate!r} cannot be read, its file is not there; "
                    f"missing:{files}"
                )
        raise BandError(
            f"{self.path}: no band {wanted!r}{nearest(wanted, self.bands)} "
            f"(the scene has: {', '.join(self.bands)})"
        )

    def has_band(self, name: str) -> bool:
        """Tell whether `band` would find one."""
        try:
            self.band(name)
        except (BandError, MissingFileError):
            return False
        return True

    def grid_at(self, resolution: float | None = None) -> Grid:
        """Return the scene's grid at a resolution in metres (default: the finest)."""
        return self.grid if resolution is None else self.grid.at(resolution)

    def read(
        self,
        bands: Sequence[str],
        window: Window | None = None,
        resolution: float | None = None,
    ) -> Pixels:
        """Read reflectance and validity.

        Args:
            bands: common names.
            window: in pixels of ``grid_at(resolution)``; default the whole scene.
            resolution: metres; default the finest of the scene.

        Raises:
            BandError: a band is absent.
            MissingFileError: a band is there only coarser than asked for.
            DamagedFileError: a file cannot be decoded.
        """
        grid = self.grid_at(resolution)
        window = window or Window.whole(grid.shape)
        found = [self.band(name) for name in bands]
        reflectance = np.empty((len(found), *window.shape), np.float32)
        saturated = np.zeros(window.shape, bool)
        for target, band in zip(reflectance, found, strict=True):
            values, limit = _read_band(band, grid, window)
            target[...] = values
            if limit is not None:
                saturated |= limit
        return Pixels(
            bands=tuple(band_name(name) for name in bands),
            reflectance=reflectance,
            validity=validity_of(reflectance, saturated),
            grid=grid.crop(window),
        )

    def map_sources(self, wrap: Callable[[RasterSource], RasterSource]) -> Scene:
        """Return the scene with every raster source replaced by ``wrap(source)``."""

        def wrapped(file: BandFile) -> BandFile:
            return replace(file, source=wrap(file.source))

        def band(old: Band) -> Band:
            flags = old.saturation
            if flags is not None:
                flags = replace(flags, file=wrapped(flags.file))
            return replace(old, files=tuple(wrapped(f) for f in old.files), saturation=flags)

        return replace(self, bands={name: band(b) for name, b in self.bands.items()})


def validity_of(
    reflectance: NDArray[np.float32], saturated: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """Tell the pixels apart that have data in all bands, in none, or in some.

    Args:
        reflectance: (bands, rows, columns), NaN where a band has no data.
        saturated: (rows, columns), or None.

    Returns:
        (rows, columns) uint8 of `Validity`.
    """
    count = np.zeros(reflectance.shape[1:], np.uint8)
    for band in reflectance:
        count += ~np.isnan(band)
    validity = np.full(count.shape, Validity.NOT_JUDGED, np.uint8)
    validity[count == 0] = Validity.NO_DATA
    whole = count == len(reflectance)
    validity[whole] = Validity.VALID
    if saturated is not None:
        validity[whole & saturated] = Validity.SATURATED
    return validity


def _read_band(
    band: Band, grid: Grid, window: Window
) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Return reflectance of a window of the target grid, and where the band is saturated."""
    file, factor = band.level(grid.resolution)
    counts, resampled = _read_counts(file, factor, grid, window)
    values = counts.astype(np.float32)
    missing = ~np.isfinite(values) if counts.dtype.kind == "f" else None
    if band.nodata is not None and not np.isnan(band.nodata):
        empty = counts == band.nodata
        missing = empty if missing is None else missing | empty
    values *= np.float32(band.scale)
    values += np.float32(band.offset)
    if missing is not None and missing.any():
        values[missing] = np.nan
    limit = None
    if band.saturated is not None:
        high = counts >= band.saturated
        if high.any():
            limit = resampled(high.astype(np.float32)) > 0
    if band.saturation is not None:
        flags, flags_resampled = _read_counts(
            band.saturation.file, _flag_factor(band.saturation.file, grid), grid, window
        )
        flagged = flags_resampled(((flags & band.saturation.bits) != 0).astype(np.float32)) > 0
        limit = flagged if limit is None else limit | flagged
    return resampled(values), limit


def _flag_factor(file: BandFile, grid: Grid) -> int:
    """Return the decimation for flags: as for a band, never coarser than the target."""
    fitting = [
        f for f in file.source.factors if file.grid.resolution * f <= grid.resolution * 1.001
    ]
    return max(fitting, default=1)


def _read_counts(
    file: BandFile, factor: int, grid: Grid, window: Window
) -> tuple[NDArray[Any], Callable[[NDArray[np.float32]], NDArray[np.float32]]]:
    """Return the counts under a window, and the function that brings them to its pixels."""
    level_shape = tuple(-(-n // factor) for n in file.source.shape)
    # Target pixel corners in source pixels: the scenes hold both grids to be parallel.
    to_source = ~(file.grid.transform * Affine.scale(factor)) * grid.transform
    rows = plan_axis(
        window.row,
        window.stop_row,
        ratio=to_source.e,
        offset=to_source.f,
        length=level_shape[0],
    )
    columns = plan_axis(
        window.column,
        window.stop_column,
        ratio=to_source.a,
        offset=to_source.c,
        length=level_shape[1],
    )
    block = Window.between(rows.start, columns.start, rows.stop, columns.stop)
    counts = file.source.read(factor, block)
    return counts, lambda values: resample(values, rows, columns)
