"""Small samples on disk, for the tests of this room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nubila.datasets import SampleSpec, read_manifest, write_manifest

__all__ = ["write_samples"]


def write_samples(
    folder: Path,
    images: Sequence[NDArray[np.floating]],
    masks: Sequence[NDArray[np.uint8]],
    cells: Sequence[Mapping[str, str]] | None = None,
    *,
    bands: str = "blue,green,red,nir",
    codes: str = "0=clear|snow|water|cloud shadow;1=cloud|thin cloud;9=ignored",
) -> Path:
    """Write images (bands, rows, columns) of reflectance and masks; return their manifest."""
    (folder / "set").mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
        name = f"set/s{number:03d}"
        np.save(folder / f"{name}.npy", image.astype(np.float32))
        np.save(folder / f"{name}_mask.npy", mask)
        row = {"image": f"{name}.npy", "mask": f"{name}_mask.npy", "bands": bands, "codes": codes}
        rows.append(row | dict(cells[number] if cells else {}))
    path = folder / "manifest.csv"
    write_manifest(path, rows)
    return path


def specs_of(manifest: Path) -> tuple[SampleSpec, ...]:
    """Read a manifest's samples."""
    return read_manifest(manifest)
