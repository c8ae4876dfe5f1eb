"""Chips that a recipe has made: once, kept in a folder, read from there as needed."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final, SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from nubila.classes import NO_DATA, class_set
from nubila.datasets.order import order_bands
from nubila.errors import NubilaError
from nubila.raster.atomic import atomic_path
from nubila.recipe import Recipe
from nubila.synth import random_chip
from nubila.synth.instrument import SENSOR_BANDS
from nubila.synth.measured import MeasuredSpectra
from nubila.train.samples import Labelled, TileSamples
from nubila.train.signals import leave_signals
from nubila.train.views import SIDE, Made, ViewMaker

__all__ = ["Pool", "held_out_count", "synthetic_pool", "view_pool"]

_SENSOR: Final = "sentinel-2-msi"
_THIN: Final = class_set(["thin cloud"])
# What may be said of thin cloud that looks like snow: `synth.like_snow` of a recipe.
_LIKE_SNOW: Final = {
    "thin cloud": _THIN,
    "any cloud": class_set(["cloud", "thin cloud"]),
    "open": class_set(["cloud", "thin cloud", "snow"]),
}
# The least difference of green and 1.6 um over their sum that is called snow (Hall et al. 1995,
# doi:10.1016/0034-4257(95)00137-P), and the least reflectance of all visible bands at which real
# cloud is thick but for 2 of 100 pixels (nubila.curate.thickness).
_SNOW_INDEX: Final = 0.4
_THICK: Final = 0.35
_TABULATED: Final = 0.5  # part of the chips whose snow, ice and rock are as tabulated
# Kept out of training, to watch the classes that few real labels name.
_HELD_OUT: Final = 32
# Kinds of synthetic chips, in turn; an odd number, so that each comes at both levels. Left to
# chance, half of all pixels would be cloud and few would be snow or open ground.
_PRESETS: Final = (
    *("mixed", "snow", "clear", "snow", "cumulus", "desert", "snow"),
    *("coast", "cirrus", "snow", "clear", "city", "mixed"),
)
# Without them nearly all that is bright and dark at 1.6 um is snow, real overcast of ice with it.
_STORMS: Final = ("storm", "storm")
# Without them nearly all thin cloud shows in the cirrus band, and veils that do not come out clear.
_VEILS: Final = ("thin stratus", "thin stratus")


def synthetic_pool(recipe: Recipe, report: Callable[[str], None]) -> Sequence[Labelled]:
    """Return the synthetic chips, making them where the cache does not have them as they are now.

    Args:
        recipe: says how many, of which bands, and the folder; chip i of a seed is always the same.
        report: called with each line for people.
    """
    spec = recipe.synth
    if spec.chips == 0:
        return ()

    def make(numbers: Sequence[int]) -> Iterable[Made]:
        return (_chip(recipe, number) for number in numbers)

    stem = f"chips-{spec.chips}-seed-{recipe.seed}-bands-{_digest(recipe.bands)}"
    stem += {"thin cloud": "", "any cloud": "-open", "open": "-open-snow"}[spec.like_snow]
    stem += "-storms" * spec.storms + "-veils" * spec.veils
    stem += "-measured" * (spec.spectra is not None)
    files = _Files(spec.cache / stem, (spec.chips, len(recipe.bands)))
    files.fill(make, "synthetic chips", report)
    return Pool(files, "synthetic", range(spec.chips))


def view_pool(
    recipe: Recipe, images: Sequence[Labelled], report: Callable[[str], None]
) -> Sequence[Labelled]:
    """Return the views of training images that detectors have judged, as `synthetic_pool`.

    They are made by as many processes as training itself has threads and workers.

    Args:
        recipe: says how many, by which detectors, and the folder.
        images: training samples; views of other ones are kept apart.
        report: called with each line for people.

    Raises:
        ManifestError, NubilaError: as `ViewMaker`.
    """
    spec = recipe.views
    if not spec.share:
        return ()
    maker = ViewMaker.of(recipe, images)

    def make(numbers: Sequence[int]) -> Iterator[Made]:
        # The check of a few views, too, is done by processes: one that has run ONNX Runtime should
        # not be forked.
        loader = DataLoader(
            maker,
            batch_size=None,
            sampler=numbers,
            num_workers=min(recipe.workers + recipe.threads, len(numbers)),
            prefetch_factor=4,
            collate_fn=_as_it_is,
            worker_init_fn=leave_signals,
        )
        for made in loader:
            if isinstance(made, NubilaError):
                raise made
            yield made

    # No label changes a view. The odds stand for the weights, and for what detectors can judge.
    of = _digest((recipe.bands, _files_told(spec.detectors), maker.odds.tobytes(), _pixels(images)))
    cache = recipe.synth.cache.with_name("views") if spec.cache is None else spec.cache
    files = _Files(
        cache / f"views-{spec.chips}-seed-{recipe.seed}-of-{of}", (spec.chips, len(recipe.bands))
    )
    files.fill(make, "views", report)
    return Pool(files, "views", range(spec.chips))


def held_out_count(chips: int) -> int:
    """Return how many of so many synthetic chips, the first ones, are kept to validate on."""
    return min(_HELD_OUT, chips // 10)


def _digest(what: object) -> str:
    return f"{zlib.crc32(repr(what).encode()):08x}"


def _files_told(detectors: Sequence[str]) -> list[tuple[str, str]]:
    """Return detectors with the hash of those that are files."""
    return [
        (name, hashlib.sha256(Path(name).read_bytes()).hexdigest() if Path(name).is_file() else "")
        for name in detectors
    ]


def _pixels(images: Sequence[Labelled]) -> str:
    """Return a hash of what views are made of: folder, level, and a row in eight of each image.

    Of a tile store, which may be larger than the memory, tiles are told by their image.
    """
    digest = hashlib.sha256()
    if isinstance(images, TileSamples):
        for column in (images.ids, images.folders, images.levels):
            digest.update("\n".join(column).encode())
        digest.update(np.ascontiguousarray(images.label_sets).tobytes())
        return digest.hexdigest()
    for image in images:
        digest.update(f"{image.folder} {image.level} {image.image.shape}".encode())
        digest.update(np.ascontiguousarray(image.image[:, ::8]).tobytes())
    return digest.hexdigest()


def _as_it_is(made: Any) -> Any:  # noqa: ANN401 (PyTorch's type of what collates)
    return made


@dataclass(frozen=True)
class _Files:
    """Chips in two files.

    Attributes:
        stem: path of the files without their endings.
        shape: how many chips, of how many bands.
    """

    stem: Path
    shape: tuple[int, int]

    def fill(
        self,
        make: Callable[[Sequence[int]], Iterable[Made]],
        what: str,
        report: Callable[[str], None],
    ) -> None:
        """Make the files where they are not as they would be made now.

        Args:
            make: gives the chips of some numbers, always the same ones.
            what: they are, for people.
            report: called with each line for people.
        """
        self.stem.parent.mkdir(parents=True, exist_ok=True)
        if self._up_to_date(make):
            return
        count, bands = self.shape
        size = count * (2 * bands + 1) * SIDE**2 / 2**30
        report(f"making {count} {what} in {self.stem.parent}, {size:.1f} GiB")
        images, labels = self.paths
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

    @property
    def paths(self) -> tuple[Path, Path]:
        """The file of images and that of labels."""
        stem = self.stem
        return stem.with_name(f"{stem.name}-image.npy"), stem.with_name(f"{stem.name}-label.npy")

    def open(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return images and labels, of which what is asked for is read."""
        images, labels = self.paths
        return np.load(images, mmap_mode="r"), np.load(labels, mmap_mode="r")

    def _up_to_date(self, make: Callable[[Sequence[int]], Iterable[Made]]) -> bool:
        """Tell whether the chips kept are those that would be made now, by making a few anew."""
        if not all(path.is_file() for path in self.paths):
            return False
        try:
            images, labels = self.open()
        except (OSError, ValueError, EOFError):
            return False
        count = self.shape[0]
        if images.shape[:2] != self.shape or len(labels) != count:
            return False
        kinds = len(_PRESETS + _STORMS + _VEILS)
        numbers = sorted({*range(min(count, kinds)), count // 2, count - 1})
        return all(
            np.array_equal(images[number], image, equal_nan=True)
            and np.array_equal(labels[number], label)
            for number, (image, label) in zip(numbers, make(numbers), strict=True)
        )


class Pool(Sequence[Labelled]):
    """Some of the chips of two files; another process opens the files itself.

    Args:
        files: that hold them.
        folder: what their source is called.
        places: of the chips in the files.
    """

    def __init__(self, files: _Files, folder: str, places: range) -> None:
        self._files, self._folder, self._places = files, folder, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Labelled: ...
    @overload
    def __getitem__(self, index: slice) -> Pool: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Labelled | Pool:
        if isinstance(index, slice):
            return Pool(self._files, self._folder, self._places[index])
        images, labels = self._arrays
        place = self._places[index]
        return Labelled(images[place], labels[place], self._folder)

    def __reduce__(self) -> tuple[Any, ...]:
        # Pixels would travel; a spawned worker reads those that it needs.
        return Pool, (self._files, self._folder, self._places)

    @cached_property
    def _arrays(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return self._files.open()


def _chip(recipe: Recipe, number: int) -> Made:
    """Return chip `number`: every other at the ground, where there is no cirrus band.

    Bands that Sentinel-2 does not have, such as elevation, are NaN.
    """
    level = "L1C" if number % 2 == 0 else "L2A"
    made = [b for b in recipe.bands if b in SENSOR_BANDS[_SENSOR]]
    bands = tuple(b for b in made if level == "L1C" or b != "cirrus")
    random = np.random.default_rng([recipe.seed, number])
    presets = _PRESETS + _STORMS * recipe.synth.storms + _VEILS * recipe.synth.veils
    preset = presets[number % len(presets)]
    image, truth = random_chip(
        random,
        (SIDE, SIDE),
        bands=bands,
        level=level,
        sensor=_SENSOR,
        preset=preset,
        measured=_measured(recipe, number),
    )
    known = truth != NO_DATA
    label = np.where(known, np.left_shift(1, np.where(known, truth, 0)), 0).astype(np.uint8)
    label[(label == _THIN) & _like_snow(image, bands)] = _LIKE_SNOW[recipe.synth.like_snow]
    return order_bands(image, bands, recipe.bands).astype(np.float16), label


def _measured(recipe: Recipe, number: int) -> dict[str, tuple[float, ...]]:
    """Return measured spectra for half of the chips, by chance of their own."""
    if recipe.synth.spectra is None:
        return {}
    random = np.random.default_rng([recipe.seed, number, 1])
    if random.uniform() < _TABULATED:
        return {}
    return _read_measured(recipe.synth.spectra).draw(random)


@cache
def _read_measured(folder: Path) -> MeasuredSpectra:
    return MeasuredSpectra.read(folder)


def _like_snow(image: NDArray[np.floating[Any]], bands: Sequence[str]) -> NDArray[np.bool_]:
    """Return where pixels are as bright as thick cloud, and in the short-wave infrared as snow.

    Thin cloud over snow is, and can hardly be seen. As cloud in so many chips of snow, it would
    make real snow cloud, and as thin cloud the tops of real storms thin.
    """
    if not {"blue", "green", "red", "swir16"} <= set(bands):
        return np.zeros(image.shape[1:], bool)
    blue, green, red, infrared = (
        image[bands.index(name)] for name in ("blue", "green", "red", "swir16")
    )
    darkest = np.minimum(np.minimum(blue, green), red)
    index_high = green - infrared > _SNOW_INDEX * (green + infrared)
    alike: NDArray[np.bool_] = index_high & (darkest > _THICK)
    return alike
