"""What images and labels tell without any prediction: duplicates, blanks, cloud-like pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.curate.audit_scores import cloud_mask
from nubila.datasets import Sample
from nubila.datasets.sample import unseen
from nubila.detect import open_detector, view_of

__all__ = ["Duplicate", "ImageFacts", "brightness", "find_duplicates", "image_facts"]

_VISIBLE: Final = ("blue", "green", "red")
_SIDE: Final = 16
# Pearson's correlation of thumbnails from which two images are one, perhaps brighter or cut anew.
_SAME: Final = 0.99
# Labels of one image that differ in more of it than this are not both right.
_OTHER_LABEL: Final = 0.1
# Thumbnails of fewer shades than this, in reflectance, look like any other.
_FLAT: Final = 0.005
_CLOUD_BITS: Final = 6


@dataclass(frozen=True)
class ImageFacts:
    """What is known of an image by itself; it goes through JSON.

    Attributes:
        digest: SHA-256 of the pixels.
        thumbnail: 16 x 16 means of the brightness, row by row, NaN as None.
        label_thumbnail: the same of the cloud mask.
        empty: share of pixels without data in any band.
        spread: standard deviation of the brightness.
        saturated: share of pixels that are at their band's greatest value in all visible bands.
        cloudlike: share of pixels that are bright and white (detector ``brightness``), or NaN.
    """

    digest: str
    thumbnail: list[float | None]
    label_thumbnail: list[float | None]
    empty: float
    spread: float
    saturated: float
    cloudlike: float


@dataclass(frozen=True)
class Duplicate:
    """Another sample of the same image.

    Attributes:
        id: of the other.
        correlation: of the thumbnails; 1 where all pixels are the same.
        exact: whether all pixels are the same.
        label_differs: mean difference of the two labels' cloud, 0 to 1.
    """

    id: str
    correlation: float
    exact: bool
    label_differs: float

    @property
    def contradicts(self) -> bool:
        """Whether the two labels cannot both be right."""
        return self.label_differs > _OTHER_LABEL


def brightness(sample: Sample) -> NDArray[np.float32]:
    """Return (rows, columns): the least of the visible bands, which is high for what is white.

    Of an image without all of them, the mean of its bands.
    """
    places = [sample.bands.index(name) for name in _VISIBLE if name in sample.bands]
    if len(places) == len(_VISIBLE):
        least: NDArray[np.float32] = sample.image[places].min(axis=0)
        return least
    there = np.isfinite(sample.image)
    total = np.where(there, sample.image, 0).sum(axis=0)
    number = there.sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan).astype(np.float32)


def image_facts(sample: Sample) -> ImageFacts:
    """Return what is known of a sample's image, and thumbnails of it and of its label."""
    bright = brightness(sample)
    known = bright[np.isfinite(bright)]
    view, rule = view_of(sample), open_detector("brightness")
    cloudlike = float("nan")
    if known.size and not rule.lacks(view):
        found = rule.detect(view).probability(_CLOUD_BITS)
        cloudlike = float(np.nanmean(found))
    return ImageFacts(
        digest=hashlib.sha256(np.ascontiguousarray(sample.image).tobytes()).hexdigest(),
        thumbnail=_plain(_thumbnail(bright)),
        label_thumbnail=_plain(_thumbnail(cloud_mask(sample.label))),
        empty=float(unseen(sample.image, sample.bands).mean()),
        spread=float(known.std()) if known.size else 0.0,
        saturated=_saturated(sample),
        cloudlike=cloudlike,
    )


def find_duplicates(ids: Sequence[str], facts: Sequence[ImageFacts]) -> dict[str, Duplicate]:
    """Return, for each sample that has one, the earlier or likest sample of the same image."""
    labels = _stacked([fact.label_thumbnail for fact in facts])
    centred = _directions(_stacked([fact.thumbnail for fact in facts]))
    first: dict[str, list[int]] = {}
    for place, fact in enumerate(facts):
        first.setdefault(fact.digest, []).append(place)
    found: dict[str, Duplicate] = {}
    for place, fact in enumerate(facts):
        same = [other for other in first[fact.digest] if other != place]
        likeness = centred @ centred[place]
        likeness[place] = -1
        other = same[0] if same else int(np.argmax(likeness))
        if same or likeness[other] >= _SAME:
            gap = np.abs(labels[place] - labels[other])
            differs = float(np.nanmean(gap)) if np.isfinite(gap).any() else 0.0
            like = 1.0 if same else round(float(likeness[other]), 4)
            found[ids[place]] = Duplicate(ids[other], like, bool(same), round(differs, 4))
    return found


def _stacked(thumbnails: Sequence[Sequence[float | None]]) -> NDArray[np.float64]:
    return np.array([[np.nan if v is None else v for v in each] for each in thumbnails], np.float64)


def _directions(thumbnails: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return thumbnails whose products are their correlations; 0 for those of one shade."""
    there = np.isfinite(thumbnails)
    number = np.maximum(there.sum(axis=1, keepdims=True), 1)
    mean = np.where(there, thumbnails, 0).sum(axis=1, keepdims=True) / number
    centred = np.where(there, thumbnails - mean, 0)
    size = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    return np.where(size / _SIDE > _FLAT, centred / np.maximum(size, 1e-9), 0)


def _saturated(sample: Sample) -> float:
    """Return the share of pixels at the greatest value of each visible band, or of all bands."""
    places = [n for n, name in enumerate(sample.bands) if name in _VISIBLE]
    stack = sample.image[places] if places else sample.image
    if not np.isfinite(stack).any():
        return 0.0
    top = np.nanmax(stack.reshape(len(stack), -1), axis=1)
    return float((stack == top[:, None, None]).all(axis=0).mean())


def _thumbnail(field: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return 16 x 16 means over cells, NaN where a cell has no value."""
    there = np.isfinite(field)
    sums = [np.where(there, field, 0).astype(np.float64), there.astype(np.float64)]
    for axis in (0, 1):
        edges = np.linspace(0, field.shape[axis], _SIDE, endpoint=False).astype(int)
        sums = [np.add.reduceat(values, edges, axis=axis) for values in sums]
    total, number = sums
    mean: NDArray[np.float64] = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    return mean


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(v) else round(float(v), 5) for v in values.ravel()]
