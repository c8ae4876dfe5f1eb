"""Ways to vary a chip; each is a pure function of the chip and a random generator.

Images are (bands, rows, columns) float32 reflectance in the recipe's band order, NaN = no data;
labels are (rows, columns) uint8 sets of classes. What moves pixels moves image and label in one
call, so that they cannot come apart. Own code and not a library's, because albumentations is no
longer maintained, and neither it nor kornia keeps NaN apart from data or draws each chip from a
generator of its own.
"""

from __future__ import annotations

import numpy as np

from nubila.recipe.augment import Augment
from nubila.train.augment.bands import BandRoles, Image, Label, Pair
from nubila.train.augment.clouds import cirrus, paste_clouds
from nubila.train.augment.crop import crop, cut_chip, turn
from nubila.train.augment.mixing import mix
from nubila.train.augment.occlusion import drop_band, drop_bands, erase, tear
from nubila.train.augment.radiometry import focus, gamma, radiometry

__all__ = [
    "BandRoles",
    "Image",
    "Label",
    "Pair",
    "crop",
    "cut_chip",
    "mix",
    "paste_clouds",
    "turn",
    "vary",
]


def vary(
    pair: Pair,
    spec: Augment,
    bands: BandRoles,
    random: np.random.Generator,
    more: np.random.Generator,
) -> Pair:
    """Vary what a chip shows without moving its pixels, in the order in which light meets it.

    In the end a pixel where no reflective band has data has no label.

    Args:
        pair: a chip, which is changed.
        spec: all but what `cut_chip`, `mix` and `paste_clouds` do.
        bands: roles of the image's bands.
        random: for what the default recipe does.
        more: for the rest, so that turning one on leaves the others as they are.
    """
    image, label = pair
    cirrus(image, label, spec, bands, more)
    drop_bands(image, spec, bands, random)
    drop_band(image, spec, bands, more)
    focus(image, spec, bands, more)
    gamma(image, spec, bands, more)
    radiometry(image, spec, bands, random)
    tear(image, label, spec, random)
    erase(image, label, spec, more)
    # For all that was done to the chip before, too, where bands go without their names.
    label[bands.unseen(image)] = 0
    return image, label
