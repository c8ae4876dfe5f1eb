"""Sentinel-2 Cloud Mask Catalogue (Francis et al. 2020, Zenodo 4172871).

``subscenes/<scene>.npy`` (1022, 1022, 13) float32 reflectance at the top of the atmosphere, 20 m;
``masks/<scene>.npy`` (1022, 1022, 3) bool, one-hot clear, cloud, cloud shadow;
``classification_tags.csv`` with a row a scene. Where its ``shadows_marked`` is not 1, shadow was
not drawn, so that "clear" may hide it and the label there cannot tell the two apart.

Also the published thumbnails in ``images/*.png``, with 0/1 masks in ``masks/*.png``: 8-bit RGB of
about 45 m, 255 = a reflectance of about 0.4 and everything brighter; shadow counts as not cloud.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nubila.datasets.layouts.common import (
    CLOUD_OR_NOT,
    MSI_BANDS,
    Cells,
    read_listing,
    safe_parts,
    stems,
)

__all__ = ["rows"]

# An .npy of three layers of 0 and 1 is read as red * 65536 + green * 256 + blue.
_CLEAR, _CLOUD, _SHADOW = 65536, 256, 1


def rows(root: Path) -> Iterator[Cells]:
    """Yield a row for each scene, or each thumbnail where there are no scenes."""
    tags = {row.get("scene", ""): row for row in read_listing(root / "classification_tags.csv")}
    names = stems(root / "subscenes", ".npy") | stems(root / "masks", ".npy")
    if names or (root / "subscenes").is_dir():
        yield from (_subscene(name, tags.get(name, {})) for name in sorted(names | {*tags} - {""}))
        return
    thumbnails = stems(root / "images", ".png") | stems(root / "masks", ".png")
    yield from (_thumbnail(name, tags.get(name, {})) for name in sorted(thumbnails))


def _subscene(name: str, tags: Cells) -> Cells:
    clear = "clear|snow|water" if tags.get("shadows_marked") == "1" else CLOUD_OR_NOT
    return {
        "image": f"subscenes/{name}.npy",
        "mask": f"masks/{name}.npy",
        "bands": MSI_BANDS,
        "codes": f"{_CLEAR}={clear};{_CLOUD}=cloud|thin cloud;{_SHADOW}=cloud shadow",
        "resolution": "20",
        **_common(name, tags),
    }


def _thumbnail(name: str, tags: Cells) -> Cells:
    return {
        "image": f"images/{name}.png",
        "mask": f"masks/{name}.png",
        "bands": "red;green;blue",
        "scale": f"{0.4 / 255:.6g}",
        "codes": f"0={CLOUD_OR_NOT};1=cloud|thin cloud",
        "resolution": "45",
        **_common(name, tags),
    }


def _common(name: str, tags: Cells) -> Cells:
    day, tile = safe_parts(name)
    given = {key: text for key, text in tags.items() if key not in ("scene", "index", "")}
    return given | {
        "sensor": "sentinel-2-msi",
        "level": "L1C",
        "group": tile or name,
        "place": tile,
        "date": day,
    }
