"""Views: images varied far beyond what sensors see, labelled by what detectors make of them.

Function matching (Beyer et al. 2022, doi:10.1109/CVPR52688.2022.01065): a small network that is to
answer as a large one needs the large one's answers on far more kinds of images than there are, and
the images need not be likely ones. Each view is cut, turned and scaled, gets another brightness and
gamma by band, and half of them are mixed: with another image evenly or along a smooth field, or
with a made cloud. One of the detectors then judges the view as it is, by the network for the
processing level of the image that the view began as.

A label is one draw for each pixel by the detector's probabilities. The mean of the cross-entropy
over such draws is the cross-entropy with the probabilities themselves, so that labels stay sets of
classes like all others; where a detector is in doubt, the network learns the doubt. Losses of
regions or edges (Lovasz, Dice, boundary) have no such property.

How much is varied was chosen, not measured, and is the same for all recipes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from nubila.detect import Detection, Detector, View, open_detector
from nubila.errors import ManifestError, NubilaError
from nubila.recipe import Recipe
from nubila.recipe.augment import Augment
from nubila.synth.noise import Axes, fbm
from nubila.train.augment import BandRoles, Image, cut_chip
from nubila.train.odds import image_weights
from nubila.train.samples import Labelled, TileSamples

__all__ = ["SIDE", "Made", "ViewMaker", "check_detectors", "sampled_label"]

Made = tuple[NDArray[np.float16], NDArray[np.uint8]]
# Bands with data, and processing level.
_Seen = tuple[tuple[str, ...], str]

SIDE: Final = 256  # pixels, as ukis-csmask takes them
_CUT: Final = Augment(zoom=1.65)
_STRANGENESS: Final = (0.0, 0.05, 0.2, 0.35)  # spread of the logarithm of the brightness
_HAZE: Final = 0.06
_BRIGHTEST: Final = 2.0
_TRIES: Final = 20
_LEAST_SEEN: Final = 0.1  # of an image: below, most views of it would lack the band


def check_detectors(recipe: Recipe) -> None:
    """Open the detectors of a recipe's views, so that what is wrong with them is told at once.

    Raises:
        NubilaError: as `detect.open_detector`.
    """
    if recipe.views.share:
        for name in recipe.views.detectors:
            _opened(name)


@dataclass(frozen=True)
class ViewMaker(Dataset[Made | NubilaError]):
    """Views by number: view i of a seed and of the same images is always the same.

    Attributes:
        seed: of the recipe.
        images: training samples.
        odds: (images,) how often each is drawn; they sum to 1.
        detectors: names; one of them judges each view.
        bands: of the images, in order.
        roles: of the bands.
    """

    seed: int
    images: Sequence[Labelled]
    odds: NDArray[np.float64]
    detectors: tuple[str, ...]
    bands: tuple[str, ...]
    roles: BandRoles

    @classmethod
    def of(cls, recipe: Recipe, images: Sequence[Labelled]) -> ViewMaker:
        """Return the maker of a recipe's views.

        Args:
            recipe: says bands, seed, weights and detectors.
            images: training samples.

        Raises:
            ManifestError: `views.weights` names a folder that looks misspelt, a detector can judge
                none of the images, or all that some detector can judge have weight 0.
            NubilaError: as `detect.open_detector`.
        """
        weights = image_weights("views.weights", recipe.views.weights, images)
        weights *= image_weights("data.weights", recipe.data.weights, images) > 0
        seen = _seen_bands(images, recipe.bands)
        weights *= np.any([_judged_by(name, seen) for name in recipe.views.detectors], axis=0)
        if isinstance(images, TileSamples):
            weights *= images.valid > _LEAST_SEEN
        if not weights.any():
            raise ManifestError(
                "views.weights: every training image that a detector can judge has weight 0"
            )
        roles = BandRoles.of(recipe.bands, recipe.required)
        odds = weights / weights.sum()
        return cls(recipe.seed, images, odds, recipe.views.detectors, recipe.bands, roles)

    def __getitem__(self, number: int) -> Made | NubilaError:
        """Return image (bands, SIDE, SIDE), NaN = no data, and label (SIDE, SIDE) as sets.

        An error is returned, not raised: PyTorch's processes would wrap it in a traceback.
        """
        try:
            return self._made(number)
        except NubilaError as error:
            return error

    def _made(self, number: int) -> Made:
        random = np.random.default_rng([self.seed, number, 4])
        for _ in range(_TRIES):
            image, level = self._draw(random)
            image = image.astype(np.float16).astype(np.float32)  # judged as it is kept
            view = View(image, self.bands, level=level, name=f"view {number}")
            able = [each for each in map(_opened, self.detectors) if not each.lacks(view)]
            if able:
                judge = able[int(random.integers(len(able)))]
                label = sampled_label(judge.detect(view), random)
                label[self.roles.unseen(image)] = 0
                return image.astype(np.float16), label
        raise ManifestError(
            f"views: {_TRIES} views in a row lack a band that every detector needs; leave out the "
            f"folders that have little data with views.weights"
        )

    def _draw(self, random: np.random.Generator) -> tuple[Image, str]:
        image, level = self._cut(random)
        image = self._restyled(image, random)
        kind = random.random()
        if kind < 0.35:
            other = self._restyled(self._cut(random)[0], random)
            part = self._evenly(random) if kind < 0.15 else self._along_a_field(random)
        elif kind < 0.5:
            other = self._cloud(random)
            part = self._veil(random)
        else:
            return image, level
        image[self.roles.reflective] = ((1 - part) * image + part * other)[self.roles.reflective]
        return image, level

    def _cut(self, random: np.random.Generator) -> tuple[Image, str]:
        sample = self.images[int(random.choice(len(self.odds), p=self.odds))]
        image, _ = cut_chip(sample.image, sample.label, SIDE, _CUT, random, random)
        return image, sample.level

    def _restyled(self, image: Image, random: np.random.Generator) -> Image:
        """Return an image with another brightness and gamma, together and by band, and haze."""
        spread = float(random.choice(_STRANGENESS))
        count = len(image)
        if spread:
            gain = np.exp(random.normal(0, spread) + random.normal(0, spread / 1.5, count))
            power = np.exp(random.normal(0, spread / 2) + random.normal(0, spread / 4, count))
            veil = self._haze(random) if random.random() < 0.3 else np.float32(0)
            changed = np.clip(image, 0, _BRIGHTEST) ** _column(power) * _column(gain)
            changed = changed * (1 - 1.5 * veil) + veil
            image = np.where(self.roles.reflective[:, None, None], changed, image)
        return image.astype(np.float32)

    def _haze(self, random: np.random.Generator) -> Image:
        return np.float32(random.uniform(0, _HAZE)) * self.roles.haze

    def _evenly(self, random: np.random.Generator) -> Image:
        return np.full((SIDE, SIDE), random.uniform(0.1, 0.5), np.float32)

    def _along_a_field(self, random: np.random.Generator) -> Image:
        """Return how much of another image there is: two patterns with a soft or sharp edge."""
        steepness = float(random.choice((2.0, 5.0, 15.0)))
        shifted = _field(random) - np.float32(random.normal(0, 0.7))
        part: Image = 1 / (1 + np.exp(-steepness * shifted))
        return part

    def _veil(self, random: np.random.Generator) -> Image:
        """Return the opacity of a made cloud, from a thin veil to one with sharp edges."""
        shifted = _field(random) - np.float32(random.normal(0.3, 0.6))
        opacity: Image = np.clip(shifted * np.float32(random.choice((0.3, 0.7, 1.5))), 0, 1)
        return opacity

    def _cloud(self, random: np.random.Generator) -> Image:
        """Return the reflectance of a thick cloud, (bands, 1, 1), of ice or in between."""
        colour = random.normal(0, 0.08, len(self.bands))
        # How high it is decides what is seen of it at 1.375 um, where vapour absorbs.
        high = np.array([random.uniform(0.05, 0.35) if b == "cirrus" else 1.0 for b in self.bands])
        cloud: Image = (
            np.float32(random.uniform(0.35, 1.0)) * self.roles.ice * _column(np.exp(colour) * high)
        )
        return cloud


def _judged_by(name: str, seen: Sequence[_Seen]) -> list[bool]:
    """Return which images a detector can judge.

    Raises:
        ManifestError: none of them.
    """
    detector = _opened(name)
    lacking = [
        detector.lacks(View(np.ones((len(bands), SIDE, SIDE), np.float32), bands, level=level))
        for bands, level in seen
    ]
    if all(lacking):
        raise ManifestError(
            f"views.detectors: {name} can judge none of {len(seen)} training images: "
            f"{lacking[0] if lacking else 'there are none'}"
        )
    return [not words for words in lacking]


def _seen_bands(images: Sequence[Labelled], bands: tuple[str, ...]) -> list[_Seen]:
    """Return the bands with data and the level of each image; of tiles, of its fullest tile.

    A band with data in less than a tenth of the pixels does not count.
    """
    known: dict[str, _Seen] = {}
    names, order = [str(place) for place in range(len(images))], range(len(images))
    if isinstance(images, TileSamples):
        names, order = images.ids, np.argsort(-images.valid, kind="stable").tolist()
    for place in order:
        if names[place] not in known:
            sample = images[place]
            seen = np.isfinite(sample.image[:, ::8, ::8].astype(np.float32)).mean(axis=(1, 2))
            there = tuple(
                band for band, part in zip(bands, seen, strict=True) if part > _LEAST_SEEN
            )
            known[names[place]] = there, sample.level
    return [known[name] for name in names]


@lru_cache
def _opened(name: str) -> Detector:
    """Open a detector once a process; a forked one has those of its parent."""
    return open_detector(name)


def sampled_label(detection: Detection, random: np.random.Generator) -> NDArray[np.uint8]:
    """Return (rows, columns) sets of classes, drawn for each pixel by the probabilities.

    0 where the detector has not judged.
    """
    up_to = np.cumsum(detection.probabilities, axis=0)
    drawn = random.random(up_to.shape[1:], np.float32) * up_to[-1]
    place = (drawn[None] >= up_to[:-1]).sum(axis=0)
    bits = np.array([output.bits for output in detection.outputs], np.uint8)
    label: NDArray[np.uint8] = np.where(detection.judged, bits[place], 0).astype(np.uint8)
    return label


def _field(random: np.random.Generator) -> Image:
    """Return a smooth random field of about zero mean and unit variance, (SIDE, SIDE)."""
    axes = Axes.of_window(0, 0, SIDE, SIDE, 10.0)
    return fbm(axes, int(random.integers(2**31)), float(random.uniform(600, 2400)), finest=40.0)


def _column(values: NDArray[np.float64]) -> Image:
    return values.astype(np.float32)[:, None, None]
