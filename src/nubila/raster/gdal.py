"""Reading counts from any raster that GDAL opens: local, in an archive, or over the network."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from nubila.errors import DamagedFileError, MissingFileError, ProductError
from nubila.raster.grid import Grid, Window
from nubila.raster.names import check_name

__all__ = [
    "BUCKETS",
    "GdalSource",
    "RasterInfo",
    "alpha_band",
    "gdal_env",
    "masked_bands",
    "open_source",
    "read_info",
    "read_together",
]

# No directory listings over the network, and a small block cache: the engine keeps what it needs
# again, so GDAL's own (5 % of the memory) would only add to the peak.
# One thread: the engine has its own, and GDAL's decoding threads lose the errors of a damaged
# JPEG 2000 file and hand on what was in memory before. No index files beside a user's archive.
_OPTIONS: dict[str, Any] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "CPL_VSIL_GZIP_WRITE_PROPERTIES": "NO",
    "GDAL_CACHEMAX": 64,
    "GDAL_NUM_THREADS": 1,
}
# Three tries with a pause, and half a minute without a byte ends one: GDAL alone waits for ever,
# and no signal gets through meanwhile. Not a limit on the whole time, which large reads may need.
# Environment variables of these names go before.
_PATIENCE: Final[dict[str, Any]] = {
    "GDAL_HTTP_MAX_RETRY": 3,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "GDAL_HTTP_CONNECTTIMEOUT": 30,
    "GDAL_HTTP_LOW_SPEED_TIME": 30,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1,  # bytes a second
}

# What GDAL says of a file that is not there: on disk, on a web server, in a bucket.
_ABSENT = (
    "No such file",
    "does not exist",
    "response code: 404",
    "response code: 410",
)
# ... of one that it may not read, of a server that hands out whole files only, and of one that does
# not answer as it should.
_REFUSED = (
    "response code: 401",
    "response code: 403",
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "AWS_SECRET_ACCESS_KEY",
)
_WHOLE_ONLY = "Range downloading not supported"
_UNREACHABLE = ("CURL error", "response code: 429", "response code: 5")
# Schemes of buckets, and GDAL's virtual file systems for them,
# https://gdal.org/user/virtual_file_systems.html. Credentials come from GDAL's own environment
# variables (AWS_NO_SIGN_REQUEST, AWS_PROFILE ...).
BUCKETS: Final = {"s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/"}

# Without this, GDAL has OpenJPEG start a thread for each tile of a JPEG 2000 file, and to pass the
# work to it costs more than the decoding itself (measured: 2 to 5 times the time).
os.environ.setdefault("OPJ_NUM_THREADS", "0")


def _is_remote(path: str) -> bool:
    systems = [system.rstrip("/") for system in BUCKETS.values()]  # /vsis3_streaming/ is one too
    return path.startswith(("/vsicurl", *systems, "http://", "https://", "s3://"))


def _options_for(path: str) -> dict[str, str]:
    """Let GDAL look for a local raster's overviews and georeference in files beside it."""
    return {} if _is_remote(path) else {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}


@contextmanager
def gdal_env(**options: Any) -> Iterator[None]:  # noqa: ANN401 (GDAL options are of any type)
    """Run GDAL with nubila's options; safe to nest and to use from any thread."""
    patience = {name: value for name, value in _PATIENCE.items() if name not in os.environ}
    with rasterio.Env(**(_OPTIONS | patience | options)):
        yield


@dataclass(frozen=True)
class RasterInfo:
    """What a raster file says of itself, per band where a tuple is given.

    Attributes:
        grid: where its pixels lie at full resolution.
        block: rows and columns that are decoded together, of the first band.
        overviews: decimations of the first band's overviews.
        nodata: counts that mean no data, or None.
        masked: whether a mask or an alpha band says where there are no data.
        interleaved: whether the file's several bands are stored pixel by pixel.
    """

    path: str
    grid: Grid
    count: int
    dtypes: tuple[str, ...]
    block: tuple[int, int]
    overviews: tuple[int, ...]
    nodata: tuple[float | None, ...]
    masked: tuple[bool, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    descriptions: tuple[str | None, ...]
    tags: dict[str, str]
    interleaved: bool


def read_info(path: str) -> RasterInfo:
    """Open a raster, read its header, and close it.

    Args:
        path: a path or a GDAL ``/vsi...`` name.

    Raises:
        MissingFileError: there is nothing at `path`.
        DamagedFileError: GDAL cannot open it.
        ProductError: the server refuses it or cannot be reached, it holds no raster itself, or its
            name is not UTF-8.
    """
    check_name(path, ProductError)
    try:
        with gdal_env(**_options_for(path)), rasterio.open(path) as data:
            if not data.count:
                raise ProductError(_without_bands(path, data.subdatasets))
            return RasterInfo(
                path=path,
                grid=Grid(data.crs, data.transform, (data.height, data.width)),
                count=data.count,
                dtypes=tuple(data.dtypes),
                block=data.block_shapes[0],
                overviews=tuple(data.overviews(1)),
                nodata=tuple(data.nodatavals),
                masked=masked_bands(data),
                scales=tuple(data.scales),
                offsets=tuple(data.offsets),
                descriptions=tuple(data.descriptions),
                tags=dict(data.tags()),
                interleaved=data.count > 1 and _layout(data) == "PIXEL",
            )
    except RasterioError as error:
        text = str(error)
        shown = _shown(path)
        if any(sign in text for sign in _ABSENT):
            raise MissingFileError(f"{shown}: no such file") from error
        _raise_of_network(shown, error, text)
        raise DamagedFileError(
            f"{shown}: cannot be opened as a raster ({_without_path(text, path)}); damaged or cut "
            f"short? Fetch the file again."
        ) from error


def masked_bands(data: DatasetReader) -> tuple[bool, ...]:
    """Tell for each band of an open raster whether a mask or an alpha band says where data are."""
    return tuple(MaskFlags.per_dataset in flags for flags in data.mask_flag_enums)


def alpha_band(masked: Sequence[bool], nodata: Sequence[float | None]) -> int | None:
    """Return the place of the band that is the others' mask, or None.

    A mask beside the bands would be that band's too. Many writers have the fourth band of an 8-bit
    GeoTIFF marked as alpha, whatever it holds: who names it as data should leave the mask alone.

    Args:
        masked: of each band, as of `masked_bands`.
        nodata: of each band.
    """
    own = [i for i, (one, count) in enumerate(zip(masked, nodata, strict=True))
           if not one and count is None]  # fmt: skip
    return own[0] if any(masked) and own else None


def _shown(path: str) -> str:
    """Return a path for people: an address as s3:// or https://, without what signs it."""
    for scheme, system in BUCKETS.items():
        if path.startswith(system):
            return f"{scheme}://{path.removeprefix(system)}"
    address = path.removeprefix("/vsicurl/")
    return address.partition("?")[0] if address.startswith(("http://", "https://")) else path


def _without_path(text: str, path: str) -> str:
    """Return what GDAL said without the file's name, which our message begins with."""
    name = path.rpartition("/")[2]
    for said in (f"'{path}' ", f"{path}: ", f"{path}:", f"{name}: "):
        text = text.replace(said, "")
    return text.strip().rstrip(".")


def _raise_of_network(shown: str, error: BaseException, text: str) -> None:
    """Raise an error of ours where GDAL's tells of the way to a file and not of the file."""
    if any(sign in text for sign in _REFUSED):
        raise ProductError(
            f"{shown}: the server refuses access ({text}). Sign the address, or give credentials "
            f"as GDAL takes them (AWS_PROFILE; AWS_NO_SIGN_REQUEST=YES for a public bucket)"
        ) from error
    if _WHOLE_ONLY in text:
        raise ProductError(
            f"{shown}: the server hands out whole files only, and no part of one. Download the "
            f"file, and give its path"
        ) from error
    if any(sign in text for sign in _UNREACHABLE):
        raise ProductError(
            f"{shown}: the server cannot be reached or does not answer ({text}). Is the address "
            f"right, and the network there? Try again later"
        ) from error


def _without_bands(path: str, inside: list[str]) -> str:
    listed = "".join(f"\n  {name}" for name in inside)
    return (
        f"{_shown(path)}: holds no bands itself; give one of what is in it:{listed or ' nothing'}"
    )


@dataclass(frozen=True)
class GdalSource:
    """One band of a raster file; opened for each read, so that any thread may read.

    Attributes:
        path: a path or a GDAL ``/vsi...`` name.
        index: band number in the file, from 1.
        masked: whether the file's mask or alpha band says where there are no data.
        interleaved: whether the file's bands are stored pixel by pixel, so that decoding one
            decodes all; see `read_together`.
    """

    path: str
    index: int
    shape: tuple[int, int]
    factors: tuple[int, ...]
    block: tuple[int, int]
    masked: bool = False
    interleaved: bool = False

    @property
    def name(self) -> str:
        """The path, without what signs it."""
        return _shown(self.path)

    def read(self, factor: int, window: Window) -> NDArray[Any]:
        """Return the counts of `window`, which counts in pixels of the level `factor`.

        Where a mask says that there are no data they are NaN, and all are floating-point.

        Raises:
            DamagedFileError: the pixels cannot be decoded.
            ProductError: the server refuses them or cannot be reached.
        """
        return read_together([self], factor, window)[0]


def read_together(sources: Sequence[GdalSource], factor: int, window: Window) -> list[NDArray[Any]]:
    """Return the counts of several bands of one file, which is opened and decoded once.

    Args:
        sources: of the same file.
        factor: one of theirs.
        window: in pixels of the level `factor`.

    Raises:
        DamagedFileError: the pixels cannot be decoded.
        ProductError: the server refuses them or cannot be reached.
    """
    path = sources[0].path
    level = {} if factor == 1 else {"overview_level": sources[0].factors.index(factor) - 1}
    area = RasterioWindow(window.column, window.row, window.width, window.height)
    try:
        with gdal_env(**_options_for(path)), rasterio.open(path, **level) as data:
            counts = list(data.read([source.index for source in sources], window=area))
            for number, source in enumerate(sources):
                if source.masked:
                    empty = data.read_masks(source.index, window=area) == 0
                    counts[number] = np.where(empty, np.float32(np.nan), counts[number])
            return counts
    except RasterioError as error:
        shown = _shown(path)
        _raise_of_network(shown, error, _reason(error))
        # Of a connection that was lost under way GDAL's drivers say only that bytes are missing.
        advice = (
            "the connection was lost, or the file is damaged? Try again later."
            if _is_remote(path)
            else "damaged or cut short? Fetch the file again."
        )
        raise DamagedFileError(
            f"{shown}: rows {window.row} to {window.stop_row} of level 1/{factor} cannot "
            f"be decoded ({_reason(error)}); {advice}"
        ) from error


def _layout(data: Any) -> str:  # noqa: ANN401 (rasterio's datasets are untyped)
    """Return how GDAL says that bands are interleaved: PIXEL, BAND, LINE, TILE or nothing."""
    return str(data.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE", ""))


def _reason(error: BaseException) -> str:
    """Return what GDAL said first; rasterio's own error only points to it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().rstrip(".")


def open_source(path: str, index: int = 1) -> tuple[GdalSource, RasterInfo]:
    """Return the source of one band and the file's header.

    Raises:
        MissingFileError: there is nothing at `path`.
        DamagedFileError: GDAL cannot open it.
        ProductError: the server refuses it or cannot be reached.
    """
    info = read_info(path)
    shape = info.grid.shape
    # Overview sizes are rounded up; from one on that is not (some writers round down) they are
    # left unused, for its pixels would be shifted against the others.
    usable = takewhile(lambda f: _is_plain(path, f, info, shape), info.overviews)
    masked = info.masked[index - 1]
    return GdalSource(path, index, shape, (1, *usable), info.block, masked, info.interleaved), info


def _is_plain(path: str, factor: int, info: RasterInfo, shape: tuple[int, int]) -> bool:
    level = info.overviews.index(factor)
    if level != len([f for f in info.overviews if f < factor]):
        return False
    with gdal_env(**_options_for(path)), rasterio.open(path, overview_level=level) as data:
        return (data.height, data.width) == tuple(math.ceil(n / factor) for n in shape)
