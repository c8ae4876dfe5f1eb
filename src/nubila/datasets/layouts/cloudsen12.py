"""CloudSEN12+ as GeoTIFF (Aybar et al. 2024, doi:10.1016/j.dib.2024.110852).

``<label type>/<roi>/<image>/S2L1C.tif``, 13 bands in reflectance x 10000 at 10 m (509 x 509 or
2000 x 2000 pixels), with ``labels/manual_hq.tif`` (or ``manual_sc.tif`` for scribbles) beside it:
0 clear, 1 thick cloud, 2 thin cloud, 3 cloud shadow, 99 not labelled. ``metadata.csv`` gives the
published split (a column ``split``, or ``test`` as 0 or 1) by ``roi_id``; without it, places are
shared out by nubila. "Clear" may be snow or water.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nubila.datasets.layouts.common import MSI_BANDS, Cells, read_listing, relative

__all__ = ["rows"]

_CODES: Final = "0=clear|snow|water;1=cloud;2=thin cloud;3=cloud shadow;99=ignored"
_LABELS: Final = ("manual_hq.tif", "manual_sc.tif")
_SPLITS: Final = {"val": "validation", "validation": "validation", "train": "train",
                  "test": "test"}  # fmt: skip


def rows(root: Path) -> Iterator[Cells]:
    """Yield a row for each image that has, or should have, a label drawn by hand."""
    listed = {row["roi_id"]: row for row in read_listing(root / "metadata.csv") if "roi_id" in row}
    images = {path.parent for path in root.rglob("S2L1C.tif")}
    labelled = {path.parent.parent for name in _LABELS for path in root.rglob(f"labels/{name}")}
    for folder in sorted(images | labelled):
        label = next((n for n in _LABELS if (folder / "labels" / n).is_file()), _LABELS[0])
        place = folder.parent.name
        found = re.match(r"(\d{4})(\d\d)(\d\d)T", folder.name)
        yield {
            "image": relative(folder / "S2L1C.tif", root),
            "mask": relative(folder / "labels" / label, root),
            "bands": MSI_BANDS,
            "scale": "0.0001",
            "nodata": "0",
            "codes": _CODES,
            "sensor": "sentinel-2-msi",
            "level": "L1C",
            "resolution": "10",
            "split": _split(folder.relative_to(root).parts, listed.get(place, {})),
            "group": place,
            "place": place,
            "date": "-".join(found.groups()) if found else "",
            "label_type": "scribble" if label == _LABELS[1] else "high",
        }


def _split(parts: tuple[str, ...], about: Cells) -> str:
    if about.get("split"):
        return _SPLITS.get(about["split"].lower(), about["split"])
    if about.get("test") == "1":
        return "test"
    return next((_SPLITS[part] for part in parts if part in _SPLITS), "")
