"""Losses of each pixel by itself: cross-entropies, focal loss, boundary weights, distillation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from nubila.errors import InputError
from nubila.nn.losses.pixels import Pixels, two_logits, weighted_mean

__all__ = [
    "binary_cross_entropy",
    "boundary_cross_entropy",
    "boundary_distance",
    "cross_entropy",
    "distillation",
    "focal",
    "partial_cross_entropy",
]


def partial_cross_entropy(logits: Tensor, allowed: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean of -log(sum of the probabilities of the allowed classes).

    With one class allowed it is the cross-entropy; it is the likelihood of a partial label
    (Jin & Ghahramani 2002, "Learning with multiple labels").

    Args:
        logits: (N, C, H, W), C at most 8, or (N, 1, H, W) for two classes.
        allowed: (N, H, W) uint8, bit c set where class c is allowed; 0 = ignored.
        weights: weight of each pixel, of a shape that broadcasts to (N, H, W), or None.

    Returns:
        Weighted mean over the pixels that are not ignored; 0 where there are none.
    """
    return cross_entropy(Pixels(logits, allowed, weights), smoothing=0.0)


def cross_entropy(pixels: Pixels, *, smoothing: float) -> Tensor:
    """Return the partial cross-entropy, with label smoothing (Szegedy et al. 2016).

    `smoothing` is spread evenly over all classes; the shares of the allowed ones go to their sum,
    so that nothing is said of which of them it is.
    """
    loss = -pixels.log_allowed
    if smoothing:
        each = smoothing / pixels.logits.shape[1]
        excluded = ~pixels.allows & (pixels.allowed != 0).unsqueeze(1)
        lost = each * excluded.sum(dim=1)
        loss = (1 - lost) * loss - each * (pixels.log_p * excluded).sum(dim=1)
    return weighted_mean(loss, pixels.weight)


def binary_cross_entropy(
    pixels: Pixels, *, classes: Sequence[int], pos_weight: Sequence[float]
) -> Tensor:
    """Return the mean over classes and pixels of each class against all others.

    Args:
        pixels: the batch.
        classes: those that are taken.
        pos_weight: of each of them; multiplies its pixels, as in PyTorch's BCEWithLogitsLoss.
    """
    positive = pixels.of(pixels.positive, classes)
    factor = pixels.logits.new_tensor(list(pos_weight)).view(1, -1, 1, 1)
    inside = factor * pixels.of(pixels.log_p, classes)
    loss = -torch.where(positive, inside, pixels.of(pixels.log_not, classes))
    return weighted_mean(loss, pixels.of(pixels.known, classes))


def focal(pixels: Pixels, *, gamma: float, alpha: float | None) -> Tensor:
    """Return the focal loss, -(1 - p)^gamma log p of the allowed classes (Lin et al. 2017, eq. 5).

    Args:
        pixels: the batch.
        gamma: how much pixels that are right already are held back.
        alpha: weight of the second of two classes, the first has 1 - alpha; None weighs both 1.
    """
    loss = -pixels.log_allowed * (gamma * pixels.log_excluded).exp()
    if alpha is not None:
        loss = loss * torch.where(pixels.positive[:, 1], alpha, 1 - alpha)
    return weighted_mean(loss, pixels.weight)


def boundary_cross_entropy(pixels: Pixels, *, gain: float, sigma: float) -> Tensor:
    """Return the partial cross-entropy with weights 1 + gain exp(-d^2 / (2 sigma^2)).

    The weights are those of Ronneberger et al. 2015 (eq. 2) with d the distance in pixels to the
    nearest boundary of the label instead of to two cells; beyond 3 sigma they are 1.
    """
    distance = boundary_distance(pixels.allowed, farthest=math.ceil(3 * sigma))
    near = (-0.5 * (distance / sigma) ** 2).exp()
    return weighted_mean(-pixels.log_allowed, pixels.weight * (1 + gain * near))


def boundary_distance(allowed: Tensor, *, farthest: int) -> Tensor:
    """Return the chessboard distance of each pixel to the nearest boundary of the label.

    A boundary runs between neighbours that are not ignored and that allow no class in common; both
    have distance 0.

    Args:
        allowed: (N, H, W) uint8 sets of classes, 0 = ignored.
        farthest: pixels; how far is looked.

    Returns:
        (N, H, W) float32, infinite where no boundary is within `farthest`.
    """
    edge = torch.zeros_like(allowed, dtype=torch.bool)
    for axis, length in ((1, allowed.shape[1] - 1), (2, allowed.shape[2] - 1)):
        before, after = allowed.narrow(axis, 0, length), allowed.narrow(axis, 1, length)
        differ = (before & after == 0) & (before != 0) & (after != 0)
        edge.narrow(axis, 0, length).logical_or_(differ)
        edge.narrow(axis, 1, length).logical_or_(differ)
    reached = edge.float()
    steps = torch.zeros_like(reached)
    for _ in range(farthest):
        steps += 1 - reached
        reached = functional.max_pool2d(reached.unsqueeze(1), 3, stride=1, padding=1).squeeze(1)
    return steps.masked_fill(reached == 0, torch.inf)


def distillation(pixels: Pixels, *, temperature: float) -> Tensor:
    """Return T^2 KL(teacher || network), both softened by T (Hinton et al. 2015).

    Ignored pixels teach nothing, nor do those where the teacher has NaN. An unlabelled image
    allows every class everywhere.

    Raises:
        InputError: the batch has no teacher's probabilities.
    """
    if pixels.teacher is None:
        raise InputError(
            "loss 'distillation' needs the probabilities of a teacher, and the batch has none"
        )
    given = pixels.teacher.to(pixels.logits.dtype)
    there = given.isfinite().all(dim=1)
    given = given.nan_to_num(0.5, 0.5, 0.5)
    if given.shape[1] == 1:
        given = torch.cat([1 - given, given], dim=1)
    tiny = torch.finfo(given.dtype).tiny
    soft = (given.clamp_min(tiny).log() / temperature).log_softmax(dim=1)
    ours = (two_logits(pixels.logits) / temperature).log_softmax(dim=1)
    divergence = (soft.exp() * (soft - ours)).sum(dim=1)
    return temperature**2 * weighted_mean(divergence, pixels.weight * there)
