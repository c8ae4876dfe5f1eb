"""The simple U-Net, 538,934 parameters with 4 bands and 2 classes, and the tiny one after it.

Three scales, each of two convolutions and an overlapping max pooling, 7x7 at the first; on the way
up two convolutions and a strided transposed one, the pooled features as skips. With 2 classes the
construction that has 538,934 parameters takes 4 bands (blue, green, red, near-infrared).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nubila.nn.body import Network, conv_unit

__all__ = ["SimpleUNet"]


class SimpleUNet(Network):
    """A U-Net whose finest features lie at half the resolution when they are brought back.

    Args:
        widths: channels at strides 1, 2, 4 and so on.
        inputs: number of bands.
        outputs: number of logits.
        head: channels of the last scale, from which a 1x1 convolution computes the logits; None
            for the published way, in which the last scale has but one channel a logit.
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128),
        *,
        inputs: int,
        outputs: int,
        head: int | None = None,
    ) -> None:
        super().__init__(inputs, outputs, 2 ** len(widths))
        finer = list(widths[:-1])
        self.encoders = nn.ModuleList(
            _down(before, after, 3 if level else 7)
            for level, (before, after) in enumerate(zip([inputs, *finer], widths, strict=True))
        )
        last = outputs if head is None else head
        entering = [widths[-1], *(2 * width for width in reversed(finer))]
        leaving = [*reversed(finer), last]
        self.decoders = nn.ModuleList(map(_up, entering, leaving))
        self.head = nn.Identity() if head is None else nn.Conv2d(head, outputs, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (N, K, H, W) for (N, B, H, W)."""
        features = image
        skips: list[Tensor] = []
        for encoder in self.encoders:
            features = encoder(features)
            skips.append(features)
        skips.pop()
        for level, decoder in enumerate(self.decoders):
            features = decoder(torch.cat([features, skips.pop()], dim=1) if level else features)
        logits: Tensor = self.head(features)
        return logits


def _down(inputs: int, outputs: int, size: int) -> nn.Sequential:
    return nn.Sequential(
        conv_unit(inputs, outputs, size, bias=True),
        conv_unit(outputs, outputs, size, bias=True),
        nn.MaxPool2d(3, stride=2, padding=1),
    )


def _up(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        conv_unit(inputs, outputs, bias=True),
        conv_unit(outputs, outputs, bias=True),
        nn.ConvTranspose2d(outputs, outputs, 3, stride=2, padding=1, output_padding=1),
    )
