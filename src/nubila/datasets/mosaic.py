"""Patches of a scene put back together: of 38-Cloud, whose scores are of whole scenes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from nubila.datasets.local import local_env
from nubila.datasets.sample import Sample, SampleMeta, load_sample
from nubila.datasets.spec import SampleSpec
from nubila.errors import ManifestError

__all__ = ["assemble", "mosaic", "scene_groups"]


def scene_groups(specs: Sequence[SampleSpec]) -> dict[str, tuple[SampleSpec, ...]]:
    """Return the patches of each scene, by group, in the order of the specs."""
    found: defaultdict[str, list[SampleSpec]] = defaultdict(list)
    for spec in specs:
        found[spec.group].append(spec)
    return {group: tuple(members) for group, members in found.items()}


def mosaic(specs: Sequence[SampleSpec]) -> Sample:
    """Read all patches of one scene into one sample, as large as the scene.

    So a network sees what lies beyond a patch's edge, and the scene is scored as a whole. Where a
    patch is absent there are no data and no label. A scene of 38-Cloud takes about 1 GB.

    Args:
        specs: patches with the tags ``row`` and ``column``, of one group.

    Raises:
        ManifestError: as `load_sample`, or the patches do not fit together.
    """
    samples = [load_sample(spec) for spec in specs]
    first = samples[0].meta
    image = assemble(specs, [s.image for s in samples], fill=np.nan)
    label = assemble(specs, [s.label for s in samples], fill=0)
    meta = SampleMeta(
        id=first.group,
        folder=first.folder,
        group=first.group,
        split=first.split,
        sensor=first.sensor,
        level=first.level,
        resolution=first.resolution,
        tags={k: v for k, v in first.tags.items() if k not in ("row", "column", "patch")},
    )
    return Sample(image, label, samples[0].bands, meta)


def assemble(
    specs: Sequence[SampleSpec], patches: Sequence[NDArray[Any]], *, fill: float
) -> NDArray[Any]:
    """Put arrays of a scene's patches, masks that a model gave say, together.

    The margin that the patches have around the scene is cut off where the scene's own mask tells
    how large it is (test patches); else it stays.

    Args:
        specs: patches with the tags ``row`` and ``column`` (from 1), of one group.
        patches: (..., rows, columns) of each, all of one shape.
        fill: for pixels of absent patches.

    Returns:
        (..., rows, columns) of the scene.

    Raises:
        ManifestError: the patches are of several scenes or shapes, or not told by row and column.
    """
    places = _places(specs)
    shapes = {patch.shape for patch in patches}
    if len(shapes) != 1 or len(patches) != len(specs):
        raise ManifestError(
            f"{specs[0].group}: {len(specs)} patches and {len(patches)} arrays of shapes "
            f"{sorted(shapes)}; expected one of one shape for each"
        )
    *lead, height, width = shapes.pop()
    corners = {place: (place[0] * height, place[1] * width) for place in places}
    shift, shape = _scene_window(specs, places, (height, width))
    whole = np.full((*lead, *shape), fill, patches[0].dtype)
    for place, patch in zip(places, patches, strict=True):
        top, left = (corners[place][i] - shift[i] for i in (0, 1))
        rows = slice(max(top, 0), max(min(top + height, shape[0]), 0))
        columns = slice(max(left, 0), max(min(left + width, shape[1]), 0))
        inside = (
            ...,
            slice(rows.start - top, rows.stop - top),
            slice(columns.start - left, columns.stop - left),
        )
        whole[..., rows, columns] = patch[inside]
    return whole


def _places(specs: Sequence[SampleSpec]) -> list[tuple[int, int]]:
    """Return the row and column of each patch, from 0."""
    if len({spec.group for spec in specs}) != 1:
        raise ManifestError(f"patches of {len({s.group for s in specs})} scenes; expected one")
    try:
        return [(int(s.tags["row"]) - 1, int(s.tags["column"]) - 1) for s in specs]
    except (KeyError, ValueError) as error:
        raise specs[0].error(
            "row", f"patches need whole numbers in the columns row and column ({error})"
        ) from error


def _scene_window(
    specs: Sequence[SampleSpec], places: Sequence[tuple[int, int]], size: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the scene's first pixel in the lattice of patches, and its shape."""
    spec = specs[0]
    if spec.corner is None:
        counts = [max(place[i] for place in places) + 1 for i in (0, 1)]
        return (0, 0), (counts[0] * size[0], counts[1] * size[1])
    shape = _mask_shape(spec)
    shift = [places[0][i] * size[i] - spec.corner[i] for i in (0, 1)]
    return (shift[0], shift[1]), shape


def _mask_shape(spec: SampleSpec) -> tuple[int, int]:
    try:
        with local_env(), rasterio.open(spec.label_file) as data:
            return data.height, data.width
    except RasterioError as error:
        raise spec.error("mask", f"{spec.mask} cannot be decoded: {error}") from error
