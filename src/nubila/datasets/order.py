"""Bands of any image in the order that a network takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nubila.errors import ManifestError

__all__ = ["order_bands"]

_Value = TypeVar("_Value", bound=np.floating[Any])


def order_bands(
    image: NDArray[_Value],
    bands: Sequence[str],
    wanted: Sequence[str],
    required: Sequence[str] = (),
) -> NDArray[_Value]:
    """Return an image's bands in another order, NaN for those that it does not have.

    ``nir08`` (Landsat's, and Sentinel-2's narrow one) stands in for ``nir`` where that is absent,
    unless both are asked for and ``nir`` is not required: so inference has it (`infer.plan`).

    Args:
        image: (bands, rows, columns).
        bands: common names in the image's order.
        wanted: common names in the order asked for.
        required: those of them that must be there.

    Returns:
        (wanted, rows, columns) of the image's type.

    Raises:
        ManifestError: a required band is absent; the message names it and what the image has.
    """
    place = {name: i for i, name in enumerate(bands)}
    alone = "nir08" not in wanted or "nir" in required
    if "nir" not in place and "nir08" in place and alone:
        place["nir"] = place["nir08"]
    absent = [name for name in required if name not in place]
    if absent:
        raise ManifestError(f"band {absent[0]} is absent (the image has: {', '.join(bands)})")
    ordered = np.full((len(wanted), *image.shape[1:]), np.nan, image.dtype)
    for target, name in zip(ordered, wanted, strict=True):
        if name in place:
            target[...] = image[place[name]]
    return ordered
