"""Every recipe at toy size, from generated data in the published layout to a mask of a scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from nubila.pipeline import run_recipe
from nubila.recipe import load_recipe
from nubila.scenes import open_scene
from nubila.synth import write_safe
from nubila.synth.collections import write_collection

_RECIPES = Path(__file__).resolve().parents[2] / "recipes"

# Small, short, and without what only long runs need.
_TOY = (
    "batch=2",
    "workers=0",
    "threads=1",
    "precision=32-true",
    "validate_every=2",
    "track.to=[]",
    "track.pictures=1",
    "steps=2",
    "epochs=null",
    "steps_per_epoch=null",
)
_OWN = {
    "catalogue": ("chip=64", "tiling.size=64", "tiling.overlap=8", "model.widths=[4,8,8]"),
    "alps": (
        "chip=32",
        "tiling.size=32",
        "tiling.windows=4",
        "tiling.least_valid=0",
        "model.widths=[4,8]",
        "mask.resolution=60",
    ),
    "cloud38": ("chip=64", "model.encoder=resnet10t"),
    "oncloudn": ("chip=64", "model.encoder=timm-resnest14d"),
    "tiny": ("chip=64", "model.widths=[4,8,8]", "data.manifest=null", "data.dataset=s2cmc"),
}
_LAYOUT = {"catalogue": "s2cmc", "tiny": "s2cmc"}


def _recipe(name: str, folder: Path, *more: str):
    data = folder / "data"
    layout = _LAYOUT.get(name, name)
    write_collection(layout, data, count=6, size=96 if layout != "cloud38" else 64, seed=3)
    return load_recipe(
        _RECIPES / f"{name}.yaml",
        [*_TOY, *_OWN[name], f"data.root={data}", *_tiles(name, folder), *more],
    )


def _elevation(name: str, scene: Path, folder: Path) -> tuple[str, ...]:
    """Elevation for the whole of the scene, on a grid of its own."""
    if name != "alps":
        return ()
    grid = open_scene(scene).grid_at(60)
    bounds = rasterio.transform.array_bounds(*grid.shape, grid.transform)
    transform = rasterio.transform.from_bounds(*bounds, 20, 20)
    path = folder / "elevation.tif"
    profile = {"width": 20, "height": 20, "count": 1, "dtype": "float32", "crs": grid.crs}
    with rasterio.open(path, "w", driver="GTiff", transform=transform, **profile) as out:
        out.write(np.full((1, 20, 20), 1500, np.float32))
    return (f"mask.auxiliary={{elevation: {path}}}",)


def _tiles(name: str, folder: Path) -> tuple[str, ...]:
    return (f"data.tiles={folder / 'tiles'}",) if name in ("catalogue", "alps") else ()


@pytest.mark.parametrize("name", sorted(_OWN))
def test_a_toy_run_goes_from_data_to_a_mask(name: str, tmp_path: Path) -> None:
    scene = write_safe(tmp_path / "scenes", size=240, seed=2).path
    recipe = _recipe(name, tmp_path, f"mask.scenes=[{scene}]", *_elevation(name, scene, tmp_path))
    lines: list[str] = []
    results = run_recipe(recipe, tmp_path / "run", report=lines.append)
    assert [result.stage for result in results] == ["tile", "train", "export", "evaluate", "mask"]
    assert bool(_tiles(name, tmp_path)) == any("class weights by" in line for line in lines)
    (mask,) = (tmp_path / "run" / "masks").glob("*_mask.tif")
    with rasterio.open(mask) as data:
        classes = data.read(1)
    codes = {0, 1, 255} if name != "alps" else {0, 1, 4, 5, 255}
    assert set(np.unique(classes)) <= codes
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    again = run_recipe(recipe, tmp_path / "run", report=lines.append)
    assert all(result.skipped for result in again)
