"""A recipe of a few steps on generated images, for the tests of training and of export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio

__all__ = ["write_toy_recipe"]

_RECIPE = """\
seed: 5
steps: 6
batch: 2
chip: 48
workers: 0
validate_every: 3
checkpoint_minutes: 1.0e-9
data: {manifest: toy.csv, root: .}
model: {widths: [16, 16]}
optim: {ema: 0.5, lr: 0.01}
track: {to: [], pictures: 1}
export:
  name: toy
  summary: A toy.
  licences: {places: CC0-1.0}
  biases: {snow: -0.5}
  without: {swir1: snow is cloud}
"""


def write_toy_recipe(folder: Path) -> Path:
    """Write three images, bright where there is cloud, and a recipe; return the recipe's path."""
    random = np.random.default_rng(0)
    (folder / "places").mkdir()
    lines = ["image,mask,bands,scale,codes,split,group"]
    for number, split in enumerate(("train", "train", "validation")):
        cloud = np.kron(random.uniform(0, 1, (6, 7)), np.ones((16, 16))) > 0.5
        counts = np.where(cloud, 6000, 800) + random.integers(0, 300, (7, *cloud.shape))
        _write(folder / f"places/image{number}.tif", counts.astype(np.uint16))
        _write(folder / f"places/mask{number}.tif", cloud[None].astype(np.uint8))
        lines.append(
            f"places/image{number}.tif,places/mask{number}.tif,blue;green;red;nir;swir16;swir22;cirrus,0.0001,"
            f"0=clear|water;1=cloud,{split},place{number}"
        )
    (folder / "toy.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    recipe = folder / "toy.yaml"
    recipe.write_text(_RECIPE, encoding="utf-8")
    return recipe


def _write(path: Path, values: np.ndarray) -> None:
    profile = {"count": len(values), "height": values.shape[1], "width": values.shape[2]}
    with rasterio.open(path, "w", driver="GTiff", dtype=values.dtype, **profile) as out:
        out.write(values)
