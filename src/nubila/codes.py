"""Tables to and from the class codes of other products.

Every scheme is one row of `SCHEMES`. Going to a scheme loses what it cannot say (ukis-csmask has no
snow, so snow becomes background); coming from one, codes that a scheme does not define, and those
that say "not known", become 255: what is not known is never called clear.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import NO_DATA, ClassCode
from nubila.errors import InputError, nearest

__all__ = ["SCHEMES", "CodeScheme", "code_scheme", "from_codes", "to_codes"]

_MOST: Final = 65535  # the highest code that a scheme can have: those of QA_PIXEL have 16 bits

_CLEAR, _CLOUD, _THIN, _SHADOW, _SNOW, _WATER = (int(c) for c in list(ClassCode)[:6])


@dataclass(frozen=True)
class CodeScheme:
    """How another product writes classes.

    Attributes:
        name: as in ``--codes``.
        source: where the codes are defined.
        to: our class code -> the product's code; holds all six classes and 255.
        back: the product's code -> our class code; what is absent becomes 255.
        names: the product's code -> what the product calls it.
        dtype: of the product's raster.
    """

    name: str
    source: str
    to: Mapping[int, int]
    back: Mapping[int, int]
    names: Mapping[int, str]
    dtype: str = "uint8"


_SCL = CodeScheme(
    name="scl",
    source="Sen2Cor Configuration and User Manual, S2-PDGS-MPC-L2A-SUM, scene classification",
    # "Clear" becomes "not vegetated", since nubila does not look for plants.
    to={_CLEAR: 5, _CLOUD: 9, _THIN: 10, _SHADOW: 3, _SNOW: 11, _WATER: 6, NO_DATA: 0},
    back={
        2: _CLEAR,
        3: _SHADOW,
        4: _CLEAR,
        5: _CLEAR,
        6: _WATER,
        8: _CLOUD,
        9: _CLOUD,
        10: _THIN,
        11: _SNOW,
    },
    names={
        0: "no data",
        1: "saturated or defective",
        2: "dark area",
        3: "cloud shadow",
        4: "vegetation",
        5: "not vegetated",
        6: "water",
        7: "unclassified",
        8: "cloud, medium probability",
        9: "cloud, high probability",
        10: "thin cirrus",
        11: "snow or ice",
    },
)

_FMASK = CodeScheme(
    name="fmask",
    source="Zhu & Woodcock 2012, doi:10.1016/j.rse.2011.10.028",
    to={_CLEAR: 0, _WATER: 1, _SHADOW: 2, _SNOW: 3, _CLOUD: 4, _THIN: 4, NO_DATA: 255},
    back={0: _CLEAR, 1: _WATER, 2: _SHADOW, 3: _SNOW, 4: _CLOUD},
    names={
        0: "clear land",
        1: "clear water",
        2: "cloud shadow",
        3: "snow",
        4: "cloud",
        255: "fill",
    },
)

# Written with the values that CFMask itself gives for a sure pixel of each kind: bits 8 to 15 are
# four confidences of two bits each (1 low, 3 high), bit 6 is set wherever no cloud is.
_QA_PIXEL = CodeScheme(
    name="qa_pixel",
    source="USGS LSDS-1619, Landsat 8-9 Collection 2 Level 2 Product Guide, table of QA_PIXEL",
    to={
        _CLEAR: 21824,
        _CLOUD: 22280,
        _THIN: 54596,
        _SHADOW: 23888,
        _SNOW: 30048,
        _WATER: 21952,
        NO_DATA: 1,
    },
    back={},  # bits, read by `_from_qa_pixel`
    names={
        1: "fill",
        21824: "clear",
        21952: "water",
        22280: "cloud",
        23888: "cloud shadow",
        30048: "snow",
        54596: "cirrus",
    },
    dtype="uint16",
)

_CLOUDSEN12 = CodeScheme(
    name="cloudsen12",
    source="Aybar et al. 2022, doi:10.1038/s41597-022-01878-2",
    to={_CLEAR: 0, _CLOUD: 1, _THIN: 2, _SHADOW: 3, _SNOW: 0, _WATER: 0, NO_DATA: 255},
    back={0: _CLEAR, 1: _CLOUD, 2: _THIN, 3: _SHADOW},
    names={0: "clear", 1: "thick cloud", 2: "thin cloud", 3: "cloud shadow", 255: "no data"},
)

_OMNICLOUDMASK = CodeScheme(
    name="omnicloudmask",
    source="OmniCloudMask documentation, classes of the output",
    to=_CLOUDSEN12.to,
    back=_CLOUDSEN12.back,
    names=_CLOUDSEN12.names,
)

_UKIS = CodeScheme(
    name="ukis-csmask",
    source="ukis-csmask 1.0, classes of CSmask.csm",
    to={_CLEAR: 0, _CLOUD: 1, _THIN: 1, _SHADOW: 2, _SNOW: 0, _WATER: 0, NO_DATA: 255},
    back={0: _CLEAR, 1: _CLOUD, 2: _SHADOW},
    names={0: "background", 1: "cloud", 2: "cloud shadow", 255: "no data"},
)

_S2CLOUDLESS = CodeScheme(
    name="s2cloudless",
    source="Sentinel Hub, cloud mask CLM made by s2cloudless",
    to={_CLEAR: 0, _CLOUD: 1, _THIN: 1, _SHADOW: 0, _SNOW: 0, _WATER: 0, NO_DATA: 255},
    back={0: _CLEAR, 1: _CLOUD},
    names={0: "no cloud", 1: "cloud", 255: "no data"},
)

SCHEMES: Final[dict[str, CodeScheme]] = {
    s.name: s for s in (_SCL, _FMASK, _QA_PIXEL, _CLOUDSEN12, _OMNICLOUDMASK, _UKIS, _S2CLOUDLESS)
}


def code_scheme(name: str) -> CodeScheme:
    """Return a scheme by name.

    Raises:
        InputError: the name is unknown; the message suggests the nearest.
    """
    wanted = name.strip().lower()
    if wanted not in SCHEMES:
        raise InputError(
            f"unknown codes {name!r}{nearest(wanted, SCHEMES)} (known: {', '.join(SCHEMES)})"
        )
    return SCHEMES[wanted]


def to_codes(classes: NDArray[np.uint8], scheme: str) -> NDArray[Any]:
    """Return another product's codes for class codes.

    Args:
        classes: uint8 class codes of any shape.
        scheme: a name in `SCHEMES`.

    Returns:
        The same shape, in the scheme's dtype.

    Raises:
        InputError: the scheme is unknown.
    """
    found = code_scheme(scheme)
    table = np.full(256, found.to[NO_DATA], found.dtype)
    for ours, theirs in found.to.items():
        table[ours] = theirs
    return table[classes]


def from_codes(codes: NDArray[Any], scheme: str) -> NDArray[np.uint8]:
    """Return class codes for another product's codes.

    Args:
        codes: of any shape: integers, or whole numbers as floating point, where NaN and infinity
            are no data.
        scheme: a name in `SCHEMES`.

    Returns:
        uint8 of the same shape; 255 where the product's code says "not known" or is not defined.

    Raises:
        InputError: the scheme is unknown, or the codes are no whole numbers.
    """
    found = code_scheme(scheme)
    codes = _whole_numbers(codes)
    if found is _QA_PIXEL:
        return _from_qa_pixel(codes)
    classes = np.full(codes.shape, NO_DATA, np.uint8)
    for theirs, ours in found.back.items():
        classes[codes == theirs] = ours
    return classes


def _whole_numbers(codes: NDArray[Any]) -> NDArray[Any]:
    """Return codes as integers, and as -1, which no scheme defines, what none can be."""
    codes = np.asarray(codes)
    if codes.dtype.kind in "biu":
        return codes
    if codes.dtype.kind != "f":
        raise InputError(f"codes of classes must be whole numbers, got {codes.dtype}")
    broken = np.isfinite(codes) & (codes != np.rint(codes))
    if broken.any():
        raise InputError(f"codes of classes must be whole numbers, got {codes[broken][0]}")
    possible = (codes >= 0) & (codes <= _MOST)
    return np.where(possible, codes, -1).astype(np.int32)


# QA_PIXEL bits and the class that each means, weakest first: a later one overwrites. Dilated cloud
# (bit 1) is CFMask's margin around clouds, so it counts as cloud unless something surer is said.
_QA_PIXEL_BITS: Final = (
    (7, _WATER),
    (5, _SNOW),
    (4, _SHADOW),
    (1, _CLOUD),
    (2, _THIN),
    (3, _CLOUD),
)


def _from_qa_pixel(codes: NDArray[Any]) -> NDArray[np.uint8]:
    classes = np.full(codes.shape, _CLEAR, np.uint8)
    for bit, ours in _QA_PIXEL_BITS:
        classes[(codes >> bit) & 1 == 1] = ours
    # Bit 0 is fill, and no pixel that was judged has 0: that is what warping fills gaps with.
    classes[(codes & 1 == 1) | (codes <= 0) | (codes > _MOST)] = NO_DATA
    return classes
