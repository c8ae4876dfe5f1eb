"""Own scenes over mountains: Sentinel-2 Level-1C products, elevation, and masks by tile and date.

::

    scenes/**/S2A_MSIL1C_20210710T101559_..._T32TNS_....zip    (or .SAFE)
    auxiliary/T32TNS/elevation.tif        metres, on any grid in any CRS; `dem.tif` will do too
    auxiliary/elevation.tif               for the tiles that have none of their own
    masks/T32TNS/2021-07-10/mask.tif      0 background, 1 snow, 2 cloud, 3 water, 4 semi-transparent
    masks/T32TNS/2021-07-10/coverage.tif  0 where nobody has labelled; optional

A raster in ``auxiliary`` becomes the band that it is named after; one whose name is no band of
nubila's is not used. Semi-transparent cloud was not always drawn apart, so that "cloud" may be
thin; shadow was never drawn, so that background may be shadow. The group is the date: windows of
one date are alike, whichever tile they are from. Images are read at 20 m unless the manifest says
otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nubila.bands import BANDS
from nubila.datasets.layouts.common import MSI_BANDS, Cells, relative, safe_parts

__all__ = ["rows"]

_CODES: Final = "0=clear|cloud shadow;1=snow;2=cloud|thin cloud;3=water;4=thin cloud"
_OTHER_NAMES: Final = {"dem": "elevation"}


def rows(root: Path) -> Iterator[Cells]:
    """Yield a row for each tile and date that has a product or a mask."""
    products = _products(root)
    masks = {
        (path.parent.name, path.name)
        for path in (root / "masks").glob("T*/????-??-??")
        if path.is_dir()
    }
    for tile, day in sorted({*products} | masks):
        folder = f"masks/{tile}/{day}"
        auxiliary = _auxiliary(root, tile)
        absent = f"scenes/S2_MSIL1C_{day.replace('-', '')}_{tile}.SAFE"
        cells = {
            "image": products.get((tile, day), absent),
            "mask": f"{folder}/mask.tif",
            "bands": ";".join([MSI_BANDS, *auxiliary]),
            "codes": _CODES,
            "sensor": "sentinel-2-msi",
            "level": "L1C",
            "resolution": "20",
            "auxiliary": ";".join(f"{band}={path}" for band, path in auxiliary.items()),
            "group": day,
            "place": tile,
            "date": day,
        }
        covered = (root / folder / "coverage.tif").is_file()
        yield cells | ({"coverage": f"{folder}/coverage.tif"} if covered else {})


def _products(root: Path) -> dict[tuple[str, str], str]:
    """Return (tile, date) -> product; of a product that is there twice, the unpacked one."""
    found: dict[tuple[str, str], str] = {}
    for pattern in ("*.zip", "*.SAFE"):
        for path in sorted((root / "scenes").rglob(pattern)):
            day, tile = safe_parts(path.name)
            if day and tile:
                found[tile, day] = relative(path, root)
    return found


def _auxiliary(root: Path, tile: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for folder in (root / "auxiliary", root / "auxiliary" / tile):
        for path in sorted(folder.glob("*.tif")):
            name = _OTHER_NAMES.get(path.stem.lower(), path.stem.lower())
            if name in BANDS:
                found[name] = relative(path, root)
    return found
