"""Any images and masks, listed in a manifest that the folder holds or that is given itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nubila.datasets.layouts.common import Cells
from nubila.datasets.manifest import manifest_rows
from nubila.errors import ManifestError

__all__ = ["find_manifest", "rows"]

_NAMES: Final = ("manifest.csv", "manifest.parquet", "manifest.geojson", "manifest.json")


def rows(root: Path) -> Iterator[Cells]:
    """Yield the manifest's rows.

    Raises:
        ManifestError: there is no manifest, or several.
    """
    for _, cells in manifest_rows(find_manifest(root)):
        yield cells


def find_manifest(root: Path) -> Path:
    """Return the manifest of a folder.

    Raises:
        ManifestError: there is none, or several.
    """
    found = [root / name for name in _NAMES if (root / name).is_file()]
    if len(found) != 1:
        there = " and ".join(path.name for path in found) or "none"
        raise ManifestError(f"{root}: expected one of {', '.join(_NAMES)} in it, found {there}")
    return found[0]
