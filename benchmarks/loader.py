"""Whether tiles come faster than a network can eat them.

    python benchmarks/loader.py

Writes synthetic labelled images of 22 Mpx into build/benchmark, cuts them into a tile store, reads
the store back tile by tile and through PyTorch's loader, and trains the tiny U-Net on its batches.
Rates are of one run on one machine, by the clock and by CPU seconds of all threads and workers;
what counts are the ratios, on a busy machine those of CPU seconds.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch
from torch.utils.data import DataLoader, Dataset

from nubila.datasets import output_sets, read_manifest
from nubila.nn import build_network
from nubila.recipe import Recipe
from nubila.recipe.data import Data, Tiling
from nubila.tiles import TileStore, write_store
from nubila.tiles.statistics import BINARY

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22", "cirrus", "coastal", "rededge071",
         "rededge075", "rededge078", "nir08", "nir09")  # fmt: skip
SIDE = 1022  # pixels, of a subscene of the Sentinel-2 Cloud Mask Catalogue
IMAGES = 21  # 21.9 Mpx


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    manifest = write_images(arguments.work / f"loader{arguments.bands}", arguments.bands)
    bands = BANDS[: arguments.bands]
    tiling = Tiling(size=arguments.size)
    recipe = Recipe(
        steps=1, bands=bands, required=(), classes=BINARY, model={"name": arguments.model},
        chip=arguments.size // 32 * 32, data=Data(manifest=manifest, root=manifest.parent),
    )  # fmt: skip
    path = arguments.work / "loader_store"
    shutil.rmtree(path, ignore_errors=True)
    specs = read_manifest(manifest)
    stores: list[TileStore] = []
    cut = measure(
        lambda: stores.append(
            write_store(specs, path, tiling, bands=bands, workers=arguments.threads)
        ),
        IMAGES * SIDE * SIDE / 1e6,
    )
    (store,) = stores
    count, batch = len(store), arguments.batch
    print(f"{platform.processor() or platform.machine()}, {arguments.threads} threads")
    pixels = IMAGES * SIDE * SIDE / 1e6
    print(f"{pixels:.1f} Mpx of {len(bands)} bands, {count} tiles of {tiling.size}")
    print(f"tiling            {cut.wall:8.1f} Mpx/s {cut.cpu:8.1f} Mpx/CPU s")
    step = warm(*training(recipe, store, batch, arguments.steps))
    print(f"training step     {step.wall:8.1f} tiles/s {step.cpu:7.1f} tiles/CPU s, batch {batch}")
    for name, work in {
        "store[i]": lambda: read(store),
        "loader, no worker": lambda: load(store, batch, 0),
        "loader, 1 worker": lambda: load(store, batch, 1),
    }.items():
        found = warm(work, count)
        times = f"{found.wall / step.wall:.1f} and {found.cpu / step.cpu:.1f} times a step"
        print(f"{name:18}{found.wall:8.1f} tiles/s {found.cpu:7.1f} tiles/CPU s, {times}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build/benchmark"))
    parser.add_argument("--bands", type=int, default=4, help="4 as tiny, 13 as alps")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def write_images(folder: Path, bands: int) -> Path:
    """Return a manifest of smooth noisy images with masks, written unless they are there."""
    manifest = folder / "manifest.csv"
    if manifest.is_file():
        return manifest
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    names = ";".join(BANDS[:bands])
    rows = ["image,mask,bands,scale,codes"]
    for number in range(IMAGES):
        coarse = random.integers(200, 8000, (bands, 33, 33))
        image = np.kron(coarse, np.ones((31, 31)))[:, :SIDE, :SIDE]
        image += random.normal(0, 60, image.shape)
        mask = (image[0] > 4000).astype(np.uint8)[None]
        save(folder / f"i{number}.tif", image.clip(0).astype(np.uint16))
        save(folder / f"m{number}.tif", mask)
        rows.append(f"i{number}.tif,m{number}.tif,{names},0.0001,0=clear|snow|water;1=cloud")
    manifest.write_text("\n".join(rows) + "\n")
    return manifest


def save(path: Path, values: np.ndarray) -> None:
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    with rasterio.open(path, "w", driver="GTiff", compress="deflate", tiled=True, **shape) as data:
        data.write(values)


class Batches(Dataset):
    """Tiles as the loader gives them to a network: float32 images and output sets."""

    def __init__(self, store: TileStore) -> None:
        self.store, self.outputs = store, output_sets(BINARY)

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        tile = self.store[place]
        return tile.image.astype(np.float32), self.outputs[tile.label]


def read(store: TileStore) -> None:
    for tile in store:
        assert tile.image.size


def load(store: TileStore, batch: int, workers: int) -> None:
    order = torch.randperm(len(store), generator=torch.Generator().manual_seed(0)).tolist()
    for _ in DataLoader(Batches(store), batch_size=batch, sampler=order, num_workers=workers):
        pass


def training(
    recipe: Recipe, store: TileStore, batch: int, steps: int
) -> tuple[Callable[[], None], int]:
    """Return a function that trains some steps, and the tiles that it eats."""
    network = build_network(recipe).train()
    count = sum(p.numel() for p in network.parameters())
    print(f"{recipe.model.name:17}{count:7,} parameters")
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    tiles = [Batches(store)[i] for i in range(batch)]
    images, sets = (torch.from_numpy(np.stack(part)) for part in zip(*tiles, strict=True))
    images = images[..., : recipe.chip, : recipe.chip]
    target = (sets[..., : recipe.chip, : recipe.chip] == 2).long()

    def run() -> None:
        for _ in range(steps):
            logits = network(images)
            if logits.shape[1] == 1:  # of two classes only the second has a logit
                logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
            loss = torch.nn.functional.cross_entropy(logits, target)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    return run, steps * batch


@dataclass(frozen=True)
class Rate:
    """Items a second, by the clock and by CPU seconds."""

    wall: float
    cpu: float


def measure(work: Callable[[], None], items: float) -> Rate:
    wall, cpu = time.perf_counter(), sum(os.times()[:4])
    work()
    return Rate(items / (time.perf_counter() - wall), items / (sum(os.times()[:4]) - cpu))


def warm(work: Callable[[], None], items: float) -> Rate:
    """Measure the second round, when files and caches are warm."""
    work()
    return measure(work, items)


if __name__ == "__main__":
    main()
