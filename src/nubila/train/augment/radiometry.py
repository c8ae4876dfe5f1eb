"""Varying values in place: brightness, haze, gamma, sharpness, noise, saturation."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from nubila.recipe.augment import Augment
from nubila.train.augment.bands import BandRoles, Image

__all__ = ["focus", "gamma", "radiometry"]

_QUICKLOOK_LIMIT: Final = 0.4
_DETAIL_WIDTH: Final = 1.0  # pixels: what sharpening takes for detail


def radiometry(image: Image, spec: Augment, bands: BandRoles, random: np.random.Generator) -> None:
    """Vary gain, offset, haze, noise and saturation in place; brightness stays recognisable."""
    count = len(image)
    gain = random.normal(1, spec.gain) * random.normal(1, spec.band_gain, count)
    offset = random.normal(0, spec.band_offset, count)
    image *= _reflective(np.clip(gain, 0.5, 2), bands, 1)
    image += _reflective(offset, bands, 0)
    if random.random() < spec.haze:
        veil = np.float32(random.uniform(0.01, 0.07)) * bands.haze
        image *= 1 - 1.5 * veil
        image += veil
    if random.random() < 0.5:
        noise = random.standard_normal(image.shape, np.float32)
        noise *= _reflective(np.full(count, random.uniform(0, spec.noise)), bands, 0)
        image += noise
    if random.random() < spec.saturate:
        step = np.float32(_QUICKLOOK_LIMIT / 255)
        for band in bands.visible:
            image[band] = np.round(np.clip(image[band], 0, _QUICKLOOK_LIMIT) / step) * step


def _reflective(values: np.ndarray, bands: BandRoles, other: float) -> Image:
    """Return a number a band as (bands, 1, 1) float32, `other` for what is no reflectance."""
    chosen: Image = np.where(bands.reflective, values, other).astype(np.float32)[:, None, None]
    return chosen


def gamma(image: Image, spec: Augment, bands: BandRoles, random: np.random.Generator) -> None:
    """Raise reflectance to a power in place: 0 and 1 stay; what is below 0 keeps its sign."""
    if not spec.gamma:
        return
    power = np.float32(np.exp(random.normal(0, spec.gamma)))
    for band in np.flatnonzero(bands.reflective):
        plane = image[band]
        plane[...] = np.copysign(np.abs(plane) ** power, plane)


def focus(image: Image, spec: Augment, bands: BandRoles, random: np.random.Generator) -> None:
    """Blur a third of chips and sharpen another third in place, where these are on.

    Sharpening adds the difference from a blur one pixel wide. Pixels without data stay without,
    and their neighbours are weighed among what has data.
    """
    draw, strength = random.random(), random.random()
    if draw < 1 / 3 and spec.blur:
        for band in np.flatnonzero(bands.reflective):
            image[band] = _blurred(image[band], strength * spec.blur)
    elif draw > 2 / 3 and spec.sharpen:
        for band in np.flatnonzero(bands.reflective):
            plane = image[band]
            detail = plane - _blurred(plane, _DETAIL_WIDTH)
            image[band] = plane + np.float32(strength * spec.sharpen) * detail


def _blurred(plane: Image, width: float) -> Image:
    """Return a Gaussian blur of the pixels that have data; beyond the edges there is none."""
    missing = np.isnan(plane)
    if width < 0.1 or missing.all():
        return plane
    reach = math.ceil(3 * width)
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2).astype(np.float32)
    total = _weighed(np.where(missing, np.float32(0), plane), taps)
    weight = _weighed((~missing).astype(np.float32), taps)
    blurred: Image = np.divide(total, weight, out=np.full_like(plane, np.nan), where=~missing)
    return blurred


def _weighed(plane: Image, taps: Image) -> Image:
    for _ in range(2):  # along the columns, then, transposed, along the rows
        padded = np.pad(plane, ((0, 0), (len(taps) // 2, len(taps) // 2)))
        width = plane.shape[1]
        total = np.zeros_like(plane)
        for place, tap in enumerate(taps):
            total += tap * padded[:, place : place + width]
        plane = total.T
    return plane
