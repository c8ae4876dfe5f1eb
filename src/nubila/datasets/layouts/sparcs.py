"""SPARCS: Landsat 8 subscenes, labelled in full (Hughes and Kennedy 2019, doi:10.3390/rs11212591).

``<scene>_data.tif``, 1000 x 1000 counts of Level-1, ten bands (1 to 7, 9, 10, 11);
``<scene>_mask.png`` (of the USGS) or ``<scene>_labels.tif`` (of the authors): 0 cloud shadow, 1
cloud shadow over water, 2 water, 3 snow or ice, 4 land, 5 cloud, 6 flooded; ``<scene>_mtl.txt``,
of the whole scene. They lie in one folder, anywhere below the root. Thin cloud counts as cloud.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nubila.datasets.layouts.common import Cells, landsat_scaling, relative, year_day

__all__ = ["rows"]

_CODES: Final = (
    "0=cloud shadow;1=cloud shadow;2=water;3=snow;4=clear;5=cloud|thin cloud;6=clear|water"
)
_BANDS: Final = "coastal;blue;green;red;nir08;swir16;swir22;cirrus;-;-"
_NUMBERS: Final = ("1", "2", "3", "4", "5", "6", "7", "9", "10", "11")
_MASKS: Final = ("_mask.png", "_labels.tif")


def rows(root: Path) -> Iterator[Cells]:
    """Yield a row for each subscene."""
    found = {p.with_name(p.name.removesuffix("_data.tif")) for p in root.rglob("*_data.tif")}
    for end in _MASKS:
        found |= {p.with_name(p.name.removesuffix(end)) for p in root.rglob(f"*{end}")}
    for start in sorted(found):
        end = next((e for e in _MASKS if start.with_name(start.name + e).is_file()), _MASKS[0])
        scale, offset = landsat_scaling(start.with_name(f"{start.name}_mtl.txt"), _NUMBERS)
        name = re.match(r"LC8(\d{6})(\d{7})", start.name)
        yield {
            "image": relative(start.with_name(f"{start.name}_data.tif"), root),
            "mask": relative(start.with_name(start.name + end), root),
            "bands": _BANDS,
            "scale": scale,
            "offset": offset,
            "nodata": "0",
            "codes": _CODES,
            "sensor": "landsat-oli",
            "level": "L1TP",
            "resolution": "30",
            "group": name[1] if name else start.name,
            "place": name[1] if name else "",
            "date": year_day(name[2]) if name else "",
        }
