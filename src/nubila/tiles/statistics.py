"""What labelled images hold: pixels by class, bands by number, and what a band alone can tell.

Images pass once and are forgotten. A band's values are counted in the 65,536 numbers of half
precision, which is exact for tiles (stored so) and to 1 part in 2,048 for anything else: its
percentiles and how well it separates cloud from clear follow without any range to be chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.bands import BANDS
from nubila.classes import CLASS_NAMES, class_set
from nubila.datasets import SampleSpec, load_sample
from nubila.errors import InputError
from nubila.tiles.cut import SETS, allowed_pixels
from nubila.tiles.parallel import map_in_order
from nubila.tiles.store import TileStore
from nubila.tiles.weights import CLASS_WEIGHT_RULES, class_counts, class_weights, pos_weight

__all__ = [
    "BINARY",
    "PERCENTILES",
    "BandTally",
    "Tally",
    "count_labels",
    "tally_samples",
    "tally_store",
]

# Two outputs under which every class counts as one or the other.
BINARY: Final[dict[str, tuple[str, ...]]] = {
    "clear": ("clear", "cloud shadow", "snow", "water"),
    "cloud": ("cloud", "thin cloud"),
}
PERCENTILES: Final = (0.1, 1, 2, 5, 25, 30, 50, 70, 75, 95, 98, 99, 99.9)

_KEYS: Final = 1 << 16
_LARGEST: Final = 65_504  # of half precision


@dataclass
class BandTally:
    """The values of one band.

    Attributes:
        pixels: values that are data.
        mean: of them.
        squares: sum of squared differences from the mean.
        clear, cloud, other: (65536,) how often each number of half precision stands under a label
            that is surely clear, surely cloud, and neither, in rising order of the numbers.
    """

    pixels: int = 0
    mean: float = 0.0
    squares: float = 0.0
    clear: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_KEYS, np.int64))
    cloud: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_KEYS, np.int64))
    other: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_KEYS, np.int64))

    def add(self, values: NDArray[np.floating[Any]], kinds: NDArray[np.uint8]) -> None:
        """Count an image's band.

        Args:
            values: (pixels,), NaN = no data.
            kinds: (pixels,) 0 neither, 1 surely clear, 2 surely cloud.
        """
        data = np.isfinite(values)
        if not data.any():
            return
        found, kinds = values[data], kinds[data]
        mean = float(found.mean(dtype=np.float64))
        self._merge(found.size, mean, float(found.var(dtype=np.float64)) * found.size)
        keys = _keys(found)
        for kind, counts in enumerate((self.other, self.clear, self.cloud)):
            counts += np.bincount(keys[kinds == kind], minlength=_KEYS)

    def _merge(self, pixels: int, mean: float, squares: float) -> None:
        """Join two means and sums of squares (Chan, Golub & LeVeque 1983, eq. 2.1)."""
        total = self.pixels + pixels
        apart = mean - self.mean
        self.squares += squares + apart**2 * self.pixels * pixels / total
        self.mean += apart * pixels / total
        self.pixels = total

    @property
    def standard_deviation(self) -> float:
        """Of the values, as a population."""
        return float(np.sqrt(self.squares / max(self.pixels, 1)))

    def percentiles(self, wanted: Sequence[float] = PERCENTILES) -> dict[float, float]:
        """Return the smallest number that at least so many percent of the values do not exceed."""
        below = np.cumsum(self.clear + self.cloud + self.other)
        ranks = np.ceil(np.array(wanted) / 100 * below[-1]).clip(1)
        found = _numbers()[np.searchsorted(below, ranks)]
        return {p: float(v) for p, v in zip(wanted, found, strict=True)}

    def auc(self) -> float | None:
        """Return the probability that a cloud pixel is brighter than a clear one, ties half.

        The area under the receiver operating characteristic of the band as a detector (Hanley &
        McNeil 1982, doi:10.1148/radiology.143.1.7063747): 0.5 tells nothing, 1 and 0 tell all.
        None without pixels of both kinds.
        """
        pairs = int(self.clear.sum()) * int(self.cloud.sum())
        if not pairs:
            return None
        darker = np.cumsum(self.clear) - self.clear
        return float((self.cloud * (darker + self.clear / 2)).sum() / pairs)

    def histogram(self, edges: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return clear and cloud pixels between edges; values beyond them are left out."""
        numbers = _numbers()
        clear, _ = np.histogram(numbers, edges, weights=self.clear)
        cloud, _ = np.histogram(numbers, edges, weights=self.cloud)
        return clear, cloud

    def describe(self) -> dict[str, Any]:
        """Return the numbers of the band as JSON knows them."""
        edges = self.percentiles((0, 100))
        auc = self.auc()
        return {
            "pixels": self.pixels,
            "mean": self.mean,
            "standard_deviation": self.standard_deviation,
            "minimum": edges[0],
            "maximum": edges[100],
            "percentiles": {f"{p:g}": v for p, v in self.percentiles().items()},
            "cloud_auc": auc,
            "separation": None if auc is None else max(auc, 1 - auc),
        }


@dataclass
class Tally:
    """The counts of labelled images, added one by one.

    Attributes:
        classes: output -> classes that count as it; clear and cloud unless told otherwise.
        images: how many were added.
        label_sets: (64,) pixels of each label set, 0 = ignored.
        present: output -> labelled pixels of the images that surely have it.
        bands: name -> its values.
    """

    classes: Mapping[str, Sequence[str]] = field(default_factory=lambda: BINARY)
    images: int = 0
    label_sets: NDArray[np.int64] = field(default_factory=lambda: np.zeros(SETS, np.int64))
    present: dict[str, int] = field(default_factory=dict)
    bands: dict[str, BandTally] = field(default_factory=dict)

    def add(
        self,
        image: NDArray[np.floating[Any]],
        label: NDArray[np.uint8],
        bands: Sequence[str],
    ) -> None:
        """Count an image (bands, rows, columns), NaN = no data, and its label (rows, columns)."""
        self.add_label(np.bincount(label.ravel(), minlength=SETS))
        kinds = _KINDS[label.ravel()]
        for name, values in zip(bands, image, strict=True):
            tally = self.bands.setdefault(name, BandTally())
            tally.add(values.ravel(), kinds)

    def add_label(self, label_sets: NDArray[np.integer]) -> None:
        """Count an image of which only the pixels of each label set are known."""
        self.images += 1
        self.label_sets += label_sets
        labelled = int(label_sets[1:].sum())
        for name, count in class_counts(label_sets, self.classes).items():
            self.present[name] = self.present.get(name, 0) + (labelled if count else 0)

    def counts(self) -> dict[str, int]:
        """Return output -> pixels that are surely of it."""
        return class_counts(self.label_sets, self.classes)

    def band_names(self) -> list[str]:
        """Return the bands that have data, in the order of `bands.BANDS`."""
        order = {name: place for place, name in enumerate(BANDS)}
        there = [name for name, band in self.bands.items() if band.pixels]
        return sorted(there, key=lambda name: order.get(name, len(order)))

    def weights(self) -> dict[str, dict[str, float]]:
        """Return rule -> output -> weight; empty without any labelled pixel."""
        counts = self.counts()
        if not any(counts.values()):
            return {}
        return {
            rule: class_weights(counts, rule, present=self.present) for rule in CLASS_WEIGHT_RULES
        }

    def pos_weight(self) -> float | None:
        """Return the weight of the second of two outputs, None where it is not defined."""
        try:
            return pos_weight(tuple(self.counts().values()))
        except InputError:
            return None

    def describe(self) -> dict[str, Any]:
        """Return everything as JSON knows it."""
        allowed = allowed_pixels(self.label_sets)
        alone = {name: int(self.label_sets[1 << code]) for code, name in CLASS_NAMES.items()}
        return {
            "images": self.images,
            "pixels": int(self.label_sets.sum()),
            "ignored": int(self.label_sets[0]),
            "label_sets": {_name(s): int(n) for s, n in enumerate(self.label_sets) if n and s},
            "surely": alone,
            "possibly": {name: int(allowed[code]) for code, name in CLASS_NAMES.items()},
            "classes": {name: list(members) for name, members in self.classes.items()},
            "counts": self.counts(),
            "pos_weight": self.pos_weight(),
            "class_weights": self.weights(),
            "bands": {name: self.bands[name].describe() for name in self.band_names()},
        }


def tally_samples(
    specs: Sequence[SampleSpec],
    classes: Mapping[str, Sequence[str]] = BINARY,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tally:
    """Read samples and count them.

    Args:
        specs: the samples.
        classes: output -> classes that count as it.
        workers: threads that read; default one a processor.
        progress: called with the samples done and their number.

    Raises:
        ManifestError: a sample cannot be read.
    """
    tally = Tally(classes)
    for number, sample in enumerate(map_in_order(load_sample, specs, workers), 1):
        tally.add(sample.image, sample.label, sample.bands)
        if progress is not None:
            progress(number, len(specs))
    return tally


def tally_store(
    store: TileStore,
    classes: Mapping[str, Sequence[str]] = BINARY,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Tally:
    """Count the tiles of a store; where tiles overlap, their pixels count as often as they stand.

    Args:
        store: or a selection of it.
        classes: output -> classes that count as it.
        progress: called with the tiles done and their number.
    """
    tally = Tally(classes)
    for number, tile in enumerate(store, 1):
        tally.add(tile.image, tile.label, store.bands)
        if progress is not None:
            progress(number, len(store))
    return tally


def count_labels(store: TileStore, classes: Mapping[str, Sequence[str]]) -> Tally:
    """Count the labels of a store from its table alone; no tile is read.

    Args:
        store: or a selection of it, such as the tiles to train with.
        classes: output -> classes that count as it.
    """
    tally = Tally(classes)
    for label_sets in store.label_sets():
        tally.add_label(label_sets)
    return tally


def _name(label_set: int) -> str:
    return "|".join(name for code, name in CLASS_NAMES.items() if label_set >> code & 1)


def _kinds() -> NDArray[np.uint8]:
    """Return for each label set 1 if it is surely clear, 2 if surely cloud, else 0."""
    cloud, sets = class_set(BINARY["cloud"]), np.arange(256)
    surely_clear, surely_cloud = (sets & cloud) == 0, (sets & ~cloud) == 0
    kinds = np.where(surely_clear, 1, np.where(surely_cloud, 2, 0)).astype(np.uint8)
    kinds[0] = 0
    return kinds


_KINDS: Final = _kinds()


def _keys(values: NDArray[np.floating[Any]]) -> NDArray[np.uint16]:
    """Return a number for each value that rises with it, from the bits of half precision."""
    # + 0.0 makes -0.0 the 0.0 that it equals.
    half = np.clip(values, -_LARGEST, _LARGEST).astype(np.float16)
    bits = (half + np.float16(0)).view(np.uint16)
    keys: NDArray[np.uint16] = np.where(bits >> 15, ~bits, bits | np.uint16(0x8000))
    return keys


def _numbers() -> NDArray[np.float64]:
    """Return the value of each key, with 0 for those that are none."""
    keys = np.arange(_KEYS, dtype=np.uint16)
    bits = np.where(keys >> 15, keys & np.uint16(0x7FFF), ~keys)
    values = bits.astype(np.uint16).view(np.float16).astype(np.float64)
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
