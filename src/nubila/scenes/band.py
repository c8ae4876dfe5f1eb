"""Bands, the rasters they are stored in, and which of those to read for a resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from affine import Affine
from numpy.typing import NDArray

from nubila.errors import MissingFileError
from nubila.raster.grid import Grid, Window

__all__ = ["Band", "BandFile", "RasterSource", "Saturation", "listed"]

# JPEG 2000's 5/3 wavelet weighs five pixels into one of half the resolution (ISO/IEC 15444-1,
# annex F): with the level's own zeros beside them, two pixels of it can be mixed with no data.
_WAVELET_SPILL: Final = 2


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

    @property
    def spill(self) -> int:
        """Pixels of a coarser level over which data and no data are mixed at their border.

        Wavelets know nothing of no data, so in JPEG 2000 such pixels are no data too.
        """
        return _WAVELET_SPILL if self._wavelet else 0

    def level(self, factor: int) -> Affine:
        """Return where the pixels of a coarser level lie: what takes them to the CRS.

        An overview's pixel is made of `factor` x `factor` pixels and lies where they do. A
        wavelet's low-pass sample is centred on the first of them (ISO/IEC 15444-1, annex F: each
        step keeps the even samples), half a pixel of its own less half a fine one before that.
        """
        before = (1 - factor) / 2 if self._wavelet else 0.0
        found: Affine = self.grid.transform * Affine.translation(before, before)
        return found * Affine.scale(factor)

    @property
    def _wavelet(self) -> bool:
        name = self.source.name.partition("?")[0].lower()
        return name.endswith((".jp2", ".j2k"))


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
        saturated: counts from here up are saturated, or None. In a wavelet's coarser level such a
            count is mixed with its neighbours, and only what is brighter than any surface is told.
        saturation: flags raster, or None.
        resolution: native ground resolution in metres; a coarser file never stands in silently
            for a request at this resolution.
        missing: files that the product names and that are not there, as (resolution, path).
        zero_fill: a pixel whose count is exactly 0 in this and every other such band that is read
            has no data; see `nubila.scenes.fill`.
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
    zero_fill: bool = False

    def level(self, resolution: float) -> tuple[BandFile, int]:
        """Return the file and decimation to read for a target resolution in metres.

        The coarsest level that is not coarser than the target, so that nothing finer than needed
        is decoded; of two as coarse the file that is less decimated, which lies where it says.

        Raises:
            MissingFileError: only files coarser than asked for (and than native) are there.
        """
        best: tuple[float, BandFile, int] | None = None
        for file in self.files:
            for factor in file.source.factors:
                size = file.grid.resolution * factor
                if size <= resolution * 1.001 and (
                    best is None
                    or size > best[0] * 1.001
                    or (size > best[0] * 0.999 and factor < best[2])
                ):
                    best = size, file, factor
        if best is not None:
            return best[1], best[2]
        found = self.finest.grid.resolution
        if found > max(resolution, self.resolution) * 1.01:
            raise MissingFileError(
                f"band {self.name} ({self.label}) is there at {found:g} m, not at "
                f"{resolution:g} m; missing:{listed(self.missing_at(resolution))}"
            )
        return self.finest, 1

    @property
    def finest(self) -> BandFile:
        """The file of the finest resolution."""
        return min(self.files, key=lambda f: f.grid.resolution)

    def missing_at(self, resolution: float) -> tuple[str, ...]:
        """Return the missing files that would do for a resolution in metres."""
        fine_enough = max(resolution, self.resolution) * 1.01
        return tuple(path for size, path in self.missing if size <= fine_enough)


def listed(paths: Sequence[str]) -> str:
    """Return paths as lines of an error message."""
    return "".join(f"\n  {path}" for path in paths) or " a finer file"
