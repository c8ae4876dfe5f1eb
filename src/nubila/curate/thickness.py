"""Thick cloud or thin, by how bright it is."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES, class_set
from nubila.detect import View

__all__ = ["thickness_sets"]

_CLOUD: Final = class_set(["cloud"])
_THIN: Final = class_set(["thin cloud"])
_SNOW: Final = class_set(["snow"])
_ALL: Final = class_set(CLASS_NAMES.values())

# Reflectance of the darkest visible band below which cloud is thin, and above which it is thick. A
# cloud's reflectance grows with its optical thickness and hardly depends on the wavelength in the
# visible (Bohren 1987, doi:10.1119/1.15109); the darkest band is the one that air and ground
# brighten least. Read from the cloud that people drew in 18 training images of L8 Biome at the top
# of the atmosphere (Foga et al. 2017, doi:10.1016/j.rse.2017.03.026): 99 of 100 pixels below 0.18
# are thin, and 98 of 100 between 0.35 and 0.45 thick; in five images that the limits were not read
# from, 89 of 100 are. Nearly all thin cloud above 0.45 is of one desert image, whose short-wave
# infrared keeps it open.
_DARKNESS: Final = (0.18, 0.35)


def thickness_sets(view: View, surface: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return which kinds of cloud each pixel can be if it is cloud.

    Bright pixels whose short-wave infrared allows snow stay open: over snow, and where the cloud
    itself is of ice, brightness does not tell. Without that band every bright pixel is thick. The
    limits are those of the top of the atmosphere and are taken for surface reflectance too, which
    is a few hundredths darker. Images without near infrared may be stretched for display, their
    numbers being no reflectance: there everything stays open.

    Args:
        view: the image.
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
    if view.band("swir16") is not None:
        bright &= surface & _SNOW == 0
    sets[bright] &= np.uint8(_ALL & ~_THIN)
    return sets
