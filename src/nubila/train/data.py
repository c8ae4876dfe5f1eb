"""Chips for training, cut from labelled samples and synthetic scenes and varied by their number.

Chip number i of a seed is always the same chip, whoever cuts it: a run that goes on after a break
needs no state of any random generator, and the number of worker processes changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from nubila.datasets import output_sets
from nubila.errors import ManifestError, RecipeError
from nubila.recipe import Recipe
from nubila.train.augment import BandRoles, Pair, cut_chip, mix, paste_clouds, vary
from nubila.train.odds import image_weights, no_folder
from nubila.train.samples import (
    Labelled,
    check_leakage,
    class_shares,
    folders,
    load_split,
)

__all__ = ["Chip", "Chips", "Labelled", "check_leakage", "load_split", "pad"]


class Chip(NamedTuple):
    """What the network learns from; PyTorch's default collate makes a batch of several.

    Attributes:
        image: (bands, n, n) float32 reflectance, NaN = no data or no such band.
        label: (n, n) uint8 sets of the network's outputs, bit k for output k, 0 = ignored.
        statistics: (S, bands) float32 of the whole scene that the chip is from, as it is before any
            augmentation; NaN for a band that the chip lacks. S = 0 where none are asked for.
    """

    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    statistics: NDArray[np.float32]


def pad(image: NDArray[np.float32], stride: int) -> NDArray[np.float32]:
    """Return an image with rows and columns without data up to a multiple of the stride."""
    rows, columns = image.shape[1:]
    widths = ((0, 0), (0, -rows % stride), (0, -columns % stride))
    return np.pad(image, widths, constant_values=np.float32(np.nan))


class Chips(Dataset[Chip]):
    """Training chips by number.

    Args:
        recipe: says size, odds, share of synthetic chips and how chips are varied.
        real, synthetic: what chips are cut from.
        statistics: names of the scene statistics that chips carry.
        views: what else chips are cut from.

    Raises:
        ManifestError: every training image has odds 0, or there is none of a folder of
            `data.gains`, or of one of `data.weights` that looks misspelt.
        RecipeError: `data.subset` is more than there are.
    """

    def __init__(
        self,
        recipe: Recipe,
        real: Sequence[Labelled],
        synthetic: Sequence[Labelled],
        statistics: Sequence[str] = (),
        views: Sequence[Labelled] = (),
    ) -> None:
        self._recipe, self._real = recipe, real
        # Each made source has its share of the chips, the real one what is left.
        self._made = ((synthetic, recipe.synth.share), (views, recipe.views.share))
        self._names = tuple(statistics)
        self._known: dict[tuple[int, int], NDArray[np.float32]] = {}
        self._odds = _odds(recipe, real)
        # What Generator.choice does with odds, without adding them up for every chip.
        self._up_to = np.cumsum(self._odds)
        self._up_to /= self._up_to[-1]
        self._cycle: tuple[int, NDArray[np.int64]] | None = None
        self._outputs = output_sets(recipe.classes)
        self._bands = BandRoles.of(recipe.bands, recipe.required)
        cloudy = recipe.augment.paste_clouds > 0
        found = _cloudy(real) if cloudy else np.zeros(0, np.intp)
        # A source that is left out gives no clouds either.
        self._cloudy = found[self._odds[found] > 0]

    def __len__(self) -> int:
        return self._recipe.steps * self._recipe.batch

    def __getitem__(self, number: int) -> Chip:
        recipe, spec = self._recipe, self._recipe.augment
        # Later augmentations have a generator of their own: turning one on leaves the rest alike.
        random = np.random.default_rng([recipe.seed, number])
        more = np.random.default_rng([recipe.seed, number, 1])
        source, place, sample = self._draw(random, number)
        pair = self._shown(
            cut_chip(sample.image, sample.label, recipe.chip, spec, random, more),
            sample,
            np.random.default_rng([recipe.seed, number, 3]),
        )
        pair = mix(pair, self._other, spec, more)
        if len(self._cloudy):
            pair = paste_clouds(pair, self._cloud, spec, self._bands, more)
        image, label = vary(pair, spec, self._bands, random, more)
        statistics = self._statistics(source, place, sample)
        if self._names:
            statistics[:, np.isnan(image).all(axis=(1, 2))] = np.nan
        return Chip(image, self._outputs[label], statistics)

    def _draw(self, random: np.random.Generator, number: int | None) -> tuple[int, int, Labelled]:
        """Return source, place in it, and sample; of the cycle's subset where there is a number."""
        chance = random.random()
        for source, (made, share) in enumerate(self._made, start=1):
            if chance < share:
                place = int(random.integers(len(made)))
                return source, place, made[place]
            chance -= share
        place = self._real_place(random, number)
        return 0, place, self._real[place]

    def _real_place(self, random: np.random.Generator, number: int | None) -> int:
        subset = self._recipe.data.subset
        if subset is None or number is None:
            return int(self._up_to.searchsorted(random.random(), side="right"))
        cycle, place = divmod(number, subset)
        if self._cycle is None or self._cycle[0] != cycle:
            chosen = np.random.default_rng([self._recipe.seed, cycle, 2])
            among = chosen.choice(len(self._odds), subset, replace=False, p=self._odds)
            self._cycle = cycle, among
        return int(self._cycle[1][place])

    def _other(self, random: np.random.Generator) -> Pair:
        """Return another chip, cut and turned, to be mixed in."""
        return self._plain(self._draw(random, None)[2], random)

    def _cloud(self, random: np.random.Generator) -> Pair:
        """Return a chip of a real sample that has clouds."""
        return self._plain(self._real[int(random.choice(self._cloudy))], random)

    def _plain(self, sample: Labelled, random: np.random.Generator) -> Pair:
        spec, side = self._recipe.augment, self._recipe.chip
        pair = cut_chip(sample.image, sample.label, side, spec, random, random)
        return self._shown(pair, sample, random)

    def _shown(self, pair: Pair, sample: Labelled, random: np.random.Generator) -> Pair:
        """Return a chip at one of its folder's brightnesses."""
        factors = self._recipe.data.gains.get(sample.folder)
        if factors is None:
            return pair
        image, label = pair
        return image * np.float32(random.choice(factors)), label

    def _statistics(self, source: int, place: int, sample: Labelled) -> NDArray[np.float32]:
        if not self._names:
            return np.zeros((0, len(sample.image)), np.float32)
        if sample.statistics is not None:
            return sample.scene_statistics(self._names)
        if (source, place) not in self._known:
            self._known[source, place] = sample.scene_statistics(self._names)
        return self._known[source, place].copy()


def _odds(recipe: Recipe, real: Sequence[Labelled]) -> NDArray[np.float64]:
    data = recipe.data
    weights = image_weights("data.weights", data.weights, real)
    if data.favour and len(real):
        shares = class_shares(real)
        weights *= 1 + sum(times * shares[name] for name, times in data.favour.items())
    known = sorted(set(folders(real)))
    for name in data.gains:
        if name not in known:
            raise ManifestError(no_folder("data.gains", name, known, known))
    if weights.sum() <= 0:
        where = data.tiles or data.manifest or data.root
        raise ManifestError(f"{where}: every training image has weight 0")
    if data.subset is not None and data.subset > np.count_nonzero(weights):
        raise RecipeError(
            f"data.subset is {data.subset}, but there are {np.count_nonzero(weights)} training "
            f"images to draw from; expected at most as many"
        )
    odds: NDArray[np.float64] = weights / weights.sum()
    return odds


def _cloudy(real: Sequence[Labelled]) -> NDArray[np.intp]:
    """Return the places of samples with cloud and something else, to take clouds from."""
    shares = class_shares(real)
    cloud = shares["cloud"] + shares["thin cloud"]
    return np.flatnonzero((cloud > 0.02) & (cloud < 0.9))
