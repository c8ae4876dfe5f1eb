"""What a hard case is: an image, what is known of it, and the kind of difficulty that it shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from nubila.classes import class_set
from nubila.datasets import Sample

__all__ = ["CASES", "NOT_CLOUD", "HardImage"]

# The kinds, in the order of the report: name -> what is hard about it.
CASES: Final[dict[str, str]] = {
    "clear snow": "As bright as cloud; only the short-wave infrared tells them apart.",
    "snow under cloud": "White on white; thin cloud over snow hardly shows in the visible.",
    "ice": "Lakes and glaciers; darker than snow, smooth, with sharp edges.",
    "bright sand": "Bright in all bands and without texture.",
    "salt": "As white as cloud in the visible.",
    "beach and glint": "Bright strips, and the sun's reflection on water.",
    "city": "Roofs as bright as small clouds.",
    "overcast": "Nothing but cloud: nothing to compare it with.",
    "saturated": "Cloud so bright that the sensor or the file's number type ends.",
    "thin cloud over water": "A faint veil on a dark ground.",
    "thin cloud over land": "The ground shows through.",
    "small cumulus": "Clouds of a few pixels.",
    "fog": "Smooth, low, without a shadow of its own.",
    "shadow on water": "Dark on dark.",
    "no data": "Half-empty tiles: the edge must not become cloud.",
    "dark terrain": "Shaded slopes that are no cloud shadow.",
}

NOT_CLOUD: Final = class_set(["clear", "cloud shadow", "snow", "water"])


@dataclass(frozen=True)
class HardImage:
    """An image of a hard case, read when it is needed.

    Attributes:
        case: the kind; `CASES` has those that are built in.
        name: unique in a suite.
        source: ``real``, ``synthetic`` or ``spectra``.
        note: what there is to see, or how the truth is known.
        read: makes the sample; its label is 0 where nothing is known.
    """

    case: str
    name: str
    source: str
    note: str
    read: Callable[[], Sample]
