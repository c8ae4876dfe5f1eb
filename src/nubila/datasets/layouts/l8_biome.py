"""Landsat 8 Biome cloud validation masks (Foga et al. 2017, doi:10.1016/j.rse.2017.03.026).

Scenes, anywhere below the root: ``<scene>_B1.TIF`` ... with ``<scene>_fixedmask.img`` and
``<scene>_MTL.txt``, as the USGS has them; or ``<scene>.TIF`` with 11 bands and
``<scene>_fixedmask.TIF``, as torchgeo packs them. Codes: 0 fill, 64 shadow, 128 clear, 192 thin
cloud, 255 cloud. The folder above a scene's is its biome.

Also patches in ``images/*.tif`` and ``masks/*.tif``: bands 2 to 7, 9, 10 as reflectance x 10000.

Shadow was drawn in some scenes only. Where a mask has none, its "clear" may hide shadow that
nobody drew, so the label there cannot tell the two apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import rasterio
from rasterio.errors import RasterioError

from nubila.datasets.layouts.common import (
    CLOUD_OR_NOT,
    Cells,
    landsat_scaling,
    relative,
    stems,
    year_day,
)
from nubila.datasets.local import local_env

__all__ = ["rows"]

_PATCH_BANDS: Final = "blue;green;red;nir08;swir16;swir22;cirrus;-"
_FILES: Final = ("1", "2", "3", "4", "5", "6", "7", "9")
_FILE_BANDS: Final = "coastal;blue;green;red;nir08;swir16;swir22;cirrus"
_STACK: Final = tuple(str(n) for n in range(1, 12))
_STACK_BANDS: Final = "coastal;blue;green;red;nir08;swir16;swir22;-;cirrus;-;-"
# Rows and columns of a scene's mask that are looked at for shadow, of some 7700.
_LOOKED_AT: Final = 1000


def rows(root: Path) -> Iterator[Cells]:
    """Yield a row for each patch, or for each scene where there are no patches."""
    names = stems(root / "images", ".tif") | stems(root / "masks", ".tif")
    if names:
        yield from (_patch(root, name) for name in sorted(names))
        return
    masks = [p for p in root.rglob("*_fixedmask.*") if p.suffix.lower() in (".img", ".tif")]
    scenes = {p.with_name(p.stem.removesuffix("_fixedmask")): p for p in sorted(masks)}
    images = {p.with_name(p.name[:-4]) for p in root.rglob("LC8*.TIF") if "_" not in p.name}
    images |= {p.with_name(p.name[:-7]) for p in root.rglob("LC8*_B2.TIF")}
    for start in sorted({*scenes} | images):
        yield _scene(root, start, scenes.get(start))


def _codes(mask: Path) -> str:
    drawn = _has_shadow(mask)
    clear = "clear|snow|water" if drawn else CLOUD_OR_NOT
    shadow = "64=cloud shadow;" if drawn else ""
    return f"0=ignored;{shadow}128={clear};192=thin cloud;255=cloud"


def _has_shadow(mask: Path) -> bool:
    try:
        with local_env(), rasterio.open(mask) as data:
            step = max(1, max(data.shape) // _LOOKED_AT)
            seen = data.read(1, out_shape=(data.height // step, data.width // step))
    except RasterioError:
        return False  # `datasets.check` says what is wrong with it
    return bool((seen == 64).any())


def _patch(root: Path, name: str) -> Cells:
    return {
        "image": f"images/{name}.tif",
        "mask": f"masks/{name}.tif",
        "bands": _PATCH_BANDS,
        "scale": "0.0001",
        "codes": _codes(root / "masks" / f"{name}.tif"),
        "sensor": "landsat-oli",
        "level": "L1TP",
        "resolution": "30",
        "group": name.rpartition("_")[0],
        "place": name.rpartition("_")[0],
        "biome": name.partition("_")[0],
    }


def _scene(root: Path, start: Path, mask: Path | None) -> Cells:
    stack = start.with_name(f"{start.name}.TIF")
    if stack.is_file():
        files, bands, numbers = [stack], _STACK_BANDS, _STACK
    else:
        files = [start.with_name(f"{start.name}_B{n}.TIF") for n in _FILES]
        bands, numbers = _FILE_BANDS, _FILES
    mask = mask or start.with_name(f"{start.name}_fixedmask.img")
    scale, offset = landsat_scaling(start.with_name(f"{start.name}_MTL.txt"), numbers)
    name = re.match(r"LC8(\d{6})(\d{7})", start.name)
    return {
        "image": ";".join(relative(file, root) for file in files),
        "mask": relative(mask, root),
        "bands": bands,
        "scale": scale,
        "offset": offset,
        "nodata": "0",
        "codes": _codes(mask),
        "sensor": "landsat-oli",
        "level": "L1TP",
        "resolution": "30",
        "group": start.name,
        "place": name[1] if name else "",
        "date": year_day(name[2]) if name else "",
        "biome": start.parent.parent.name if start.parent != root else "",
    }
