"""Writing cloud-optimised GeoTIFFs strip by strip, in bounded memory, whole or not at all.

Strips go to an uncompressed scratch file beside the target, which then gets overviews, and which
GDAL's COG driver copies (its layout needs the overviews first, so one pass cannot do). GDAL can
call a truncated file a success when the disk runs full in its last blocks; so the finished file is
read back and compared with the checksum of the strips before it gets its name.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from xml.sax.saxutils import escape

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.shutil import copy
from rasterio.windows import Window as RasterioWindow

from nubila.errors import OutputError
from nubila.raster.atomic import flush, scratch_path, write_message
from nubila.raster.gdal import gdal_env
from nubila.raster.grid import Grid

__all__ = ["CogLook", "CogWriter", "open_cog", "write_cog"]

BLOCK: Final = 512

# What rasterio raises when GDAL fails: its own errors, and GDAL's, which are not public.
_GDAL_ERRORS: Final = (RasterioError, SystemError, rasterio._err.CPLE_BaseError)


@dataclass(frozen=True)
class CogLook:
    """What a raster file says of its values.

    Attributes:
        nodata: value that means no data.
        overviews: ``mode`` for classes, where no data counts as one of them; ``average`` for
            quantities, of what has data.
        descriptions: a name a band.
        scale, offset: quantity = value * scale + offset.
        colours: value -> (red, green, blue) of a palette, or empty; needs dtype uint8.
        categories: value -> name, or empty.
        tags: of the file.
    """

    nodata: int
    overviews: Literal["mode", "average"] = "mode"
    descriptions: Sequence[str] = ()
    scale: float = 1.0
    offset: float = 0.0
    colours: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)
    categories: Mapping[int, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Form:
    """Arguments of `open_cog`."""

    grid: Grid
    look: CogLook
    bands: int
    dtype: str
    threads: int


class CogWriter:
    """Takes the rows of a raster from top to bottom; made by `open_cog`."""

    def __init__(self, form: _Form, path: Path, target: Path, scratch: Path) -> None:
        self._form, self._path = form, path
        self._target, self._scratch = target, scratch
        self._row = 0
        self._checksums = [0] * form.bands
        self._finished = False
        with _our_errors(path):
            self._data = rasterio.open(scratch, "w", **_profile(form))
            _describe(self._data, form.look)

    def write(self, strip: NDArray[Any]) -> None:
        """Append rows.

        Args:
            strip: (bands, rows, columns), or (rows, columns) for one band.

        Raises:
            OutputError: the disk is full, or another trouble of writing.
            ValueError: the strip does not fit the raster.
        """
        strip = np.ascontiguousarray(strip if strip.ndim == 3 else strip[None])
        bands, rows, columns = strip.shape
        shape = (self._form.bands, *self._form.grid.shape)
        if (bands, columns) != (shape[0], shape[2]):
            raise ValueError(f"a strip of shape {strip.shape} for a raster {shape}")
        with _our_errors(self._path):
            self._data.write(strip, window=RasterioWindow(0, self._row, columns, rows))
        self._checksums = [
            zlib.crc32(band, old) for band, old in zip(strip, self._checksums, strict=True)
        ]
        self._row += rows

    def finish(self) -> None:
        """Make the file whole on the disk, under its temporary name; it only lacks its own then.

        `open_cog` does this at its end. Who writes several files that belong together does it to
        all of them before, so that a full disk is known of while none has replaced another.

        Raises:
            OutputError: the file cannot be written.
            ValueError: rows are missing.
        """
        if self._finished:
            return
        rows, form = self._form.grid.shape[0], self._form
        if self._row != rows:
            raise ValueError(f"{self._row} rows were written of {rows}")
        with _our_errors(self._path):
            self._data.close()
            # Overviews by mode take longer than all the rest.
            with gdal_env(GDAL_NUM_THREADS=form.threads):
                _add_overviews(self._scratch, form.look)
                _copy(self._scratch, self._target)
            self._scratch.unlink()
            _verify(self._target, self._checksums)
            _write_side_file(self._target, self._path, form.grid.crs, form.look.categories)
            flush(self._target)
        self._finished = True

    def abandon(self) -> None:
        """Close what is open; the files are taken away by who made their names."""
        with suppress(*_GDAL_ERRORS):
            self._data.close()


@contextmanager
def open_cog(
    path: str | Path,
    *,
    grid: Grid,
    look: CogLook,
    bands: int = 1,
    dtype: str = "uint8",
    threads: int = 1,
) -> Iterator[CogWriter]:
    """Open a cloud-optimised GeoTIFF for writing; it appears under its name when whole.

    Category names go into ``<path>.aux.xml``, where GDAL keeps them, for GeoTIFF has no place, and
    so does a CRS of which GeoTIFF knows no form, such as that of a turned pole.

    Args:
        path: the file; what is there is replaced.
        grid: georeference and shape.
        look: nodata, colours, names, tags.
        bands: number of bands.
        dtype: ``uint8`` or ``uint16``.
        threads: of making overviews and compressing, when all rows are there.

    Raises:
        OutputError: the file cannot be written.
    """
    path, form = Path(path), _Form(grid, look, bands, dtype, threads)
    with scratch_path(path) as target, scratch_path(path) as scratch, gdal_env():
        writer = CogWriter(form, path, target, scratch)
        try:
            yield writer
            writer.finish()
        except BaseException:
            writer.abandon()
            raise
        # The raster first: what is cut short here must not leave a side file without one.
        target.replace(path)
        _place_side_file(target, path)
        with suppress(OSError):  # some network file systems cannot do this for folders
            flush(path.parent)


def write_cog(path: str | Path, values: NDArray[Any], *, grid: Grid, look: CogLook) -> None:
    """Write a whole raster, (rows, columns) or (bands, rows, columns), by `open_cog`.

    Raises:
        OutputError: the file cannot be written.
    """
    bands = values.shape[0] if values.ndim == 3 else 1
    with open_cog(path, grid=grid, look=look, bands=bands, dtype=values.dtype.name) as writer:
        writer.write(values)


@contextmanager
def _our_errors(path: Path) -> Iterator[None]:
    """Raise errors of writing a raster under its name: other rasters may be open around it."""
    try:
        yield
    except _GDAL_ERRORS as error:
        raise OutputError(
            f"{path}: cannot be written: {error.__cause__ or error} (is the disk full? free some "
            "space or choose another folder)"
        ) from error
    except OSError as error:
        raise OutputError(write_message(path, error)) from error


def _profile(form: _Form) -> dict[str, Any]:
    return {
        "driver": "GTiff",
        "dtype": form.dtype,
        "count": form.bands,
        "height": form.grid.shape[0],
        "width": form.grid.shape[1],
        "crs": form.grid.crs,
        "transform": form.grid.transform,
        # GDAL leaves no data out of overviews if it knows of it: a block with a single pixel of a
        # class would be that class. So by mode it is told when they are made.
        "nodata": form.look.nodata if form.look.overviews == "average" else None,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "interleave": "pixel",
        "BIGTIFF": "IF_SAFER",
    }


def _describe(data: Any, look: CogLook) -> None:  # noqa: ANN401 (rasterio)
    data.update_tags(**look.tags)
    if look.scale != 1 or look.offset != 0:
        data.scales = [look.scale] * data.count
        data.offsets = [look.offset] * data.count
    for index, text in enumerate(look.descriptions, start=1):
        data.set_band_description(index, text)
    if look.colours:
        data.write_colormap(1, {k: (*v, 255) for k, v in look.colours.items()})


def _add_overviews(scratch: Path, look: CogLook) -> None:
    """Add overviews down to one block, and say what no data is."""
    with rasterio.open(scratch, "r+") as data:
        levels = math.ceil(math.log2(max(1, *data.shape) / BLOCK))
        if levels > 0:
            data.build_overviews([2**n for n in range(1, levels + 1)], Resampling[look.overviews])
        data.nodata = look.nodata


def _copy(scratch: Path, target: Path) -> None:
    copy(
        scratch,
        target,
        driver="COG",
        # The lowest level: half the time of the default, and a mask is small anyway.
        COMPRESS="DEFLATE",
        LEVEL=1,
        BLOCKSIZE=BLOCK,
        BIGTIFF="IF_SAFER",
    )


def _verify(target: Path, checksums: Sequence[int]) -> None:
    """Read the file back and compare it with what was handed over."""
    found = [0] * len(checksums)
    with gdal_env(), rasterio.open(target) as data:
        for row in range(0, data.height, BLOCK):
            height = min(BLOCK, data.height - row)
            strip = data.read(window=RasterioWindow(0, row, data.width, height))
            found = [zlib.crc32(band, old) for band, old in zip(strip, found, strict=True)]
    if found != list(checksums):
        raise RasterioError("what was written does not read back as it was")


def _write_side_file(
    target: Path, path: Path, crs: CRS | None, categories: Mapping[int, str]
) -> None:
    """Write what GDAL looks for beside a file, if anything, and hold the CRS to the grid's.

    Args:
        target: the finished file under its temporary name, which the side file's follows.
        path: its final name, for messages.
        crs: of the grid.
        categories: value -> name.
    """
    beside_target = _side_of(target)
    beside_target.unlink(missing_ok=True)  # GDAL's own, with no more in it than is written here
    parts = []
    if crs is not None and _crs_of(target) != crs:
        parts.append(f"  <SRS>{escape(crs.to_wkt(version='WKT2_2019'))}</SRS>\n")
    if categories:
        parts.append(_categories_element(categories))
    if not parts:
        return
    text = f"<PAMDataset>\n{''.join(parts)}</PAMDataset>\n"
    beside_target.write_text(text, encoding="utf-8")
    if crs is not None and _crs_of(target) is None:
        raise OutputError(
            f"{path}: cannot be written with its CRS, which GDAL does not keep: "
            f"{crs.to_wkt(version='WKT2_2019')[:200]}\nBring the scene to another with gdalwarp"
        )
    flush(beside_target)


def _place_side_file(target: Path, path: Path) -> None:
    """Give the side file of a finished file its name, or take away that of an earlier file."""
    if _side_of(target).exists():
        _side_of(target).replace(_side_of(path))
    else:
        _side_of(path).unlink(missing_ok=True)


def _side_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.aux.xml")


def _crs_of(path: Path) -> CRS | None:
    """Return the CRS of a file as anybody reads it who may look beside it."""
    with gdal_env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"), rasterio.open(path) as data:
        return data.crs


def _categories_element(categories: Mapping[int, str]) -> str:
    names = "".join(
        f"      <Category>{escape(categories.get(value, ''))}</Category>\n"
        for value in range(max(categories) + 1)
    )
    return (
        f'  <PAMRasterBand band="1">\n    <CategoryNames>\n{names}    </CategoryNames>\n'
        f"  </PAMRasterBand>\n"
    )
