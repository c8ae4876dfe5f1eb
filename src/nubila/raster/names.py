"""Names that every part of the way can hold, and the one by which nubila knows its own files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from nubila.errors import NubilaError

__all__ = ["VERSION_TAG", "check_name"]

# Tag of every raster that nubila writes of a scene, by which it knows its own files.
VERSION_TAG: Final = "NUBILA_VERSION"


def check_name(path: str | Path, error: type[NubilaError]) -> None:
    """Refuse a name that is not UTF-8: GDAL takes no other, nor can an item in JSON hold it.

    Raises:
        NubilaError: as `error`.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        raise error(
            f"{shown}: a name that is not UTF-8, which GDAL cannot open; rename the file or folder "
            f"(convmv brings old names to UTF-8)"
        ) from None
