"""A compact U-Net that a processor runs fast: half-resolution features, sub-pixel head.

A U-Net (Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28) whose finest features are at
half resolution; the head gives 2 x 2 pixels a feature by rearranging channels (Shi et al. 2016,
doi:10.1109/CVPR.2016.207). Channels are multiples of 16, the width of ONNX Runtime's blocked
convolution, every convolution is followed by a ReLU that it fuses with, and up-sampling repeats
the nearest value, so that the receptive field stays small.
"""

from __future__ import annotations

import copy
from collections.abc import MutableMapping, Sequence
from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["CompactUNet"]

# Reflectance above this tells clouds from nothing else; snow and thick cloud reach about 1.2.
_BRIGHTEST: Final = 2.0
# The exponential of a logit beyond this would leave float32's comfortable range.
_STEEPEST: Final = 40.0


class CompactUNet(nn.Module):
    """Reflectance in, class logits out; `probabilities` is what an exported graph computes.

    Args:
        widths: channels at strides 2, 4, 8 and so on.
        inputs: number of bands B.
        outputs: number of logits K; 1 for a single logit, that of the second of two classes.
        plain: how many of the coarsest levels have one convolution in place of a residual pair.

    The input is (N, B, H, W) float32, NaN where there is no data or no such band;
    H and W are multiples of `stride`. The square root (the noise of photon counting becomes even,
    dark surfaces are spread) keeps absolute brightness, and no normalisation looks at the image.
    Which bands there are sets gain and bias of the first features (feature-wise modulation, Perez
    et al. 2018, arXiv:1709.07871): images in red, green and blue alone come from elsewhere and are
    often darker.
    """

    takes_nan = True

    def __init__(
        self,
        widths: Sequence[int] = (16, 48, 112, 192),
        *,
        inputs: int = 7,
        outputs: int = 6,
        plain: int = 0,
    ) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.inputs, self.outputs = inputs, outputs
        self._paired = range(1, len(self.widths) - plain)
        first, last = self.widths[0], len(self.widths) - 1
        self.stem = nn.Conv2d(inputs, first, 2, stride=2)
        self.available = nn.Conv2d(inputs, first, 1, bias=False)
        self.gain = nn.Conv2d(inputs, first, 1)
        nn.init.zeros_(self.gain.weight)
        nn.init.ones_(cast(Tensor, self.gain.bias))
        self.encoders = nn.ModuleList(
            _Residual(width) if level in self._paired else _ConvUnit(width, width, 3)
            for level, width in enumerate(self.widths)
        )
        self.downs = nn.ModuleList(
            _ConvUnit(self.widths[i], self.widths[i + 1], 2, stride=2) for i in range(last)
        )
        self.laterals = nn.ModuleList(
            nn.Conv2d(self.widths[i + 1], self.widths[i], 1) for i in reversed(range(last))
        )
        self.decoders = nn.ModuleList(
            _ConvUnit(self.widths[i], self.widths[i], 3) for i in reversed(range(last))
        )
        self.head = nn.Conv2d(first, 4 * outputs, 1)
        # PyTorch's method has no types.
        self.register_load_state_dict_pre_hook(_without_gain)  # type: ignore[no-untyped-call]

    @property
    def stride(self) -> int:
        """Input heights and widths are multiples of this."""
        return int(2 ** len(self.widths))

    def forward(self, reflectance: Tensor) -> Tensor:
        """Return logits (N, K, H, W) for reflectance (N, B, H, W)."""
        return functional.pixel_shuffle(self._sub_pixels(reflectance), 2)

    def probabilities(self, reflectance: Tensor) -> Tensor:
        """Return the probabilities (N, C, H, W), by steps that ONNX Runtime computes fast.

        Its own Softmax over channels copies the tensor twice, and is a fifth of the whole run.
        """
        logits = self._sub_pixels(reflectance)
        if self.outputs == 1:
            second = _interleaved(logits).sigmoid()
            return torch.cat([1 - second, second], dim=1)
        shape = logits.shape
        grouped = (
            logits.clamp(-_STEEPEST, _STEEPEST).exp().view(shape[0], self.outputs, 4, *shape[2:])
        )
        shares = grouped / grouped.sum(dim=1, keepdim=True)
        return _interleaved(shares.view(shape))

    def _sub_pixels(self, reflectance: Tensor) -> Tensor:
        """Return logits (N, 4 K, H / 2, W / 2): four sub-pixels a logit."""
        missing = torch.isnan(reflectance)
        # One look at every other pixel is enough to tell which bands there are.
        available = (~missing[:, :, ::2, ::2]).to(reflectance.dtype)
        values = torch.where(missing, 0.0, reflectance).clamp(0.0, _BRIGHTEST).sqrt()
        features = self.stem(values) * self.gain(available) + self.available(available)
        features = functional.relu(features)
        skips: list[Tensor] = []
        for level, encoder in enumerate(self.encoders):
            features = encoder(self.downs[level - 1](features) if level else features)
            skips.append(features)
        skips.pop()
        for lateral, decoder in zip(self.laterals, self.decoders, strict=True):
            raised = functional.interpolate(lateral(features), scale_factor=2.0, mode="nearest")
            features = decoder(functional.relu(raised + skips.pop()))
        sub_pixels: Tensor = self.head(features)
        return sub_pixels

    def receptive_field(self) -> int:
        """Return how far outside of its cell, in pixels, input can change an output pixel.

        Cells are the squares of `stride` pixels that the coarsest features stand for; tiles consist
        of whole cells, so that counting from the pixel itself would ask for more than is needed.
        By interval arithmetic over the deepest path, for each place of the output pixel within a
        stride: nearest up-sampling and strided convolution map cell i to cells 2i and 2i + 1.
        """
        deepest = len(self.widths) - 1
        worst = 0
        for pixel in range(self.stride):
            low = high = pixel // 2
            for _ in range(deepest):  # decoder: a 3x3 convolution, then to the coarser cells
                low, high = (low - 1) // 2, (high + 1) // 2
            for level in range(deepest, -1, -1):  # encoder: 3x3 convolutions, then to finer cells
                reach = 2 if level in self._paired else 1
                low, high = 2 * (low - reach), 2 * (high + reach) + 1
            worst = max(worst, -low, high - (self.stride - 1))
        return worst

    def flops_per_pixel(self) -> float:
        """Return floating-point operations (2 x multiply-adds of convolutions) an input pixel.

        Of the convolutions as they are: a pruned network has fewer channels than `widths` say.
        """
        last = len(self.widths) - 1
        finest: list[nn.Module] = [self.stem, self.available, self.gain, self.head]
        levels = [(0, module) for module in finest]
        levels += list(enumerate(self.encoders))
        levels += list(enumerate(self.downs, start=1))
        # On the way up a lateral runs before its values are repeated, a decoder after.
        levels += [(last - place, module) for place, module in enumerate(self.laterals)]
        levels += [(last - 1 - place, module) for place, module in enumerate(self.decoders)]
        flops: float = sum(
            2 * module.weight.numel() / 4 ** (level + 1)
            for level, whole in levels
            for module in whole.modules()
            if isinstance(module, nn.Conv2d)
        )
        return flops

    def folded(self, temperature: float = 1.0, biases: Sequence[float] = ()) -> CompactUNet:
        """Return a copy in evaluation mode, with batch norms and calibration folded in.

        Args:
            temperature: logits are divided by it.
            biases: then added to the logits, one a class; default none. A single logit is that of
                the second class over the first.
        """
        # Not built anew by its widths: a pruned network has fewer channels than they say.
        twin = copy.deepcopy(self).eval()
        for module in twin.modules():
            if isinstance(module, _ConvUnit) and isinstance(module.norm, nn.BatchNorm2d):
                module.conv = fuse_conv_bn_eval(module.conv, module.norm)
                module.norm = nn.Identity()
        with torch.no_grad():
            twin.head.weight /= temperature
            if twin.head.bias is not None:
                twin.head.bias /= temperature
                if biases:  # four sub-pixels a logit
                    shift = (biases[1] - biases[0],) if self.outputs == 1 else tuple(biases)
                    twin.head.bias += torch.tensor(shift).repeat_interleave(4)
        return twin


def _without_gain(
    network: nn.Module, state: MutableMapping[str, Tensor], prefix: str, *_: object
) -> None:
    """Read weights from before there was a gain as what they were: one of 1."""
    assert isinstance(network, CompactUNet)
    if f"{prefix}stem.weight" in state:
        for name, own in network.gain.named_parameters():
            plain = torch.ones_like(own) if name == "bias" else torch.zeros_like(own)
            state.setdefault(f"{prefix}gain.{name}", plain)


def _interleaved(sub_pixels: Tensor) -> Tensor:
    """Return (N, K, 2 H, 2 W) of (N, 4 K, H, W), as `pixel_shuffle`.

    Columns first, then rows: ONNX Runtime has fast copies for one axis moved, and takes twice as
    long for its own DepthToSpace.
    """
    n, channels, rows, columns = sub_pixels.shape
    pairs = sub_pixels.reshape(n, channels // 2, 2, rows, columns).permute(0, 1, 3, 4, 2)
    wide = pairs.reshape(n, channels // 4, 2, rows, 2 * columns).permute(0, 1, 3, 2, 4)
    return wide.reshape(n, channels // 4, 2 * rows, 2 * columns)


class _ConvUnit(nn.Module):
    """Convolution, batch norm and, if asked for, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, size: int, *, stride: int = 1, active: bool = True
    ) -> None:
        super().__init__()
        padding = size // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)
        self.active = active

    def forward(self, features: Tensor) -> Tensor:
        normed: Tensor = self.norm(self.conv(features))
        return functional.relu(normed) if self.active else normed


class _Residual(nn.Module):
    """Two 3x3 convolutions around which the input is led (He et al. 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _ConvUnit(width, width, 3)
        self.second = _ConvUnit(width, width, 3, active=False)

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(features + self.second(self.first(features)))
