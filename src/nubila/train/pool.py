"""Chips that a recipe has made: once, kept in a folder, read from there as needed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from nubila.classes import NO_DATA
from nubila.datasets.order import order_bands
from nubila.detect import open_detector
from nubila.raster.atomic import atomic_path
from nubila.recipe import Recipe
from nubila.synth import random_chip
from nubila.synth.instrument import SENSOR_BANDS
from nubila.train.folder import data_hash
from nubila.train.samples import Labelled
from nubila.train.signals import leave_signals
from nubila.train.views import SIDE, ViewMaker

__all__ = ["held_out_count", "synthetic_pool", "view_pool"]

_Made = tuple[NDArray[np.float16], NDArray[np.uint8]]
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

    def make(numbers: Iterable[int]) -> Iterator[_Made]:
        return (_chip(recipe, number) for number in numbers)

    stem = f"chips-{spec.chips}-seed-{recipe.seed}-bands-{_digest(recipe.bands)}"
    kept = _Kept(spec.cache / stem, (spec.chips, len(recipe.bands)), "synthetic chips")
    return [Labelled(i, m, "synthetic") for i, m in kept.filled(make, report)]


def view_pool(
    recipe: Recipe, images: Sequence[Labelled], report: Callable[[str], None]
) -> list[Labelled]:
    """Return the views of training images that detectors have judged, as `synthetic_pool`.

    They are made by as many processes as training itself has threads and workers.

    Args:
        recipe: says how many, by which detectors, and the folder.
        images: training samples; views of other ones are kept apart.
        report: called with each line for people.

    Raises:
        ManifestError: as `ViewMaker`.
        NubilaError: as `detect.open_detector`.
    """
    spec = recipe.views
    if spec.chips == 0:
        return []
    maker = ViewMaker.of(recipe, images, [open_detector(name) for name in spec.detectors])
    workers = recipe.workers + recipe.threads

    def make(numbers: Iterable[int]) -> Iterator[_Made]:
        # The check of a few views, too, is done by processes: one that has run ONNX Runtime should
        # not be forked.
        return iter(
            DataLoader(
                maker,
                batch_size=None,
                sampler=numbers,
                num_workers=workers,
                prefetch_factor=4,
                collate_fn=_as_it_is,
                worker_init_fn=leave_signals,
            )
        )

    of = _digest((recipe.bands, spec.detectors, sorted(spec.weights.items()), data_hash(images)))
    stem = f"views-{spec.chips}-seed-{recipe.seed}-of-{of}"
    kept = _Kept(spec.cache / stem, (spec.chips, len(recipe.bands)), "views")
    return [Labelled(i, m, "views") for i, m in kept.filled(make, report)]


def held_out_count(chips: int) -> int:
    """Return how many of so many synthetic chips, the first ones, are kept to validate on."""
    return min(_HELD_OUT, chips // 10)


def _digest(what: object) -> str:
    return f"{zlib.crc32(repr(what).encode()):08x}"


def _as_it_is(made: Any) -> Any:  # noqa: ANN401 (PyTorch's type of what collates)
    return made


@dataclass(frozen=True)
class _Kept:
    """Chips in two files.

    Attributes:
        stem: path of the files without their endings.
        shape: how many chips, of how many bands.
        what: they are, for people.
    """

    stem: Path
    shape: tuple[int, int]
    what: str

    def filled(
        self, make: Callable[[Iterable[int]], Iterator[_Made]], report: Callable[[str], None]
    ) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Yield the image and the label of each chip.

        Args:
            make: gives the chips of some numbers, always the same ones.
            report: called with each line for people.
        """
        self.stem.parent.mkdir(parents=True, exist_ok=True)
        if not self._up_to_date(make):
            report(f"making {self.shape[0]} {self.what} in {self.stem.parent}")
            self._make(make, report)
        return zip(*self._open(), strict=True)

    @property
    def _files(self) -> tuple[Path, Path]:
        stem = self.stem
        return stem.with_name(f"{stem.name}-image.npy"), stem.with_name(f"{stem.name}-label.npy")

    def _open(self) -> tuple[NDArray[Any], NDArray[Any]]:
        images, labels = self._files
        return np.load(images, mmap_mode="r"), np.load(labels, mmap_mode="r")

    def _up_to_date(self, make: Callable[[Iterable[int]], Iterator[_Made]]) -> bool:
        """Tell whether the chips kept are those that would be made now, by making a few anew."""
        if not all(file.is_file() for file in self._files):
            return False
        try:
            images, labels = self._open()
        except (OSError, ValueError, EOFError):
            return False
        count = self.shape[0]
        if images.shape[:2] != self.shape or len(labels) != count:
            return False
        numbers = sorted({0, count // 2, count - 1})
        return all(
            np.array_equal(images[number], image, equal_nan=True)
            and np.array_equal(labels[number], label)
            for number, (image, label) in zip(numbers, make(numbers), strict=True)
        )

    def _make(
        self,
        make: Callable[[Iterable[int]], Iterator[_Made]],
        report: Callable[[str], None],
    ) -> None:
        count, bands = self.shape
        images, labels = self._files
        with atomic_path(images) as image_file, atomic_path(labels) as label_file:
            image_pool = np.lib.format.open_memmap(
                image_file, "w+", np.float16, (count, bands, SIDE, SIDE)
            )
            label_pool = np.lib.format.open_memmap(label_file, "w+", np.uint8, (count, SIDE, SIDE))
            for number, (image, label) in enumerate(make(range(count))):
                image_pool[number], label_pool[number] = image, label
                if number % 100 == 99:
                    report(f"  {number + 1} of {count}")
            image_pool.flush()
            label_pool.flush()


def _chip(recipe: Recipe, number: int) -> _Made:
    """Return chip `number`: every other at the ground, where there is no cirrus band.

    Bands that Sentinel-2 does not have, such as elevation, are NaN.
    """
    level = "L1C" if number % 2 == 0 else "L2A"
    made = [b for b in recipe.bands if b in SENSOR_BANDS[_SENSOR]]
    bands = tuple(b for b in made if level == "L1C" or b != "cirrus")
    random = np.random.default_rng([recipe.seed, number])
    preset = _PRESETS[number % len(_PRESETS)]
    image, truth = random_chip(
        random, (SIDE, SIDE), bands=bands, level=level, sensor=_SENSOR, preset=preset
    )
    known = truth != NO_DATA
    label = np.where(known, np.left_shift(1, np.where(known, truth, 0)), 0).astype(np.uint8)
    return order_bands(image, bands, recipe.bands).astype(np.float16), label
