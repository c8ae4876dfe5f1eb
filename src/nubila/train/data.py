"""Chips for training: labelled samples and synthetic scenes in memory, varied by their number.

Chip number i of a seed is always the same chip, whoever cuts it: a run that goes on after a break
needs no state of any random generator, and the number of worker processes changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from nubila.datasets import Sample, load_sample, output_sets, read_manifest
from nubila.errors import ManifestError, RecipeError
from nubila.recipe import Recipe
from nubila.train.augment import crop, drop_bands, radiometry, tear, turn

__all__ = ["Chips", "Labelled", "load_split", "pad", "to_network"]


@dataclass(frozen=True)
class Labelled:
    """A sample as the network takes it.

    Attributes:
        image: (bands, rows, columns) reflectance in half precision, NaN = no data or no such band.
        label: (rows, columns) uint8 sets of classes, 0 = ignored.
        folder: where it is from, for weights and scores.
    """

    image: NDArray[np.float16]
    label: NDArray[np.uint8]
    folder: str


def to_network(
    image: NDArray[np.float32], bands: Sequence[str], recipe: Recipe
) -> NDArray[np.float32]:
    """Return an image's bands in the order of `recipe.bands`, NaN for those it does not have.

    Raises:
        ManifestError: a band that the recipe requires is absent.
    """
    names = ["nir" if name == "nir08" and "nir" not in bands else name for name in bands]
    absent = [name for name in recipe.required if name not in names]
    if absent:
        raise ManifestError(f"band {absent[0]} is absent (the image has: {', '.join(bands)})")
    ordered = np.full((len(recipe.bands), *image.shape[1:]), np.nan, np.float32)
    for place, name in enumerate(recipe.bands):
        if name in names:
            ordered[place] = image[names.index(name)]
    return ordered


def load_split(recipe: Recipe, split: str) -> list[Labelled]:
    """Read all samples of a split.

    Raises:
        ManifestError: as `datasets.read_manifest` and `load_sample`, or a visible band is absent.
    """
    if recipe.data.manifest is None:
        raise RecipeError(f"data.dataset {recipe.data.dataset!r} cannot be read yet")
    specs = read_manifest(recipe.data.manifest, root=recipe.data.root, split=split)
    return [_labelled(load_sample(spec), recipe) for spec in specs]


def _labelled(sample: Sample, recipe: Recipe) -> Labelled:
    try:
        image = to_network(sample.image, sample.bands, recipe).astype(np.float16)
    except ManifestError as error:
        raise ManifestError(f"{sample.meta.id}: {error}") from error
    return Labelled(image, sample.label, sample.meta.folder)


def pad(image: NDArray[np.float32], stride: int) -> NDArray[np.float32]:
    """Return an image with rows and columns without data up to a multiple of the stride."""
    rows, columns = image.shape[1:]
    widths = ((0, 0), (0, -rows % stride), (0, -columns % stride))
    return np.pad(image, widths, constant_values=np.float32(np.nan))


class Chips(Dataset[tuple[NDArray[np.float32], NDArray[np.uint8]]]):
    """Training chips by number: `chips[i]` is (B, n, n) float32 and (n, n) uint8.

    Labels are sets of the network's outputs, bit k for output k, 0 = ignored.

    Args:
        recipe: says size, weights, share of synthetic chips and how chips are varied.
        real, synthetic: what chips are cut from.
    """

    def __init__(
        self, recipe: Recipe, real: Sequence[Labelled], synthetic: Sequence[Labelled]
    ) -> None:
        self._recipe, self._real, self._synthetic = recipe, real, synthetic
        weights = np.array([recipe.data.weights.get(s.folder, 1.0) for s in real])
        if weights.sum() <= 0:
            raise ManifestError(f"{recipe.data.manifest}: every training image has weight 0")
        self._odds = weights / weights.sum()
        self._outputs = output_sets(recipe.classes)

    def __len__(self) -> int:
        return self._recipe.steps * self._recipe.batch

    def __getitem__(self, number: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        recipe = self._recipe
        random = np.random.default_rng([recipe.seed, number])
        if random.random() < recipe.synth.share:
            source = self._synthetic[int(random.integers(len(self._synthetic)))]
        else:
            source = self._real[int(random.choice(len(self._real), p=self._odds))]
        image, label = crop(
            source.image, source.label, size=recipe.chip, zoom=recipe.augment.zoom, random=random
        )
        if recipe.augment.turn:
            image, label = turn(image, label, random)
        image, label = np.ascontiguousarray(image), np.ascontiguousarray(label)
        drop_bands(image, recipe.augment, random)
        radiometry(image, recipe.augment, random)
        tear(image, label, recipe.augment, random)
        return image, self._outputs[label]
