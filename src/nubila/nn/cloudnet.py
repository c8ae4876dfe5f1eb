"""Cloud-Net (Mohajerani & Saeedi 2019, doi:10.1109/IGARSS.2019.8898776).

Residual blocks on the way down; on the way up each scale also sees every finer scale, pooled and
repeated to as many channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from nubila.nn.body import Network, conv_unit

__all__ = ["CloudNet"]

_DROPOUT: Final = 0.15


class CloudNet(Network):
    """The published network with logits in place of its sigmoid.

    Args:
        widths: channels at strides 1, 2, 4 and so on, each twice the one before.
        inputs: number of bands.
        outputs: number of logits.
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128, 256, 512, 1024),
        *,
        inputs: int,
        outputs: int,
    ) -> None:
        super().__init__(inputs, outputs, 2 ** (len(widths) - 1))
        last = len(widths) - 1
        self.stem = nn.Sequential(nn.Conv2d(inputs, widths[0] // 2, 3, padding=1), nn.ReLU())
        self.encoders = nn.ModuleList(
            _Contraction(width, deepened=level == last - 1, dropped=level == last)
            for level, width in enumerate(widths)
        )
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(widths[level + 1], widths[level], 2, stride=2)
            for level in reversed(range(last))
        )
        self.decoders = nn.ModuleList(
            _expansion(widths[level], 3 if level == 0 else 2) for level in reversed(range(last))
        )
        self.head = nn.Conv2d(widths[0], outputs, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (N, K, H, W) for (N, B, H, W)."""
        features = self.stem(image)
        skips: list[Tensor] = []
        for level, encoder in enumerate(self.encoders):
            features = encoder(functional.max_pool2d(features, 2) if level else features)
            skips.append(features)
        skips.pop()
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            raised = up(features)
            joined = torch.cat([raised, _feed_forward(skips)], dim=1)
            features = functional.relu(decoder(joined) + skips.pop() + raised)
        logits: Tensor = self.head(features)
        return logits


class _Contraction(nn.Module):
    """Convolutions that double the channels; their input is led around, new channels beside it."""

    def __init__(self, width: int, *, deepened: bool, dropped: bool) -> None:
        super().__init__()
        half = width // 2
        self.units = nn.Sequential(conv_unit(half, width, bias=True))
        if deepened:
            self.units.append(conv_unit(width, width, bias=True))
        self.units.append(nn.Conv2d(width, width, 3, padding=1))
        if dropped:
            self.units.append(nn.Dropout(_DROPOUT))
        self.units.append(nn.BatchNorm2d(width))
        self.units.append(nn.ReLU(inplace=True))
        self.beside = conv_unit(half, half, 1, bias=True)

    def forward(self, features: Tensor) -> Tensor:
        around = torch.cat([features, self.beside(features)], dim=1)
        return functional.relu(self.units(features) + around)


def _expansion(width: int, convolutions: int) -> nn.Sequential:
    return nn.Sequential(
        conv_unit(2 * width, width, bias=True),
        *(conv_unit(width, width, bias=True) for _ in range(convolutions - 1)),
    )


def _feed_forward(skips: Sequence[Tensor]) -> Tensor:
    """Return the sum of all finer scales at the scale of the last, ReLU applied.

    A scale n times finer is pooled over n x n pixels, and its channels repeated n times.
    """
    total = skips[-1]
    for distance, skip in enumerate(reversed(skips[:-1]), start=1):
        factor = 2**distance
        total = total + functional.max_pool2d(skip, factor).repeat(1, factor, 1, 1)
    return functional.relu(total)
