"""How far a network sees, found by watching where "not a number" goes.

NaN survives every sum, product and non-linearity, also times zero, so the outputs that are NaN
after a part of the input was made NaN are exactly those that look at it: whatever the weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["probe_receptive_field"]

# Pixels; the largest ResNets reach about 1500. What sees further is as good as global.
_WIDEST: Final = 8192


@torch.no_grad()
def probe_receptive_field(network: nn.Module, inputs: int, stride: int) -> int | None:
    """Return how far outside of its cell of `stride` pixels input can change an output pixel.

    Args:
        network: takes (N, `inputs`, H, W) and lets NaN through; it is left as it was.
        inputs: number of bands.
        stride: H and W are multiples of it.

    Returns:
        Pixels, along a row; None where outputs depend on input at any distance, as with global
        pooling and attention.
    """
    twin = copy.deepcopy(network).double().eval()
    module: Any
    for module in twin.modules():
        if getattr(module, "inplace", False):  # channels that `_OneChannel` gives share memory
            module.inplace = False
    cells = 8
    while cells * stride <= _WIDEST:
        found = [_reach(twin, inputs, stride, cells, mirrored) for mirrored in (False, True)]
        known = [reach for reach in found if reach is not None]
        if len(known) == len(found):
            return max(known)
        cells *= 2
    return None


def _reach(network: nn.Module, inputs: int, stride: int, cells: int, mirrored: bool) -> int | None:
    """Return the reach to one side, or None where it may be more than the image shows."""
    middle = cells // 2 * stride

    def first_touched(start: int) -> int:
        """Return the first cell of outputs that looks at inputs from column `start` on."""
        image = torch.full((1, inputs, stride, cells * stride), 0.5, dtype=torch.float64)
        image[..., start:] = torch.nan
        with _OneChannel():
            found = network(image.flip(-1) if mirrored else image)
        columns = found.isnan().any(dim=1)[0].any(dim=0)
        columns = columns.flip(-1) if mirrored else columns
        touched = columns.view(cells, stride).any(dim=1).nonzero()
        return int(touched[0]) if len(touched) else cells

    cell = first_touched(middle)
    if cell == 0:
        return None
    low, high = 0, stride  # the cell is touched from middle + low on, and not from middle + high on
    while high - low > 1:
        half = (low + high) // 2
        low, high = (half, high) if first_touched(middle + half) == cell else (low, half)
    return max(0, middle + low - (cell * stride + stride - 1))


class _OneChannel(TorchFunctionMode):
    """Computes convolutions on the sum of their channels: same places, a hundred times faster."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 (whatever the function gives)
        if func is torch.conv2d:
            return _convolve(*args, **(kwargs or {}))
        if func is torch.conv_transpose2d:
            return _convolve_transposed(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


# Names and order of the arguments are PyTorch's.
def _convolve(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,  # noqa: ANN401 (a number or two)
    padding: Any = 0,  # noqa: ANN401 (a number, two, or a word)
    dilation: Any = 1,  # noqa: ANN401 (a number or two)
    groups: int = 1,
) -> Tensor:
    kernel = input.new_ones(1, 1, *weight.shape[2:])
    total = input.sum(dim=1, keepdim=True)
    found = torch.conv2d(total, kernel, None, stride, padding, dilation)
    return found.expand(-1, weight.shape[0], -1, -1)


def _convolve_transposed(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,  # noqa: ANN401 (a number or two)
    padding: Any = 0,  # noqa: ANN401 (a number or two)
    output_padding: Any = 0,  # noqa: ANN401 (a number or two)
    groups: int = 1,
    dilation: Any = 1,  # noqa: ANN401 (a number or two)
) -> Tensor:
    kernel = input.new_ones(1, 1, *weight.shape[2:])
    total = input.sum(dim=1, keepdim=True)
    found = torch.conv_transpose2d(
        total, kernel, None, stride, padding, output_padding, 1, dilation
    )
    return found.expand(-1, weight.shape[1] * groups, -1, -1)
