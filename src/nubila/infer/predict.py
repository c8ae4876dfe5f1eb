"""Masking an array: `predict`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from numpy.typing import ArrayLike

from nubila.infer.delivery import mask_in_memory, prepare
from nubila.infer.mask import CloudMask
from nubila.infer.operating import given_thresholds
from nubila.infer.provenance import MaskOptions
from nubila.models_io import Model
from nubila.raster import Grid
from nubila.scenes.array import scene_from_array

__all__ = ["predict"]


def predict(
    array: ArrayLike,
    bands: str | Sequence[str],
    *,
    model: Model | str | Path | None = None,
    scale: float | Mapping[str, float] | None = None,
    offset: float | Mapping[str, float] = 0.0,
    nodata: float | None = None,
    saturated: float | None = None,
    resolution: float = 10.0,
    grid: Grid | None = None,
    operating_point: str | None = None,
    thresholds: Mapping[str, float] | None = None,
    probabilities: bool = False,
    threads: int | None = None,
) -> CloudMask:
    """Mask an array; reflectance = array * scale + offset.

    Args:
        array: (bands, rows, columns) of any real number type; NaN, infinity, and what a masked
            array masks are no data.
        bands: common names in the order of the first axis; ``-`` leaves one out.
        model: a loaded model, the name of one that ships, or a path; default the first that ships.
        scale: of all bands, or by name. Default: floating-point values are taken as reflectance
            if they can be, integers are refused. What is given, 1 too, is taken at its word.
        offset: of all bands, or by name.
        nodata: value that means no data. Without it, and unless the array masks something, pixels
            of exactly 0 in every band that the model takes are no data, and a note says so; NaN
            says that they are data.
        saturated: value from which a pixel is saturated.
        resolution: metres a pixel; not used with a grid.
        grid: where the pixels lie; default no CRS, top left corner at the origin.
        operating_point: thresholds and post-processing by a name of the model's card; its metres
            go by `resolution`. Default: none.
        thresholds: class name -> least probability, before the operating point's; default the
            most probable class.
        probabilities: keep the probabilities.
        threads: default one a processor.

    Returns:
        The mask; of an array without any data too, all of whose classes are then 255.

    Raises:
        BandError: a band name is unknown, or one that the model needs is missing.
        GridError: the grid has another shape than the array.
        InputError: an argument is wrong; without a scale, values are integers, or their 99th
            percentile is above 10 (1000 %) or the lowest -1 or less, which no reflectance is.
        ModelError: there is no such model, or it does not run.

    >>> mask = predict(counts, "blue,green,red,nir", scale=1e-4, nodata=0)  # doctest: +SKIP
    >>> mask.classes.shape == counts.shape[1:]                              # doctest: +SKIP
    True
    """
    scene = scene_from_array(
        array,
        bands,
        scale=scale,
        offset=offset,
        nodata=nodata,
        saturated=saturated,
        resolution=resolution,
        grid=grid,
        zero_fill=True,
    )
    options = MaskOptions(
        operating_point=operating_point,
        thresholds=given_thresholds(thresholds),
        probabilities=probabilities,
    )
    return mask_in_memory(prepare(scene, model, options), threads, None)
