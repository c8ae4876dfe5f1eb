"""Bringing what a detector looks at to the resolution that it asks for, and its answer back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nubila.raster.resample import plan_axis, resample

__all__ = ["at_resolution", "back_to", "coarser", "is_coarser", "nearest_to"]

# A view that is this much finer or more is brought to what is asked, and one this much coarser is
# too coarse for it; 30 m stays 30 m.
_WORTH_IT = 1.25


def at_resolution(
    image: NDArray[np.float32], own: float | None, wanted: float | None
) -> NDArray[np.float32]:
    """Return an image by area average at a coarser resolution; finer ones are never made up.

    Args:
        image: (bands, rows, columns), NaN = no data.
        own: its metres a pixel; None, where nobody knows, leaves it as it is.
        wanted: metres a pixel; None leaves it as it is.
    """
    shape = coarser(image.shape[1:], own, wanted)
    return image if shape == image.shape[1:] else _resize(image, *shape)


def coarser(shape: tuple[int, ...], own: float | None, wanted: float | None) -> tuple[int, ...]:
    """Return the rows and columns that `at_resolution` gives an image of this shape."""
    if own is None or wanted is None or wanted / own < _WORTH_IT:
        return shape
    return tuple(max(1, round(size * own / wanted)) for size in shape)


def is_coarser(own: float | None, wanted: float) -> bool:
    """Tell whether a view is coarser than what is asked by more than `at_resolution` overlooks.

    Args:
        own: its metres a pixel; None, where nobody knows, is not.
        wanted: metres a pixel.
    """
    return own is not None and own / wanted >= _WORTH_IT


def back_to(probabilities: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return (outputs, *shape) probabilities by linear interpolation; they still sum to 1."""
    if probabilities.shape[1:] == shape:
        return probabilities
    return _resize(probabilities, *shape)


def nearest_to(codes: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return codes (rows, columns) in another shape, each pixel that of the nearest one."""
    places = [
        ((np.arange(new) + 0.5) * old / new).astype(np.intp)
        for new, old in zip(shape, codes.shape, strict=True)
    ]
    return codes[np.ix_(*places)]


def _resize(image: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    height, width = image.shape[1:]
    down = plan_axis(0, rows, ratio=height / rows, offset=0.0, length=height)
    across = plan_axis(0, columns, ratio=width / columns, offset=0.0, length=width)
    touched = image[:, down.start : down.stop, across.start : across.stop]
    return np.stack([resample(band, down, across) for band in touched])
