"""Small labelled images on disk, and samples in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nubila.datasets import Sample, SampleSpec, read_manifest
from nubila.datasets.sample import SampleMeta

BANDS = ("blue", "green", "red")
CODES = "0=clear|snow|water;1=cloud;2=thin cloud;3=cloud shadow"


def write_samples(folder: Path, shapes: list[tuple[int, int]], **columns: str) -> Path:
    """Write a manifest of random images, of which each is a group; 9 in the mask is ignored."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(7)
    header = ["image", "mask", "bands", "scale", "codes", "group", "date", *columns]
    lines = [",".join(header)]
    for number, shape in enumerate(shapes):
        image = random.integers(0, 9000, (3, *shape)).astype(np.uint16)
        np.save(folder / f"i{number}.npy", image)
        np.save(folder / f"m{number}.npy", random.choice([0, 1, 2, 3, 9], shape).astype(np.uint8))
        cells = [f"i{number}.npy", f"m{number}.npy", ";".join(BANDS), "0.0001", CODES]
        cells += [f"place{number}", f"2020-01-{number + 1:02}", *columns.values()]
        lines.append(",".join(cells))
    path = folder / "manifest.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def toy_specs(
    folder: Path, shapes: list[tuple[int, int]], **columns: str
) -> tuple[SampleSpec, ...]:
    return read_manifest(write_samples(folder, shapes, **columns))


def toy_sample(image: np.ndarray, label: np.ndarray, **meta: Any) -> Sample:
    about = {
        **{"id": "a", "folder": ".", "group": "a", "split": "", "sensor": "unknown", "level": ""},
        **{"resolution": 10.0, "tags": {}},
    }
    return Sample(image, label, BANDS[: len(image)], SampleMeta(**(about | meta)))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by its name in it."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
