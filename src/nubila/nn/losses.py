"""Losses for labels that allow several classes a pixel."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["partial_cross_entropy"]


def partial_cross_entropy(logits: Tensor, allowed: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean of -log(sum of the probabilities of the allowed classes).

    With one class allowed it is the cross-entropy; it is the likelihood of a partial label
    (Jin & Ghahramani 2002, "Learning with multiple labels").

    Args:
        logits: (N, C, H, W), C at most 8.
        allowed: (N, H, W) uint8, bit c set where class c is allowed; 0 = ignored.
        weights: weight of each pixel, of a shape that broadcasts to (N, H, W), or None.

    Returns:
        Weighted mean over the pixels that are not ignored; 0 where there are none.
    """
    classes = torch.arange(logits.shape[1], device=logits.device, dtype=torch.uint8)
    judged = allowed != 0
    bits = (allowed.unsqueeze(1) >> classes.view(1, -1, 1, 1)) & 1
    # An ignored pixel allows everything: its loss and its gradient are exactly 0.
    possible = (bits != 0) | ~judged.unsqueeze(1)
    among = logits.masked_fill(~possible, -torch.inf).logsumexp(dim=1)
    loss = logits.logsumexp(dim=1) - among
    weight = judged.to(logits.dtype)
    if weights is not None:
        weight = weight * weights
    # `loss * weight` with weight 0 is safe: the loss of an ignored pixel is 0, never infinite.
    return (loss * weight).sum() / weight.sum().clamp_min(torch.finfo(weight.dtype).tiny)
