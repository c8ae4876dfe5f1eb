"""The synthetic chips of a recipe: made once, kept in a folder, read from there as needed."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import NO_DATA
from nubila.datasets.order import order_bands
from nubila.raster.atomic import atomic_path
from nubila.recipe import Recipe
from nubila.synth import random_chip
from nubila.synth.instrument import SENSOR_BANDS
from nubila.train.samples import Labelled

__all__ = ["held_out_count", "synthetic_pool"]

_SHAPE: Final = (256, 256)
_SENSOR: Final = "sentinel-2-msi"
# Kept out of training, to watch the classes that few real labels name.
_HELD_OUT: Final = 32
# Kinds of synthetic chips, in turn; an odd number, so that each comes at both levels. Left to
# chance, half of all pixels would be cloud and few would be snow or open ground.
_PRESETS: Final = (
    *("mixed", "snow", "clear", "snow", "cumulus", "desert", "snow"),
    *("coast", "cirrus", "snow", "clear", "city", "mixed"),
)


def synthetic_pool(recipe: Recipe, report: Callable[[str], None]) -> list[Labelled]:
    """Return the synthetic chips, making them where the cache does not have them as they are now.

    Args:
        recipe: says how many, of which bands, and the folder; chip i of a seed is always the same.
        report: called with each line for people.
    """
    spec = recipe.synth
    if spec.chips == 0:
        return []
    spec.cache.mkdir(parents=True, exist_ok=True)
    stem = (
        f"chips-{spec.chips}-seed-{recipe.seed}-bands-{zlib.crc32(repr(recipe.bands).encode()):08x}"
    )
    images, labels = spec.cache / f"{stem}-image.npy", spec.cache / f"{stem}-label.npy"
    if not _up_to_date(recipe, images, labels):
        report(f"making {spec.chips} synthetic chips in {spec.cache}")
        _make(recipe, images, labels, report)
    return [Labelled(i, m, "synthetic") for i, m in zip(*_open(images, labels), strict=True)]


def held_out_count(chips: int) -> int:
    """Return how many of so many synthetic chips, the first ones, are kept to validate on."""
    return min(_HELD_OUT, chips // 10)


def _open(images: Path, labels: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    return np.load(images, mmap_mode="r"), np.load(labels, mmap_mode="r")


def _up_to_date(recipe: Recipe, images: Path, labels: Path) -> bool:
    """Tell whether the chips kept are those that would be made now, by making a few anew."""
    if not (images.is_file() and labels.is_file()):
        return False
    try:
        kept = _open(images, labels)
    except (OSError, ValueError, EOFError):
        return False
    count, bands = recipe.synth.chips, len(recipe.bands)
    if kept[0].shape[:2] != (count, bands) or len(kept[1]) != count:
        return False
    for number in {0, count // 2, count - 1}:
        image, label = _chip(recipe, number)
        if not np.array_equal(kept[0][number], image, equal_nan=True):
            return False
        if not np.array_equal(kept[1][number], label):
            return False
    return True


def _make(recipe: Recipe, images: Path, labels: Path, report: Callable[[str], None]) -> None:
    count = recipe.synth.chips
    with atomic_path(images) as image_file, atomic_path(labels) as label_file:
        image_pool = np.lib.format.open_memmap(
            image_file, "w+", np.float16, (count, len(recipe.bands), *_SHAPE)
        )
        label_pool = np.lib.format.open_memmap(label_file, "w+", np.uint8, (count, *_SHAPE))
        for number in range(count):
            image_pool[number], label_pool[number] = _chip(recipe, number)
            if number % 100 == 99:
                report(f"  {number + 1} of {count}")
        image_pool.flush()
        label_pool.flush()


def _chip(recipe: Recipe, number: int) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    """Return chip `number`: every other at the ground, where there is no cirrus band.

    Bands that Sentinel-2 does not have, such as elevation, are NaN.
    """
    level = "L1C" if number % 2 == 0 else "L2A"
    made = [b for b in recipe.bands if b in SENSOR_BANDS[_SENSOR]]
    bands = tuple(b for b in made if level == "L1C" or b != "cirrus")
    random = np.random.default_rng([recipe.seed, number])
    preset = _PRESETS[number % len(_PRESETS)]
    image, truth = random_chip(
        random, _SHAPE, bands=bands, level=level, sensor=_SENSOR, preset=preset
    )
    known = truth != NO_DATA
    label = np.where(known, np.left_shift(1, np.where(known, truth, 0)), 0).astype(np.uint8)
    return order_bands(image, bands, recipe.bands).astype(np.float16), label
