"""How well a label and a prediction of it go together, pixel by pixel.

A label is a set of classes and may leave several open; an output of a model may stand for several
too. A prediction can be held against it only in one way without claiming what nobody said: the
*label quality* of a pixel is the probability of all outputs that the label allows. Where it rules
no output out, there is nothing to judge, and the pixel does not count. To cleanlab's segmentation
scores that is a problem of two classes, "what the label allows" and "what it rules out", with the
first as the label everywhere; where every label names one class and every output stands for one,
the scores are the same as those of all the classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import CLOUD_CODES
from nubila.curate.predictions import Output
from nubila.errors import MissingExtraError

__all__ = ["Agreement", "cloud_mask", "cloud_probability", "judge", "label_quality"]

# A few pixels that one has and the other has not are no overlap, and no sign of a wrong label.
_NEXT_TO_NONE: Final = 0.005
# A model that gives the label less than this is sure that it is wrong.
_SURE: Final = 0.1

_CLOUD_BITS: Final = sum(1 << code for code in CLOUD_CODES)


@dataclass(frozen=True)
class Agreement:
    """How a label and its prediction agree; NaN where nothing can be said.

    Attributes:
        pixels: that the label and the prediction both judge.
        cleanlab: label quality score of the image, 0 to 1, of
            `cleanlab.segmentation.rank.get_label_quality_scores` (softmin: near the quality of the
            worst pixels).
        disagreement: mean probability that the label is wrong.
        confident: share of pixels whose label has a probability below 0.1.
        iou: intersection over union of cloud in label and prediction; NaN where both have next
            to none.
        label_cloud: share of pixels labelled cloud and nothing else.
        predicted_cloud: share of the same pixels predicted cloud.
    """

    pixels: int
    cleanlab: float
    disagreement: float
    confident: float
    iou: float
    label_cloud: float
    predicted_cloud: float


def judge(
    label: NDArray[np.uint8], probabilities: NDArray[np.float32], outputs: Sequence[Output]
) -> Agreement:
    """Hold a label against a prediction.

    Args:
        label: (rows, columns) sets of nubila's classes, 0 = ignored.
        probabilities: (outputs, rows, columns), NaN = not judged.
        outputs: what they are the probabilities of.

    Raises:
        MissingExtraError: cleanlab is not installed.
    """
    quality = label_quality(label, probabilities, outputs)
    known = quality[np.isfinite(quality)]
    nan = float("nan")
    if not known.size:
        return Agreement(0, nan, nan, nan, nan, nan, nan)
    mask, cloud = cloud_mask(label), cloud_probability(probabilities, outputs)
    told = np.isfinite(mask) & np.isfinite(cloud)
    labelled, predicted = mask[told] > 0.5, cloud[told] >= 0.5
    union = np.count_nonzero(labelled | predicted)
    most = max(np.count_nonzero(labelled), np.count_nonzero(predicted))
    overlaps = most > 0 and most >= _NEXT_TO_NONE * labelled.size
    return Agreement(
        pixels=int(known.size),
        cleanlab=_cleanlab(known),
        disagreement=float(1 - known.mean()),
        confident=float((known < _SURE).mean()),
        iou=np.count_nonzero(labelled & predicted) / union if overlaps else nan,
        label_cloud=float(labelled.mean()) if labelled.size else nan,
        predicted_cloud=float(predicted.mean()) if predicted.size else nan,
    )


def label_quality(
    label: NDArray[np.uint8], probabilities: NDArray[np.float32], outputs: Sequence[Output]
) -> NDArray[np.float32]:
    """Return (rows, columns) the probability of what the label allows.

    NaN where the label or the prediction says nothing, or the label rules no output out.
    """
    sets = np.array([output.classes for output in outputs], np.uint8)
    allowed = (label[None] & sets[:, None, None]) != 0
    quality = np.where(allowed, probabilities, 0).sum(axis=0, dtype=np.float32)
    # Kept predictions are rounded, so that they may add up to a little more than 1.
    quality /= np.maximum(probabilities.sum(axis=0), np.float32(1e-6))
    silent = (label == 0) | allowed.all(axis=0) | np.isnan(probabilities).any(axis=0)
    return np.where(silent, np.float32(np.nan), quality)


def cloud_mask(label: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return 1 where a label allows nothing but cloud, 0 where it rules cloud out, else NaN."""
    cloudy, other = label & _CLOUD_BITS, label & ~np.uint8(_CLOUD_BITS)
    found = np.where(cloudy != 0, np.float32(1), np.float32(0))
    found[(label == 0) | ((cloudy != 0) & (other != 0))] = np.nan
    return found


def cloud_probability(
    probabilities: NDArray[np.float32], outputs: Sequence[Output]
) -> NDArray[np.float32]:
    """Return (rows, columns) the probability of cloud, thin or thick; NaN where not judged.

    NaN everywhere where no output stands for cloud alone.
    """
    inside = [k for k, output in enumerate(outputs) if output.classes & ~_CLOUD_BITS == 0]
    if not inside:
        return np.full(probabilities.shape[1:], np.nan, np.float32)
    found: NDArray[np.float32] = probabilities[inside].sum(axis=0, dtype=np.float32)
    return found


def _cleanlab(quality: NDArray[np.float32]) -> float:
    """Return cleanlab's score of an image whose judged pixels have these label qualities."""
    try:
        from cleanlab.segmentation.rank import get_label_quality_scores
    except ImportError as error:
        raise MissingExtraError("cleanlab", extra="curate") from error
    right = quality.reshape(1, 1, 1, -1)
    scores, _ = get_label_quality_scores(
        np.ones((1, 1, quality.size), np.intp),
        np.concatenate([1 - right, right], axis=1),
        verbose=False,
    )
    return float(scores[0])
