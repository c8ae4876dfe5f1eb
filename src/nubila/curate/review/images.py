"""A sample as a picture: which bands, and how reflectance becomes 8 bits."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nubila.datasets import Sample
from nubila.errors import InputError, nearest
from nubila.infer.picture import stretch as adapted

__all__ = ["OVERLAY", "STRETCHES", "band_choices", "picture_png", "render"]

# Name -> lowest and highest reflectance that is shown; None for limits found in the image.
STRETCHES: Final[dict[str, tuple[float, float] | None]] = {
    "adapted": None,  # haze taken away, shadow lifted, as in reports
    "percentiles": None,  # each band from its 2nd to its 98th percentile
    "ground": (0.0, 0.4),
    "shadow": (0.0, 0.12),
    "cloud": (0.2, 1.1),
}

# Name -> for red, green and blue the bands that may stand there, the first that is there.
_COMPOSITES: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "true colour": (("red",), ("green",), ("blue",)),
    "near infrared": (("nir", "nir08"), ("red",), ("green",)),
    "short-wave infrared": (("swir16",), ("nir", "nir08"), ("red",)),
    "snow and cloud": (("green",), ("swir16",), ("swir22",)),
}
# Okabe & Ito's colours (2008), one a class code. Those of maps (`classes.COLOURS`) would not do:
# white over a cloud shows nothing.
OVERLAY: Final[dict[int, tuple[int, int, int]]] = {
    0: (0, 158, 115),
    1: (230, 110, 0),
    2: (240, 228, 66),
    3: (204, 121, 167),
    4: (86, 180, 233),
    5: (0, 114, 178),
}
_NO_DATA: Final = 34  # dark grey, as the page


def band_choices(bands: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return name -> bands of every picture that a sample of these bands can give.

    Composites of three bands come first, then each band alone.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, places in _COMPOSITES.items():
        chosen = [next((b for b in place if b in bands), None) for place in places]
        if all(chosen):
            found[name] = tuple(band for band in chosen if band is not None)
    return found | {band: (band,) for band in bands}


def render(sample: Sample, bands: Sequence[str], stretch: str) -> NDArray[np.uint8]:
    """Return a sample in red, green and blue, or in grey of one band.

    Args:
        sample: what is shown.
        bands: one common name, or three.
        stretch: a key of `STRETCHES`.

    Returns:
        (rows, columns, 3) or (rows, columns) uint8; no data in dark grey.

    Raises:
        InputError: a band is not the sample's, there are not one or three, or the stretch is
            unknown.
    """
    if len(bands) not in (1, 3):
        raise InputError(f"{len(bands)} bands; expected one or three")
    for band in bands:
        if band not in sample.bands:
            raise InputError(f"no band {band!r}{nearest(band, sample.bands)} in {sample.meta.id}")
    if stretch not in STRETCHES:
        raise InputError(f"unknown stretch {stretch!r}{nearest(stretch, STRETCHES)}")
    image = sample.image[[sample.bands.index(band) for band in bands]]
    missing: NDArray[np.bool_] = np.logical_or.reduce(np.isnan(image), axis=0)
    picture = _adapted(image) if stretch == "adapted" else _linear(image, missing, stretch)
    picture[missing] = _NO_DATA
    return picture if len(bands) == 3 else picture[..., 0]


def picture_png(picture: NDArray[np.uint8]) -> bytes:
    """Return an 8-bit picture as PNG, packed lightly: it travels no further than this machine."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _adapted(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    return adapted(image if len(image) == 3 else image[[0, 0, 0]]).copy()


def _linear(
    image: NDArray[np.float32], missing: NDArray[np.bool_], stretch: str
) -> NDArray[np.uint8]:
    low, high = _limits(image[:, ~missing], stretch)
    span = np.maximum(high - low, 1e-4)[:, None, None]
    shown = np.clip((np.nan_to_num(image) - low[:, None, None]) / span, 0, 1)
    picture: NDArray[np.uint8] = np.rint(shown * 255).astype(np.uint8).transpose(1, 2, 0).copy()
    return picture


def _limits(
    found: NDArray[np.float32], stretch: str
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return what is black and what is white in each band of (bands, pixels)."""
    limits = STRETCHES[stretch]
    if limits is None and found.size:
        low, high = np.percentile(found, (2, 98), axis=1)
        return low, high
    low, high = limits or (0.0, 1.0)
    return np.full(len(found), low), np.full(len(found), high)
