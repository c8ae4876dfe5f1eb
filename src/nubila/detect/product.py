"""The mask that came with a product (Sentinel-2's SCL, Landsat's QA_PIXEL) as a detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES, NO_DATA
from nubila.codes import from_codes
from nubila.datasets import SampleSpec
from nubila.detect.detector import Detection, Output, View, as_detection, refusal
from nubila.raster import Grid, Window
from nubila.scenes.band import BandFile
from nubila.scenes.open import open_scene

__all__ = ["ProductMask", "own_mask"]

_OUTPUTS: Final = tuple(Output(code, (name,)) for code, name in CLASS_NAMES.items())


@dataclass(frozen=True)
class ProductMask:
    """What the product's own mask says; pixels that it calls unknown are not judged."""

    @property
    def name(self) -> str:
        """What reports call it."""
        return "product"

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What it tells apart."""
        return _OUTPUTS

    def lacks(self, view: View) -> str:
        """Return what it would need to judge a view, in words; empty if it can."""
        return "no mask of the product's own" if view.own_mask is None else ""

    def detect(self, view: View) -> Detection:
        """Judge a view.

        Raises:
            BandError: the product has no mask.
        """
        if view.own_mask is None:
            raise refusal(self, view)
        codes = np.full(256, NO_DATA, np.uint8)
        for code in CLASS_NAMES:  # a set of one class is that class
            codes[1 << code] = code
        return as_detection(codes[view.own_mask], _OUTPUTS)


def own_mask(spec: SampleSpec) -> NDArray[np.uint8] | None:
    """Return a product's own mask on the grid of its sample, by the nearest pixel.

    Returns:
        (rows, columns) sets of one class each, 0 where the mask says nothing; None for a sample
        that is no product, or has no mask.

    Raises:
        ProductError: the product cannot be opened, or its mask not be decoded.
    """
    if not spec.scene:
        return None
    scene = open_scene(spec.images[0])
    for scheme, file in scene.masks.items():
        grid = scene.grid_at(spec.resolution or scene.default_resolution or None)
        classes = from_codes(_nearest(file, grid), scheme)
        sets = np.where(classes == NO_DATA, 0, 1 << np.minimum(classes, 7).astype(np.int32))
        return sets.astype(np.uint8)
    return None


def _nearest(file: BandFile, grid: Grid) -> NDArray[Any]:
    """Return a raster's values at the centres of a grid's pixels; outside of it the edge's."""
    values = file.source.read(1, Window.whole(file.source.shape))
    to_source = ~file.grid.transform * grid.transform
    places = []
    for axis, (step, start) in enumerate(((to_source.e, to_source.f), (to_source.a, to_source.c))):
        centre = np.floor((np.arange(grid.shape[axis]) + 0.5) * step + start + 1e-9)
        places.append(np.clip(centre.astype(np.intp), 0, values.shape[axis] - 1))
    codes: NDArray[Any] = values[np.ix_(*places)]
    return codes
