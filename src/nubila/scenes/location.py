"""What GDAL calls a path or a URL, and reading small text files from either."""

from __future__ import annotations

import os
import posixpath
import re
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qs, unquote, urljoin, urlsplit
from urllib.request import urlopen

from nubila.errors import MissingFileError, ProductError
from nubila.raster.gdal import BUCKETS

__all__ = ["gdal_path", "is_url", "read_text", "resolve", "unsigned"]

_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_MOST_BYTES: Final = 16 * 2**20
_PATIENCE_SECONDS: Final = 30


def is_url(location: str) -> bool:
    """Tell whether a location begins with a scheme such as ``https://`` or ``s3://``."""
    return _SCHEME.match(location) is not None


def unsigned(location: str) -> str:
    """Return a web address without its query, which may sign it; a local path as it is.

    What signs an address must not get into files, nor tell two of them apart.

    >>> unsigned("/vsicurl/https://example.org/B04.tif?sig=a%2Bb")
    '/vsicurl/https://example.org/B04.tif'
    >>> unsigned("odd?.tif")
    'odd?.tif'
    """
    if location.startswith("/vsicurl?"):
        # GDAL takes options of the connection in a query, and the address as one of them.
        address = parse_qs(location.partition("?")[2]).get("url", [""])[0]
        return unsigned(f"/vsicurl/{address}")
    remote = is_url(location) or location.startswith("/vsi")
    return location.partition("?")[0] if remote else location


def gdal_path(location: str) -> str:
    """Return what GDAL calls a path or URL; query strings (signed URLs) stay as they are.

    Raises:
        ProductError: GDAL has no file system for the URL's scheme.

    >>> gdal_path("https://example.org/B04.tif?sig=a%2Bb")
    '/vsicurl/https://example.org/B04.tif?sig=a%2Bb'
    >>> gdal_path("s3://bucket/B04.tif")
    '/vsis3/bucket/B04.tif'
    """
    found = _SCHEME.match(location)
    if found is None:
        return location
    scheme, rest = found[1].lower(), location[found.end() :]
    if scheme in ("http", "https"):
        return f"/vsicurl/{location}"
    if scheme in BUCKETS:
        return BUCKETS[scheme] + rest
    if scheme == "file":
        return unquote(urlsplit(location).path)
    raise ProductError(
        f"{location}: no way to read {scheme}://; give a path, http(s)://, "
        f"{', '.join(f'{name}://' for name in BUCKETS)}, or a GDAL /vsi... name"
    )


def resolve(reference: str, base: str) -> str:
    """Return a reference made absolute against the path or URL of the file that names it.

    Of a local one that is not there, the percent-encoding is taken off if that leads to a file.

    >>> resolve("./B04.tif", "https://example.org/items/item.json?token=x")
    'https://example.org/items/B04.tif'
    >>> resolve("../B04.tif", "data/items/item.json")
    'data/B04.tif'
    """
    if is_url(reference) or reference.startswith("/vsi"):
        return reference
    if base.lower().startswith(("http://", "https://", "file://")):
        return urljoin(base, reference)
    scheme = None if reference.startswith("/") else _SCHEME.match(base)
    start = base[: scheme.end()] if scheme else ""
    folder = posixpath.dirname(base[len(start) :].replace("\\", "/"))
    # The folder is not decoded: it is as it was given.
    as_written, decoded = (
        posixpath.normpath(posixpath.join(folder, each)) for each in (reference, unquote(reference))
    )
    if not start and not os.path.exists(as_written) and os.path.exists(decoded):  # noqa: PTH110
        return decoded
    return start + as_written


def read_text(location: str) -> str:
    """Return a small text file from a path or an http(s) URL.

    Raises:
        MissingFileError: there is nothing at `location`.
        ProductError: it cannot be fetched, is larger than 16 MiB, or is not UTF-8.
    """
    shown = unsigned(location)
    try:
        if location.lower().startswith(("http://", "https://", "file://")):
            with urlopen(location, timeout=_PATIENCE_SECONDS) as answer:
                content = answer.read(_MOST_BYTES + 1)
        elif is_url(location):
            raise ProductError(f"{location}: give the https:// address of this file, or a copy")
        else:
            with Path(location).open("rb") as file:
                content = file.read(_MOST_BYTES + 1)
    except HTTPError as error:
        kind = MissingFileError if error.code in (404, 410) else ProductError
        advice = "; sign the address, or ask for access" if error.code in (401, 403) else ""
        raise kind(f"{shown}: the server answered {error.code} {error.reason}{advice}") from error
    except FileNotFoundError as error:
        raise MissingFileError(f"{shown}: no such file") from error
    except (OSError, HTTPException, ValueError) as error:
        told = error.reason if isinstance(error, URLError) else error
        raise ProductError(f"{shown}: cannot be read: {told}") from error
    if len(content) > _MOST_BYTES:
        raise ProductError(f"{shown}: larger than {_MOST_BYTES} bytes, so no metadata file")
    try:
        return bytes(content).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProductError(f"{shown}: not a text file: {error}") from error
