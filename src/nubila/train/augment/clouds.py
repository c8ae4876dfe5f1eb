"""Putting clouds over a chip: synthetic cirrus, and real clouds with their opacity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import ClassCode
from nubila.recipe.augment import Augment
from nubila.synth.clouds import draw_sky, layer_thickness
from nubila.synth.noise import Axes
from nubila.train.augment.bands import BandRoles, Image, Label, Pair

__all__ = ["Cloud", "cirrus", "cloud_of", "paste_clouds"]

_THIN: Final = 1 << ClassCode.THIN_CLOUD
_CLOUDY: Final = 1 << ClassCode.CLOUD | _THIN
_SHADOW: Final = 1 << ClassCode.CLOUD_SHADOW

# Opacity below which nobody sees a cloud, and below which one may doubt whether to call it so.
_UNSEEN: Final = 0.01
_DOUBTFUL: Final = 0.05

# Part of the light that ice scatters backwards: 1 - its asymmetry (Baum et al. 2005).
_BACKWARDS: Final = 0.22
_RESOLUTIONS: Final = (10.0, 60.0)  # metres, the range that nubila's models are for

_LEAST_CONTRAST: Final = 0.08  # reflectance between clear ground and thick cloud
_OPAQUE: Final = 0.5  # reflectance of a cloud that nothing shines through, at least
_LEAST_PIXELS: Final = 64
_TRIES: Final = 3


def cirrus(
    image: Image, label: Label, spec: Augment, bands: BandRoles, random: np.random.Generator
) -> None:
    """Lay synthetic cirrus over a chip in place.

    A layer of `nubila.synth.clouds` of optical thickness t reflects a = b t / (2 + b t) (two-stream
    without absorption, Coakley and Chylek 1975; b = 0.22 is scattered backwards), in each band a
    times the band's factor for ice. Over ground r it gives a + (1 - a)**2 r / (1 - a r) (adding).
    At 1.375 um, where the ground is dark, the cirrus stands alone. It casts no shadow.

    Where a is at least 0.05, a pixel that was known to be without cloud becomes thin cloud, and one
    that may have been cloud may be thin cloud as well; where it is between 0.01 and 0.05, pixels
    that are not cloud already are ignored.
    """
    if random.random() >= spec.cirrus:
        return
    resolution = float(np.exp(random.uniform(*np.log(_RESOLUTIONS))))
    rows, columns = label.shape
    axes = Axes.of_window(0, 0, rows, columns, resolution)
    layers = draw_sky("cirrus", random, extent=resolution * max(rows, columns), warm=False)
    thickness = np.float32(_BACKWARDS) * np.sum([layer_thickness(n, axes) for n in layers], axis=0)
    opacity: Image = thickness / (2 + thickness)
    for band in np.flatnonzero(bands.ice[:, 0, 0]):
        veil, ground = opacity * bands.ice[band], image[band]
        image[band] = veil + (1 - veil) ** 2 * ground / (1 - veil * np.minimum(ground, 1))
    other = (label & ~np.uint8(_CLOUDY)) != 0
    known = label != 0
    seen = known & other & (opacity >= _DOUBTFUL)
    label[seen] = label[seen] & np.uint8(_CLOUDY) | np.uint8(_THIN)
    label[other & (opacity >= _UNSEEN) & (opacity < _DOUBTFUL)] = 0


@dataclass(frozen=True)
class Cloud:
    """A cloud taken out of its image.

    Attributes:
        light: (bands, rows, columns) what it adds: opacity times the cloud's own reflectance.
        opacity: (rows, columns) from 0 to 1.
        label: (rows, columns) sets of classes, 0 where there is no cloud.
    """

    light: Image
    opacity: NDArray[np.float32]
    label: Label


def cloud_of(pair: Pair, bands: BandRoles) -> Cloud | None:
    """Take the cloud out of a labelled chip.

    The linear mixture r = A c + (1 - A) g of cloud c and ground g in each band is solved with one
    ground for the whole chip, the median of its clear pixels, and one brightness of thick cloud,
    the 98th percentile of its cloudy pixels, at least 0.5, both in the mean of the visible bands:

        A = (r - g) / (c - g), cut to 0 .. 1;    A c = r - (1 - A) g

    So the texture of the ground under thin cloud counts as cloud, and A is wrong by as much as the
    ground differs from its median; over uneven ground thin clouds are rougher than real ones. The
    0.5 is chosen, not measured: where all clouds are thin, the brightest of them is not opaque.
    Shadows are left behind.

    Args:
        pair: image and label of a chip; pixels that surely are cloud, and ones that surely are not,
            are needed.
        bands: for the visible ones.

    Returns:
        None where there are fewer than 64 pixels of either kind, or cloud and ground differ by
        less than 0.08 in reflectance, as over snow.
    """
    image, label = pair
    cloudy = (label != 0) & ((label & ~np.uint8(_CLOUDY)) == 0)
    clear = (label & _CLOUDY == 0) & (label != 0)
    brightness = image[list(bands.visible)].mean(axis=0)
    data = ~np.isnan(brightness)
    cloudy, clear = cloudy & data, clear & data & (label != _SHADOW)
    if min(cloudy.sum(), clear.sum()) < _LEAST_PIXELS:
        return None
    ground, thick = np.median(brightness[clear]), np.percentile(brightness[cloudy], 98)
    if thick - ground < _LEAST_CONTRAST:
        return None
    thick = max(thick, _OPAQUE)
    opacity = np.where(cloudy, np.clip((brightness - ground) / (thick - ground), 0, 1), 0)
    opacity = opacity.astype(np.float32)
    light = np.zeros_like(image)
    for target, band, is_light in zip(light, image, bands.reflective, strict=True):
        if not is_light:
            continue
        values = band[clear & ~np.isnan(band)]
        under = np.median(values) if len(values) else np.float32(np.nan)
        target[cloudy] = np.maximum(band[cloudy] - (1 - opacity[cloudy]) * under, 0)
    return Cloud(light, opacity, np.where(cloudy, label, 0).astype(np.uint8))


def paste_clouds(
    pair: Pair,
    bank: Callable[[np.random.Generator], Pair],
    spec: Augment,
    bands: BandRoles,
    random: np.random.Generator,
) -> Pair:
    """Put real clouds of another chip over a chip: A c + (1 - A) g with the chip as ground.

    Args:
        pair: the chip, which is not changed.
        bank: gives a chip of the same shape with clouds; asked up to three times for one that
            `cloud_of` can use and that has every band that the chip has.
        spec: `paste_clouds` counts.
        bands: as in `cloud_of`.
        random: source of chance; one number where the chance does not come.

    Returns:
        A new chip, or the one given. A pasted pixel takes the cloud's label, or may be either's
        where it was or may have been cloud; where the opacity is below 0.05 it is ignored. What was
        ignored, or had no data, stays so.
    """
    if random.random() >= spec.paste_clouds:
        return pair
    image, label = pair
    has = ~np.isnan(image).all(axis=(1, 2)) & bands.reflective
    for _ in range(_TRIES):
        cloud = cloud_of(bank(random), bands)
        if cloud is not None and not np.isnan(cloud.light[has]).any():
            break
    else:
        return pair
    image, label = image.copy(), label.copy()
    for band in np.flatnonzero(has):
        image[band] = cloud.light[band] + (1 - cloud.opacity) * image[band]
    pasted = (cloud.label != 0) & (label != 0)
    was_cloud = (label & ~np.uint8(_CLOUDY)) == 0
    under = label & np.uint8(_CLOUDY)
    faint = pasted & ~was_cloud & (cloud.opacity < _DOUBTFUL)
    label[pasted] = (cloud.label | under)[pasted]
    label[faint] = 0
    return image, label
