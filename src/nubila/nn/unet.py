"""The U-Net and what varies it: gates on its skips, recurrent residual units.

Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28, with batch norms (Ioffe & Szegedy 2015)
and convolutions that keep the size, as it is commonly built today. With 13 bands, 4 classes and the
usual widths it has 31,043,588 parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nubila.nn.attention import Gate
from nubila.nn.body import Network, double_unit

__all__ = ["UNet"]


class UNet(Network):
    """Two units a scale; max pooling down, transposed convolution up, skips concatenated.

    Args:
        widths: channels at strides 1, 2, 4 and so on.
        inputs: number of bands.
        outputs: number of logits.
        unit: builds what computes at each scale from its numbers of input and output channels.
        gated: weight the skips by attention.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 256, 512, 1024),
        *,
        inputs: int,
        outputs: int,
        unit: Callable[[int, int], nn.Module] = double_unit,
        gated: bool = False,
    ) -> None:
        super().__init__(inputs, outputs, 2 ** (len(widths) - 1))
        finer = list(widths[:-1])
        self.encoders = nn.ModuleList(
            unit(before, after) for before, after in zip([inputs, *finer], widths, strict=True)
        )
        scales = list(zip(reversed(widths[1:]), reversed(finer), strict=True))
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(deep, fine, 2, stride=2) for deep, fine in scales
        )
        self.gates = nn.ModuleList(Gate(fine, deep) for deep, fine in scales if gated)
        self.decoders = nn.ModuleList(unit(2 * fine, fine) for _, fine in scales)
        self.head = nn.Conv2d(widths[0], outputs, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (N, K, H, W) for (N, B, H, W)."""
        features = image
        skips: list[Tensor] = []
        for level, encoder in enumerate(self.encoders):
            features = encoder(functional.max_pool2d(features, 2) if level else features)
            skips.append(features)
        skips.pop()
        for level, (up, decoder) in enumerate(zip(self.ups, self.decoders, strict=True)):
            skip = skips.pop()
            if self.gates:
                skip = self.gates[level](skip, features)
            features = decoder(torch.cat([skip, up(features)], dim=1))
        logits: Tensor = self.head(features)
        return logits
