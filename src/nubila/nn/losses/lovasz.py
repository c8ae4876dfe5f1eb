"""Lovász losses: the Jaccard index's own surrogate (Berman et al. 2018, arXiv:1705.08790)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nubila.nn.losses.pixels import Pixels

__all__ = ["lovasz_hinge", "lovasz_softmax"]


def lovasz_hinge(pixels: Pixels, *, hardest: float) -> Tensor:
    """Return the Lovász hinge of the second of two classes, the mean over images with labels.

    Args:
        pixels: the batch, of two classes.
        hardest: share of each image's pixels, those of the greatest errors, that count.
    """
    margin = pixels.logits[:, 1] - pixels.logits[:, 0]
    positive = pixels.positive[:, 1]
    errors = 1 - torch.where(positive, margin, -margin)
    known = pixels.known[:, 1]
    rows = errors.relu().flatten(1), positive.flatten(1), known.flatten(1)
    loss = _extension(*rows, hardest=hardest)
    judged = (known > 0).any(dim=2).any(dim=1)
    return (loss * judged).sum() / judged.sum().clamp_min(1)


def lovasz_softmax(pixels: Pixels, *, classes: Sequence[int], hardest: float) -> Tensor:
    """Return the Lovász-Softmax loss over the batch, the mean over classes that occur in it.

    Args:
        pixels: the batch.
        classes: those that are taken.
        hardest: share of the batch's pixels, those of the greatest errors, that count.
    """
    positive = pixels.of(pixels.positive, classes)
    p, known = pixels.of(pixels.p, classes), pixels.of(pixels.known, classes)
    errors = torch.where(positive, 1 - p, p)
    by_class = (_by_class(errors), _by_class(positive), _by_class(known))
    loss = _extension(*by_class, hardest=hardest)
    occurs = _by_class(positive & (known > 0)).any(dim=1)
    return (loss * occurs).sum() / occurs.sum().clamp_min(1)


def _by_class(values: Tensor) -> Tensor:
    """Return (classes, N H W) for (N, classes, H, W)."""
    return values.transpose(0, 1).flatten(1)


def _extension(errors: Tensor, positive: Tensor, weight: Tensor, *, hardest: float) -> Tensor:
    """Return the Lovász extension of 1 - Jaccard for each row.

    Pixels count by their weight, so that one of weight 0 might as well not be there and one of
    weight 2 might as well stand twice.

    Args:
        errors: (rows, pixels), not negative.
        positive: (rows, pixels) bool, pixels of the class.
        weight: (rows, pixels).
        hardest: share of each row's weight that counts, from the greatest error down.
    """
    # Pixels without weight go last, so that a share of the sorted weight is a share of the others.
    order = errors.detach().masked_fill(weight == 0, -1).argsort(dim=1, descending=True)
    errors, positive, weight = (t.gather(1, order) for t in (errors, positive, weight))
    if hardest < 1:
        before = weight.cumsum(dim=1) - weight
        weight = weight * (before < hardest * weight.sum(dim=1, keepdim=True))
    inside = weight * positive
    every = inside.sum(dim=1, keepdim=True)
    common = every - inside.cumsum(dim=1)
    union = every + (weight - inside).cumsum(dim=1)
    lost = 1 - common / union.clamp_min(torch.finfo(union.dtype).tiny)
    # Before any pixel is wrong nothing is lost, not even of an empty class.
    slope = lost.diff(dim=1, prepend=torch.zeros_like(every)) * (weight > 0)
    return (errors * slope).sum(dim=1)
