"""On Cloud N: the Cloud Cover Detection Challenge (Radiant Earth, DrivenData 2021).

``train_features/<chip>/B0{2,3,4,8}.tif``, 512 x 512, surface reflectance x 10000 at 10 m;
``train_labels/<chip>.tif``, 0 or 1; ``train_metadata.csv`` with chip_id, location, datetime,
cloudpath. Chips of one location show the same ground, so the location is the group.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nubila.datasets.layouts.common import CLOUD_OR_NOT, Cells, read_listing, stems

__all__ = ["rows"]


def rows(root: Path) -> Iterator[Cells]:
    """Yield a row for each chip of the training set; the test set has no public labels."""
    listed = {
        row["chip_id"]: row
        for path in sorted(root.glob("*metadata*.csv"))
        for row in read_listing(path)
        if row.get("chip_id") and "test" not in path.name
    }
    folder = root / "train_features"
    chips = {p.name for p in folder.iterdir() if p.is_dir()} if folder.is_dir() else set()
    for chip in sorted(chips | stems(root / "train_labels", ".tif") | {*listed}):
        about = listed.get(chip, {})
        yield {
            "image": ";".join(f"train_features/{chip}/B{n}.tif" for n in ("02", "03", "04", "08")),
            "mask": f"train_labels/{chip}.tif",
            "bands": "blue;green;red;nir",
            "scale": "0.0001",
            "nodata": "0",
            "codes": f"0={CLOUD_OR_NOT};1=cloud|thin cloud",
            "sensor": "sentinel-2-msi",
            "level": "L2A",
            "resolution": "10",
            "group": about.get("location") or f"on_cloud_n_{chip}",
            "chip": chip,
            "place": about.get("location", ""),
            "date": about.get("datetime", "")[:10],
        }
