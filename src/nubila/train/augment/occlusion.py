"""Taking data away in place: bands, the edge of a swath, rectangles."""

from __future__ import annotations

import numpy as np

from nubila.recipe.augment import Augment
from nubila.train.augment.bands import BandRoles, Image, Label

__all__ = ["drop_band", "drop_bands", "erase", "tear"]


def drop_bands(image: Image, spec: Augment, bands: BandRoles, random: np.random.Generator) -> None:
    """Take optional bands away in place, so that one network serves every set of bands.

    Of what red, green and blue are left alone of the reflective bands, these are shown at one of
    the brightnesses `spec.rgb_gains`, as quick-looks are; what comes so stays as it is.
    """
    if random.random() < spec.full_bands:
        return
    had_more = not _is_visible_alone(image, bands)
    if random.random() < 0.8:
        left = _usual_set(spec, bands, random)
    else:
        left = frozenset(band for band in bands.optional if random.random() < 0.5)
    for band in bands.optional:
        if band not in left:
            image[band] = np.nan
    if spec.rgb_gains and had_more and _is_visible_alone(image, bands):
        image[list(bands.visible)] *= np.float32(random.choice(spec.rgb_gains))


def _is_visible_alone(image: Image, bands: BandRoles) -> bool:
    others = np.flatnonzero(bands.reflective)
    return bool(np.isnan(image[np.setdiff1d(others, bands.visible)]).all())


def _usual_set(spec: Augment, bands: BandRoles, random: np.random.Generator) -> frozenset[int]:
    """Return which optional bands stay: near infrared alone by its odds, the other sets alike."""
    if spec.nir_odds == 1:
        return bands.kept[int(random.integers(len(bands.kept)))]
    odds = np.array([spec.nir_odds if left == bands.near else 1.0 for left in bands.kept])
    return bands.kept[int(random.choice(len(odds), p=odds / odds.sum()))]


def drop_band(image: Image, spec: Augment, bands: BandRoles, random: np.random.Generator) -> None:
    """Take one optional band away in place, as when a file is lost or a detector fails."""
    if bands.optional and random.random() < spec.drop_band:
        image[int(random.choice(bands.optional))] = np.nan


def tear(image: Image, label: Label, spec: Augment, random: np.random.Generator) -> None:
    """Take away the data beyond a random line in place, as at the edge of a swath."""
    if random.random() >= spec.tear:
        return
    rows, columns = label.shape
    angle = random.uniform(0, 2 * np.pi)
    distance = random.uniform(0.1, 0.55) * max(rows, columns)
    across = (np.arange(rows) - rows / 2)[:, None] * np.sin(angle)
    along = (np.arange(columns) - columns / 2)[None, :] * np.cos(angle)
    beyond = across + along > distance
    image[:, beyond] = np.nan
    label[beyond] = 0


def erase(image: Image, label: Label, spec: Augment, random: np.random.Generator) -> None:
    """Take away the data of a rectangle in place (random erasing, Zhong et al. 2020).

    Where they fill in noise, here is no data and the label is ignored: a pixel that is not there
    is never to be called clear. Its area is 2 to 20 % of the chip, its sides at most 1 to 3.
    """
    if random.random() >= spec.erase:
        return
    area = random.uniform(0.02, 0.2) * label.size
    aspect = np.exp(random.uniform(-np.log(3), np.log(3)))
    sides = np.sqrt(area * aspect), np.sqrt(area / aspect)
    window = tuple(
        slice(
            start := int(random.integers(0, max(length - round(side), 0) + 1)), start + round(side)
        )
        for length, side in zip(label.shape, sides, strict=True)
    )
    image[:, *window] = np.nan
    label[window] = 0
