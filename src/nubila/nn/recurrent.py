"""The unit of R2U-Net (Alom et al. 2018, arXiv:1802.06955)."""

from __future__ import annotations

from torch import Tensor, nn

from nubila.nn.body import conv_unit

__all__ = ["RecurrentResidual"]


class _Recurrent(nn.Module):
    """One convolution, applied to its input and then again to input plus its own output."""

    def __init__(self, width: int, recurrences: int) -> None:
        super().__init__()
        self.recurrences = recurrences
        self.unit = conv_unit(width, width)

    def forward(self, features: Tensor) -> Tensor:
        state: Tensor = self.unit(features)
        for _ in range(self.recurrences):
            state = self.unit(features + state)
        return state


class RecurrentResidual(nn.Module):
    """Two recurrent convolutions around which their input is led.

    Args:
        inputs: channels that come in; a 1x1 convolution brings them to `outputs`.
        outputs: channels.
        recurrences: how often each convolution is applied again.
    """

    def __init__(self, inputs: int, outputs: int, recurrences: int = 2) -> None:
        super().__init__()
        self.widen = nn.Conv2d(inputs, outputs, 1)
        self.units = nn.Sequential(
            _Recurrent(outputs, recurrences), _Recurrent(outputs, recurrences)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return (N, `outputs`, H, W) for (N, `inputs`, H, W)."""
        widened = self.widen(features)
        found: Tensor = widened + self.units(widened)
        return found
