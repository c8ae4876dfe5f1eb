"""The gate of Attention U-Net (Oktay et al. 2018, arXiv:1804.03999)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Gate"]


class Gate(nn.Module):
    """Weights a skip between 0 and 1 by additive attention with the coarser features.

    As published the attention is computed at the coarser scale and brought up by linear
    interpolation, and half of the skip's channels carry it.

    Args:
        fine: channels of the skip.
        deep: channels of the features at twice its stride.
    """

    def __init__(self, fine: int, deep: int) -> None:
        super().__init__()
        between = max(1, fine // 2)
        self.skip = nn.Conv2d(fine, between, 2, stride=2, bias=False)
        self.signal = nn.Conv2d(deep, between, 1)
        self.weight = nn.Conv2d(between, 1, 1)
        self.out = nn.Sequential(nn.Conv2d(fine, fine, 1, bias=False), nn.BatchNorm2d(fine))

    def forward(self, skip: Tensor, features: Tensor) -> Tensor:
        """Return the skip (N, F, H, W), weighted by what features (N, D, H / 2, W / 2) say."""
        both = functional.relu(self.skip(skip) + self.signal(features))
        attention = functional.interpolate(
            torch.sigmoid(self.weight(both)), scale_factor=2.0, mode="bilinear"
        )
        weighted: Tensor = self.out(skip * attention)
        return weighted
