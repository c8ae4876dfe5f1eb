"""What all networks but the compact one share, and the parts that they are built from."""

from __future__ import annotations

import copy
from typing import Final

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nubila.nn.reach import probe_receptive_field

__all__ = ["Network", "conv_unit", "count_flops", "double_unit"]

# Attention costs more per pixel in a larger image; this is the size that costs are told for.
_USUAL: Final = 256


class Network(nn.Module):
    """A body of a `Segmenter` that measures itself.

    Args:
        inputs: number of bands B.
        outputs: number of logits K.
        stride: heights and widths of the input are multiples of it.

    The input is (N, B, H, W) without NaN, the output (N, K, H, W).
    """

    takes_nan = False

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.inputs, self.outputs, self.stride = inputs, outputs, stride

    def receptive_field(self) -> int | None:
        """Return what `probe_receptive_field` finds."""
        return probe_receptive_field(self, self.inputs, self.stride)

    def flops_per_pixel(self) -> float:
        """Return floating-point operations an input pixel, in an image of about 256 pixels."""
        size = -(-_USUAL // self.stride) * self.stride
        return count_flops(self, self.inputs, size) / size**2


def count_flops(network: nn.Module, inputs: int, size: int) -> int:
    """Return floating-point operations (2 x multiply-adds) for one square image; nothing is run."""
    twin = copy.deepcopy(network).to("meta").eval()
    image = torch.empty(1, inputs, size, size, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        twin(image)
    return int(counter.get_total_flops())


def conv_unit(inputs: int, outputs: int, size: int = 3, *, bias: bool = False) -> nn.Sequential:
    """Return convolution, batch norm and ReLU; the size of the image is kept."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=bias),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def double_unit(inputs: int, outputs: int) -> nn.Sequential:
    """Return the two convolutions of each scale of a U-Net."""
    return nn.Sequential(conv_unit(inputs, outputs), conv_unit(outputs, outputs))
