"""GDAL for files on disk that bring others along."""

from __future__ import annotations

from contextlib import AbstractContextManager

from nubila.raster.gdal import gdal_env

__all__ = ["local_env"]


def local_env() -> AbstractContextManager[None]:
    """Run GDAL with nubila's options, and let it look for a header beside a file (ENVI's .hdr)."""
    return gdal_env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE")
