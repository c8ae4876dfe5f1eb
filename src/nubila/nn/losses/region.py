"""Losses of regions: Dice, Jaccard and their kin, from sums over pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nubila.nn.losses.pixels import Pixels

__all__ = ["dice", "filtered_jaccard", "focal_tversky", "jaccard"]


def dice(pixels: Pixels, *, classes: Sequence[int], smooth: float) -> Tensor:
    """Return 1 - (2 I + s) / (P + T + s), the mean over classes (Milletari et al. 2016).

    I, P and T are sums over the batch of p t, p and t, over the pixels whose label says if they are
    of the class; `smooth` is s.
    """
    hit, missed, false = _sums(pixels, classes, (0, 2, 3))
    return 1 - ((2 * hit + smooth) / (2 * hit + missed + false + smooth)).mean()


def jaccard(pixels: Pixels, *, classes: Sequence[int], smooth: float) -> Tensor:
    """Return 1 - (I + s) / (P + T - I + s), the mean over classes; sums as in `dice`."""
    hit, missed, false = _sums(pixels, classes, (0, 2, 3))
    return 1 - ((hit + smooth) / (hit + missed + false + smooth)).mean()


def focal_tversky(
    pixels: Pixels,
    *,
    classes: Sequence[int],
    alpha: float,
    beta: float,
    gamma: float,
    smooth: float,
) -> Tensor:
    """Return (1 - TI)^(1 / gamma), the mean over classes (Abraham & Khan 2019, eq. 3 and 4).

    TI = (TP + s) / (TP + alpha FN + beta FP + s), sums over the batch.
    """
    hit, missed, false = _sums(pixels, classes, (0, 2, 3))
    wrong = alpha * missed + beta * false
    lacking = wrong / (hit + wrong + smooth)
    # At 0 the root's slope is infinite, and the loss has nothing to teach.
    some = lacking > 0
    root = torch.where(some, lacking, 1).pow(1 / gamma)
    return torch.where(some, root, 0).mean()


def filtered_jaccard(pixels: Pixels, *, classes: Sequence[int], smooth: float) -> Tensor:
    """Return the filtered Jaccard loss (Mohajerani & Saeedi 2021, doi:10.1109/JSTARS.2021.3070786).

    Each image and class has the Jaccard loss of the class where the label has a pixel of it, and
    else that of all that is not the class, so that false alarms in empty images are felt. The
    paper's filters, logistic with steepness 1000 about half a pixel, are this switch to within
    float32. Mean over classes and over images in which the label says anything of the class.
    """
    hit, missed, false = _sums(pixels, classes, (2, 3))
    kept = _kept(pixels, classes)
    has = (pixels.of(pixels.positive & (pixels.known > 0), classes)).any(dim=3).any(dim=2)
    same = torch.where(has, hit, kept)
    loss = 1 - (same + smooth) / (same + missed + false + smooth)
    judged = (pixels.of(pixels.known, classes) > 0).any(dim=3).any(dim=2)
    return (loss * judged).sum() / judged.sum().clamp_min(1)


def _sums(
    pixels: Pixels, classes: Sequence[int], over: tuple[int, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sums of p t, (1 - p) t and p (1 - t), weighted, where the label knows t."""
    known = pixels.of(pixels.known, classes)
    p = pixels.of(pixels.p, classes)
    inside = known * pixels.of(pixels.positive, classes)
    hit = (inside * p).sum(dim=over)
    return hit, inside.sum(dim=over) - hit, ((known - inside) * p).sum(dim=over)


def _kept(pixels: Pixels, classes: Sequence[int]) -> Tensor:
    """Return (N, classes): the weighted sums of (1 - p) (1 - t), where the label knows t."""
    outside = pixels.of(pixels.known, classes) * ~pixels.of(pixels.positive, classes)
    return (outside * (1 - pixels.of(pixels.p, classes))).sum(dim=(2, 3))
