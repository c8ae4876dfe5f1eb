"""The one lazy `Scene` that every reader gives: reflectance and validity for any window."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from nubila.bands import STANDS_IN, band_name
from nubila.classes import Validity
from nubila.errors import BandError, GridError, MissingFileError, nearest
from nubila.raster.grid import Grid, Window
from nubila.scenes.band import Band, BandFile, RasterSource, Saturation, listed
from nubila.scenes.fill import leave_out_fill
from nubila.scenes.reading import read_band

__all__ = ["Band", "BandFile", "Pixels", "RasterSource", "Saturation", "Scene", "validity_of"]

# Pixels that one pixel of a scene may become: finer, the output would only be large and smooth.
_MOST_FINER: Final = 100


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
        files: what the scene was put together from, where that is more than `path`: a file a
            band, auxiliary rasters; without what signs an address.
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
    files: tuple[str, ...] = ()

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
        other = STANDS_IN.get(wanted, wanted)
        for candidate in (wanted, other):
            if candidate in self.bands:
                return self.bands[candidate]
            if candidate in self.missing:
                raise MissingFileError(
                    f"band {candidate} is not there; missing:{listed(self.missing[candidate])}"
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
        """Return the scene's grid at a resolution in metres (default: the finest).

        Raises:
            GridError: the resolution is no positive number, coarser than the scene's smaller side,
                or so fine that a pixel of the scene becomes more than a hundred.
        """
        if resolution is None:
            return self.grid
        finest = self.resolution / math.sqrt(_MOST_FINER)
        smaller = min(n * size for n, size in zip(self.shape, self.grid.pixel_size, strict=True))
        # A product's own choice holds even for a cutting of a single pixel.
        coarsest = max(smaller, self.default_resolution)
        fits = finest * (1 - 1e-6) <= resolution <= coarsest * (1 + 1e-6)
        fits |= 0 in self.shape  # without a file the place is unknown; reading says what is missing
        if math.isfinite(resolution) and resolution > 0 and not fits:
            raise GridError(
                f"{self.path}: a resolution of {resolution:g} m makes no sense here; give one from "
                f"{finest:g} m ({_MOST_FINER} pixels for each of the scene's) to {coarsest:g} m "
                f"(its smaller side)"
            )
        return self.grid.at(resolution)

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
            MissingFileError: a band's file is not there, or only coarser than asked for; all such
                files of the bands asked for are named.
            DamagedFileError: a file cannot be decoded.
        """
        grid = self.grid_at(resolution)
        window = window or Window.whole(grid.shape)
        found = self.levels(bands, grid.resolution)
        reflectance = np.empty((len(found), *window.shape), np.float32)
        saturated: NDArray[np.bool_] | None = None
        for target, (band, file, factor) in zip(reflectance, found, strict=True):
            limit = read_band(band, file, factor, grid, window, target)
            if limit is not None:
                saturated = limit if saturated is None else saturated | limit
        leave_out_fill({i: band for i, (band, _, _) in enumerate(found)}, reflectance)
        return Pixels(
            bands=tuple(band_name(name) for name in bands),
            reflectance=reflectance,
            validity=validity_of(reflectance, saturated),
            grid=grid.crop(window),
        )

    def levels(self, bands: Sequence[str], resolution: float) -> list[tuple[Band, BandFile, int]]:
        """Return each band with the file and the decimation to read at a resolution in metres.

        Raises:
            BandError: a band is absent.
            MissingFileError: files are not there; those of all the bands are named.
        """
        found: list[tuple[Band, BandFile, int]] = []
        problems: list[str] = []
        coarser: list[float] = []  # where a band that has files could be read
        for name in bands:
            try:
                band = self.band(name)
                coarser.append(band.finest.grid.resolution)
                found.append((band, *band.level(resolution)))
            except MissingFileError as error:
                problems.append(str(error))
        if problems:
            at = max(coarser, default=0.0) if len(coarser) == len(bands) else 0.0
            advice = f", or read at {at:g} m" if at > resolution else ""
            # Bands without any file are missing at whatever resolution was asked for.
            where = f" at {resolution:g} m" if len(coarser) > len(found) else ""
            raise MissingFileError(
                f"{self.path}: cannot be read{where}:\n"
                + "\n".join(problems)
                + f"\nFetch the missing files{advice}."
            )
        return found

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
