"""Class codes, names and colours.

One scheme throughout: 0 clear, 1 cloud, 2 thin cloud, 3 cloud shadow, 4 snow, 5 water, 255 no
data. Codes 0 to 3 agree with CloudSEN12 (Aybar et al. 2022, doi:10.1038/s41597-022-01878-2) and
OmniCloudMask.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final, Literal

from nubila.errors import InputError, nearest

__all__ = [
    "CLASS_NAMES",
    "CLOUD_CODES",
    "COLOURS",
    "KINDS",
    "NO_DATA",
    "SCORED",
    "ClassCode",
    "DecisionRule",
    "Validity",
    "class_code",
    "class_set",
]

NO_DATA: Final = 255


class ClassCode(IntEnum):
    """Value of a pixel in a class raster."""

    CLEAR = 0
    CLOUD = 1
    THIN_CLOUD = 2
    CLOUD_SHADOW = 3
    SNOW = 4
    WATER = 5
    NO_DATA = NO_DATA


class Validity(IntEnum):
    """Why a pixel has a class, or has none. `NO_DATA` and `NOT_JUDGED` pixels get class 255."""

    VALID = 0
    NO_DATA = 1
    SATURATED = 2  # judged, but a needed band was at the sensor's limit
    NOT_JUDGED = 3  # some needed bands have data here, others do not, or the model gave no number


# What a pixel is asked first where a network decides by kind: ground of any sort, cloud of either
# thickness, shadow.
KINDS: Final = (
    frozenset({ClassCode.CLEAR, ClassCode.SNOW, ClassCode.WATER}),
    frozenset({ClassCode.CLOUD, ClassCode.THIN_CLOUD}),
    frozenset({ClassCode.CLOUD_SHADOW}),
)

# How a class follows from probabilities: the most probable one, or of the most probable kind.
DecisionRule = Literal["class", "kind"]

CLASS_NAMES: Final[dict[int, str]] = {
    0: "clear",
    1: "cloud",
    2: "thin cloud",
    3: "cloud shadow",
    4: "snow",
    5: "water",
}

# RGB; chosen to stay apart for colour-blind readers (Okabe & Ito 2008) over a satellite image.
COLOURS: Final[dict[int, tuple[int, int, int]]] = {
    0: (0, 120, 80),
    1: (245, 245, 245),
    2: (240, 228, 66),
    3: (60, 50, 90),
    4: (86, 180, 233),
    5: (0, 70, 160),
    255: (0, 0, 0),
}

CLOUD_CODES: Final = (ClassCode.CLOUD, ClassCode.THIN_CLOUD)

_ALIASES: Final = {"shadow": 3, "thin": 2, "thick cloud": 1, "land": 0, "background": 0}


def class_code(name: str) -> int:
    """Return the code of a class name (``"thin cloud"``, ``"thin_cloud"`` and ``"thin"`` agree).

    Raises:
        InputError: the name is unknown; the message suggests the nearest.
    """
    wanted = name.strip().lower().replace("_", " ").replace("-", " ")
    codes = {v: k for k, v in CLASS_NAMES.items()} | _ALIASES
    if wanted not in codes:
        known = ", ".join(CLASS_NAMES.values())
        raise InputError(f"unknown class {name!r}{nearest(wanted, codes)} (known: {known})")
    return codes[wanted]


def class_set(names: Iterable[str]) -> int:
    """Return class names as a bit set: bit *code* is set for each class.

    A label that cannot tell cloud from thin cloud is ``class_set(["cloud", "thin cloud"]) == 6``;
    0 means that the pixel is ignored.
    """
    bits = 0
    for name in names:
        bits |= 1 << class_code(name)
    return bits


# What is scored, and the set of classes that counts as it.
SCORED: Final[dict[str, int]] = {
    "cloud": class_set(["cloud", "thin cloud"]),
    "thick cloud": class_set(["cloud"]),
    "thin cloud": class_set(["thin cloud"]),
    "cloud shadow": class_set(["cloud shadow"]),
    "snow": class_set(["snow"]),
    "water": class_set(["water"]),
    "clear": class_set(["clear"]),
}
