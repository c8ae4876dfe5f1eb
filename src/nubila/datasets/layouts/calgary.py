"""Cloud shadow painted by hand over farmland near Calgary, six dates of one place.

``<date>/RGB.tif`` (8 bits, 2.5 x 255 x reflectance of B04, B03, B02), ``<date>/B08.tif`` (16 bits,
65535 x reflectance), ``<date>/shadowBaseline.tif`` on some dates: (0, 255, 0) is shadow, the rest
is a grey backdrop that says "no shadow" and nothing of cloud. All dates are one place, so they all
are of one split.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nubila.datasets.layouts.common import Cells

__all__ = ["rows"]


def rows(root: Path) -> Iterator[Cells]:
    """Yield a row for each date that was painted."""
    for mask in sorted(root.glob("*/shadowBaseline.tif")):
        day = mask.parent.name
        yield {
            "image": f"{day}/RGB.tif;{day}/B08.tif",
            "mask": f"{day}/shadowBaseline.tif",
            "bands": "red;green;blue;nir",
            "scale": f"{1 / (2.5 * 255):.6g};{1 / 65535:.6g}",
            "codes": "65280=cloud shadow;*=clear|cloud|thin cloud|snow|water",
            "sensor": "sentinel-2-msi",
            "level": "L2A",
            "split": "train",
            "group": "calgary",
            "place": "calgary",
            "date": day,
        }
