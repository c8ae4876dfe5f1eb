"""Thick cloud or thin, by how bright it is; open ground that the cirrus band puts in doubt."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES, class_set
from nubila.detect import View

__all__ = ["thickness_sets", "under_cirrus"]

_CLOUD: Final = class_set(["cloud"])
_THIN: Final = class_set(["thin cloud"])
_SNOW: Final = class_set(["snow"])
_OPEN: Final = class_set(["clear", "snow", "water"])
_ALL: Final = class_set(CLASS_NAMES.values())

# Reflectance of the darkest visible band below which cloud is thin, and above which it is thick. A
# cloud's reflectance grows with its optical thickness and hardly depends on the wavelength in the
# visible (Bohren 1987, doi:10.1119/1.15109); the darkest band is the one that air and ground
# brighten least. Read from the cloud that people drew in 18 training images of L8 Biome at the top
# of the atmosphere (Foga et al. 2017, doi:10.1016/j.rse.2017.03.026): 99 of 100 pixels below 0.18
# are thin, and 98 of 100 between 0.35 and 0.45 thick; in five images that the limits were not read
# from, 89 of 100 are. Nearly all thin cloud above 0.45 is of one desert image.
_DARKNESS: Final = (0.18, 0.35)
# Share of an image that has to be snow under a clear sky for the rest of it to be doubted: a few
# pixels at the edges of clouds of ice pass for snow too.
_SNOWY: Final = 0.01
# Reflectance in the cirrus band above which ground is not taken to be in the open. Sentinel-2's
# own processor begins at 0.012 (Sen2Cor, ATBD 2.8.0). In the images of L8 Biome without snow people
# drew cloud on 86 to 90 of 100 pixels between 0.0125 and 0.02, and on all but 8 of 375,704 above
# 0.03.
_CIRRUS: Final = 0.0125


def thickness_sets(
    view: View, sky: NDArray[np.uint8], surface: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Return which kinds of cloud each pixel can be if it is cloud.

    Over snow brightness does not tell: in an image that shows snow under a clear sky, or of whose
    sky nothing is known, bright pixels whose short-wave infrared allows snow stay open. Elsewhere
    what looks like snow there is ice in the cloud, and thick; without that band every bright pixel
    is. The limits are those of the top of the atmosphere and are taken for surface reflectance too,
    which is a few hundredths darker. Images without near infrared may be stretched for display,
    their numbers being no reflectance: there everything stays open.

    Args:
        view: the image.
        sky: (rows, columns) uint8 sets of classes that are left for each pixel.
        surface: (rows, columns) uint8 sets of classes of the ground, where it is seen.

    Returns:
        (rows, columns) uint8 sets of classes: all, but for thick or for thin cloud.
    """
    bands = [view.band(name) for name in ("blue", "green", "red")]
    visible = [band for band in bands if band is not None]
    sets = np.full(view.image.shape[1:], _ALL, np.uint8)
    if len(visible) < len(bands) or view.band("nir") is None:
        return sets
    darkest = np.min(visible, axis=0)
    sets[darkest < _DARKNESS[0]] &= np.uint8(_ALL & ~_CLOUD)
    bright = darkest > _DARKNESS[1]
    if view.band("swir16") is not None and _snow_in_doubt(sky, surface):
        bright &= surface & _SNOW == 0
    sets[bright] &= np.uint8(_ALL & ~_THIN)
    return sets


def under_cirrus(
    view: View, told: NDArray[np.uint8], sky: NDArray[np.uint8], surface: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Return sets of classes that leave thin cloud open where the cirrus band shows one.

    Detectors that do not read that band call ground seen through cirrus clear. It is not called
    thin cloud either: without the band much of it cannot be seen, and networks learn with bands
    left out. How bright it is says nothing here: it is the ground that shines through. High snow is
    near enough to the dry air to shine in the band: an image of snow, or of whose sky nothing is
    known, stays as it is, and so does a cloud that a person drew.

    Args:
        view: the image.
        told: (rows, columns) uint8 sets of classes that are left for each pixel.
        sky: the same with what a person has drawn.
        surface: (rows, columns) uint8 sets of classes of the ground, where it is seen.

    Returns:
        (rows, columns) uint8 sets of classes; `told` without the band.
    """
    cirrus = view.band("cirrus")
    if cirrus is None or _snow_in_doubt(sky, surface):
        return told
    veiled = (cirrus > _CIRRUS) & (told & _OPEN != 0) & (sky & _OPEN != 0)
    return np.where(veiled, told | _THIN, told).astype(np.uint8)


def _snow_in_doubt(sky: NDArray[np.uint8], surface: NDArray[np.uint8]) -> bool:
    """Return whether an image shows snow under a clear sky, or nothing is known of its sky."""
    clear, cloudy = sky & (_CLOUD | _THIN) == 0, sky & (_ALL & ~(_CLOUD | _THIN)) == 0
    known = bool((clear | cloudy).any())
    return not known or bool((clear & (surface == _SNOW)).mean() > _SNOWY)
