"""Cutting a sample into tiles: where they lie, what they hold, which are kept."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES, class_code
from nubila.datasets import Sample
from nubila.datasets.order import order_bands
from nubila.datasets.sample import unseen
from nubila.errors import ManifestError
from nubila.raster.resample import plan_axis, resample
from nubila.scenes.statistics import scene_statistics

__all__ = ["SETS", "Cut", "TilingPlan", "allowed_pixels", "cut_sample", "lattice"]

# Labels are sets of six classes.
SETS: Final = 1 << len(CLASS_NAMES)

# Random windows that are drawn for each that is wanted, before an image is given up.
_TRIES: Final = 20


class TilingPlan(Protocol):
    """What a tiling says; `nubila.recipe.data.Tiling` is one, and documents each field."""

    size: int
    overlap: int
    resolution: float | None
    least_valid: float
    least_share: dict[str, float]
    windows: int
    dates: tuple[str, ...]
    splits: dict[str, float]
    seed: int


@dataclass(frozen=True)
class Cut:
    """The tiles of one sample.

    Attributes:
        images: (tiles, bands, size, size) float16 reflectance, NaN = no data.
        labels: (tiles, size, size) uint8 sets of classes, 0 = ignored.
        corners: (tiles, 2) row and column of the first pixel in the resampled sample.
        valid: (tiles,) share of a tile's pixels that have data in a reflective band.
        sets: (tiles, SETS) pixels of each label set.
        statistics: (len(SCENE_STATISTICS), bands) of the whole sample.
    """

    images: NDArray[np.float16]
    labels: NDArray[np.uint8]
    corners: NDArray[np.int32]
    valid: NDArray[np.float64]
    sets: NDArray[np.uint32]
    statistics: NDArray[np.float32]


def cut_sample(
    sample: Sample, tiling: TilingPlan, *, bands: Sequence[str], required: Sequence[str]
) -> Cut:
    """Cut a sample into the tiles that the tiling's filters keep.

    Args:
        sample: the whole image.
        tiling: see `nubila.recipe.data.Tiling`.
        bands: of the tiles, in this order; one that the sample lacks is NaN.
        required: bands that the sample must have.

    Raises:
        ManifestError: a required band is absent, or the sample's resolution is not known and the
            tiling asks for one.
    """
    image = order_bands(sample.image, sample.bands, bands, required)
    image, label = _at_resolution(image, sample, tiling.resolution, bands)
    size = tiling.size
    half = image.astype(np.float16)
    kept = (
        tile
        for corner in _corners(label.shape, tiling, sample.meta.id)
        if (tile := _tile(half, label, corner, size, bands)).is_kept(tiling)
    )
    tiles = list(islice(kept, tiling.windows or None))
    return Cut(
        images=_stacked([t.image for t in tiles], (len(bands), size, size), np.float16),
        labels=_stacked([t.label for t in tiles], (size, size), np.uint8),
        corners=_stacked([np.array(t.corner) for t in tiles], (2,), np.int32),
        valid=np.array([t.valid for t in tiles], np.float64),
        sets=_stacked([t.sets for t in tiles], (SETS,), np.uint32),
        statistics=scene_statistics(image),
    )


def lattice(length: int, size: int, overlap: int) -> list[int]:
    """Return the first pixels of tiles that cover an axis, the last shifted inwards to fit.

    An axis shorter than a tile gets one tile, which `cut_sample` fills up with no data.

    >>> lattice(1022, 256, 0)
    [0, 256, 512, 766]
    """
    last = max(length - size, 0)
    return [*range(0, last, size - overlap), last]


def allowed_pixels(sets: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return how many pixels may be of each class: those whose label allows it.

    Args:
        sets: (..., SETS) pixels of each label set.

    Returns:
        (..., classes) in the order of `CLASS_NAMES`.
    """
    member = (np.arange(SETS)[:, None] >> np.arange(len(CLASS_NAMES))) & 1
    found: NDArray[np.int64] = sets.astype(np.int64) @ member
    return found


@dataclass(frozen=True)
class _Tile:
    image: NDArray[np.float16]
    label: NDArray[np.uint8]
    corner: tuple[int, int]
    valid: float
    sets: NDArray[np.int64]

    def is_kept(self, tiling: TilingPlan) -> bool:
        allowed = allowed_pixels(self.sets) / self.label.size
        return self.valid >= tiling.least_valid and all(
            allowed[class_code(name)] >= share for name, share in tiling.least_share.items()
        )


def _tile(
    image: NDArray[np.float16],
    label: NDArray[np.uint8],
    corner: tuple[int, int],
    size: int,
    bands: Sequence[str],
) -> _Tile:
    row, column = corner
    window = slice(row, row + size), slice(column, column + size)
    tile, mask = image[:, *window], label[window]
    if mask.shape != (size, size):
        missing = [(0, size - length) for length in mask.shape]
        tile = np.pad(tile, ((0, 0), *missing), constant_values=np.float16(np.nan))
        mask = np.pad(mask, missing)
    empty = int(unseen(tile, bands).sum())
    sets = np.bincount(mask.ravel(), minlength=SETS)
    return _Tile(tile, mask, corner, 1 - empty / mask.size, sets)


def _corners(shape: tuple[int, ...], tiling: TilingPlan, name: str) -> list[tuple[int, int]]:
    """Return row and column of each tile, or of the random windows to choose from."""
    size = tiling.size
    if not tiling.windows:
        rows, columns = (lattice(length, size, tiling.overlap) for length in shape)
        return [(row, column) for row in rows for column in columns]
    # The sample's name is in the seed, so that its windows do not depend on the other samples.
    random = np.random.default_rng([tiling.seed, zlib.crc32(name.encode())])
    filtered = tiling.least_valid > 0 or tiling.least_share
    count = tiling.windows * (_TRIES if filtered else 1)
    ends = [max(length - size, 0) + 1 for length in shape]
    return [(int(r), int(c)) for r, c in random.integers(0, ends, (count, 2))]


def _at_resolution(
    image: NDArray[np.float32], sample: Sample, resolution: float | None, bands: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return image and label at a resolution in metres; labels take the nearest pixel."""
    own = sample.meta.resolution
    if resolution is None:
        return image, sample.label
    if own is None:
        raise ManifestError(
            f"tiling.resolution is {resolution:g} m, but this image has neither a georeference nor "
            f"a resolution in the manifest; give it one in a column 'resolution'"
        )
    ratio = resolution / own
    if math.isclose(ratio, 1, rel_tol=1e-3):
        return image, sample.label
    shape = sample.label.shape
    counts = [max(1, math.ceil(length / ratio - 1e-3)) for length in shape]
    rows, columns = (
        plan_axis(0, count, ratio=ratio, offset=0.0, length=length)
        for count, length in zip(counts, shape, strict=True)
    )
    nearest = [
        np.minimum(((np.arange(count) + 0.5) * ratio).astype(np.intp), length - 1)
        for count, length in zip(counts, shape, strict=True)
    ]
    brought = np.stack(
        [resample(band[rows.start : rows.stop, columns.start : columns.stop], rows, columns)
         for band in image]
    )  # fmt: skip
    label = sample.label[np.ix_(*nearest)]
    label[unseen(brought, bands)] = 0
    return brought, label


def _stacked(
    arrays: list[NDArray[Any]], shape: tuple[int, ...], kind: type[np.generic]
) -> NDArray[Any]:
    return np.stack(arrays).astype(kind, copy=False) if arrays else np.empty((0, *shape), kind)
