"""What is done to a whole mask after its pixels are decided: small objects filled, clouds grown."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES, NO_DATA, ClassCode
from nubila.errors import InputError

__all__ = ["growth_notes", "postprocess", "postprocess_margin", "sieve_notes"]

# Rows that grow at a time, so that the work arrays stay small beside the raster.
_GROWN_ROWS: Final = 1024
_SPREADING: Final = (ClassCode.CLOUD, ClassCode.THIN_CLOUD, ClassCode.CLOUD_SHADOW)


def postprocess(
    classes: NDArray[np.uint8],
    *,
    pixel_size: tuple[float, float],
    dilate_m: float = 0.0,
    min_area_m2: float = 0.0,
) -> NDArray[np.uint8]:
    """Return classes of a whole raster with small objects taken out, then clouds grown.

    Args:
        classes: (rows, columns) uint8, the whole raster, so that tiling leaves no trace.
        pixel_size: height and width of a pixel in metres.
        dilate_m: cloud, thin cloud and cloud shadow grow by a disc of this radius in metres.
        min_area_m2: connected objects (by edges) of one class smaller than this are filled by
            the largest of the objects around them, holes in clouds too; where that is smaller as
            well, by the largest around that one, and so on. Those stay from which this leads round
            in a circle, to none that is large enough.

    Returns:
        (rows, columns) uint8. Clouds grow over clear, snow and water only; where several reach a
        pixel, cloud goes before thin cloud before cloud shadow. 255 neither grows nor is covered.

    Raises:
        InputError: a length or an area is negative or not finite.
    """
    for name, value in (("dilate_m", dilate_m), ("min_area_m2", min_area_m2)):
        if not (math.isfinite(value) and value >= 0):
            raise InputError(f"{name} must be a number from 0 up, got {value}")
    result = _sieve(classes, _least_pixels(min_area_m2, pixel_size))
    # A disc that reaches from corner to corner covers all; a greater one would only take longer.
    diagonal = math.hypot(*(n * side for n, side in zip(classes.shape, pixel_size, strict=True)))
    return _grow(result, _disc(min(dilate_m, diagonal), pixel_size))


def postprocess_margin(
    *, pixel_size: tuple[float, float], dilate_m: float = 0.0, min_area_m2: float = 0.0
) -> int:
    """Return how many pixels around a part of a raster decide what `postprocess` does in the part.

    With so many, clouds grow into the part from outside, and an object is small if it is small in
    the whole raster: one that goes on beyond them has pixels enough before. Only which class
    fills a small object may differ, where the objects around it are cut.

    Args:
        pixel_size: as of `postprocess`; that of the whole raster.
        dilate_m: see pixel_size.
        min_area_m2: see pixel_size.
    """
    grown = math.ceil(dilate_m / min(pixel_size))
    return grown + max(0, _least_pixels(min_area_m2, pixel_size) - 1)


def growth_notes(*, pixel_size: tuple[float, float], dilate_m: float) -> tuple[str, ...]:
    """Return a note if `postprocess` is to grow clouds by less than a pixel, which it cannot.

    Args:
        pixel_size: as of `postprocess`.
        dilate_m: see pixel_size.
    """
    if dilate_m == 0 or _disc(dilate_m, pixel_size) != [0]:
        return ()
    return (
        f"dilation of {dilate_m:g} m is less than a pixel of {min(pixel_size):.4g} m: nothing "
        f"grows",
    )


def sieve_notes(
    classes: NDArray[np.uint8], *, pixel_size: tuple[float, float], min_area_m2: float
) -> tuple[str, ...]:
    """Return a note if no object can be large enough for `postprocess` to fill others with.

    Args:
        classes: as of `postprocess`.
        pixel_size: see classes.
        min_area_m2: see classes.
    """
    pixels = _least_pixels(min_area_m2, pixel_size)
    if pixels <= 1 or any(np.count_nonzero(classes == code) >= pixels for code in CLASS_NAMES):
        return ()
    return (
        f"no class covers {min_area_m2:g} m2, the least area: there is nothing to fill small "
        f"objects with, and they stay",
    )


def _least_pixels(area: float, pixel_size: tuple[float, float]) -> int:
    """Return how many pixels an object has at least that is not smaller than an area."""
    return math.ceil(area / (pixel_size[0] * pixel_size[1]) - 1e-9)


def _sieve(classes: NDArray[np.uint8], pixels: int) -> NDArray[np.uint8]:
    """Fill objects of fewer than so many pixels."""
    if pixels <= 1 or pixels >= classes.size:
        return classes
    from rasterio.features import sieve

    found: NDArray[np.uint8] = sieve(classes, pixels, mask=classes != NO_DATA, connectivity=4)
    return np.where(classes == NO_DATA, classes, found)


def _disc(radius: float, pixel_size: tuple[float, float]) -> list[int]:
    """Return, for 0, 1, 2 ... columns off the middle, how many rows a disc reaches up and down."""
    height, width = pixel_size
    across = math.floor(radius / width + 1e-9)
    # The small number keeps a pixel in whose centre lies on the circle.
    return [
        math.floor(math.sqrt(max(0.0, radius**2 - (n * width) ** 2)) / height + 1e-9)
        for n in range(across + 1)
    ]


def _grow(classes: NDArray[np.uint8], disc: list[int]) -> NDArray[np.uint8]:
    """Grow the spreading classes by a disc, a band of rows at a time."""
    reach = disc[0]
    if len(disc) == 1 and reach == 0:
        return classes
    result = classes.copy()
    for top in range(0, len(classes), _GROWN_ROWS):
        first = max(0, top - reach)
        part = classes[first : top + _GROWN_ROWS + reach]
        target = result[top : top + _GROWN_ROWS]
        inner = slice(top - first, top - first + len(target))
        free = ~np.isin(target, [*_SPREADING, NO_DATA])
        for code in _SPREADING:
            reached = _reached(part == code, disc)[inner] & free
            target[reached] = code
            free &= ~reached
    return result


def _reached(there: NDArray[np.bool_], disc: list[int]) -> NDArray[np.bool_]:
    """Dilate by a disc: rows to the nearest pixel above or below, then columns side by side."""
    if not there.any():
        return there
    distance = _rows_away(there, disc[0] + 1)
    reached = distance <= disc[0]
    for n, rows in enumerate(disc[1:], start=1):
        near = distance <= rows
        reached[:, n:] |= near[:, :-n]
        reached[:, :-n] |= near[:, n:]
        if reached.all():
            break
    return reached


def _rows_away(there: NDArray[np.bool_], most: int) -> NDArray[Any]:
    """Return how many rows each pixel is from the nearest True in its column, up to `most`."""
    distance = np.where(there, 0, most).astype(np.min_scalar_type(most + 1))
    for order in (range(1, len(there)), range(len(there) - 2, -1, -1)):
        for row in order:
            previous = row - order.step
            np.minimum(distance[row], distance[previous] + 1, out=distance[row])
    return distance
