"""What is trained and shipped: normalisation, network, and what both take and give."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from nubila.nn.fold import fold_norms

__all__ = ["Body", "Segmenter"]


class Body(Protocol):
    """A network as `Segmenter` needs it, besides being an `nn.Module`.

    ``forward`` takes (N, B, H, W) without NaN (with NaN if `takes_nan`), H and W multiples of
    `stride`, and gives logits (N, K, H, W): one a class, or a single one for the second of two
    classes.
    """

    stride: int
    takes_nan: bool

    def receptive_field(self) -> int | None:
        """Return the pixels to each side of its cell of `stride` pixels that an output can see.

        None where every output depends on the whole input (global pooling, attention).
        """

    def flops_per_pixel(self) -> float:
        """Return floating-point operations (2 x multiply-adds) an input pixel."""


class Segmenter(nn.Module):
    """Reflectance in, class logits or probabilities out.

    Args:
        body: the network.
        normalise: (N, B, H, W) reflectance with NaN to what the body takes; None where the body
            takes reflectance with NaN itself.
        bands: names in the order of the input.
        classes: names in the order of the probabilities.
    """

    def __init__(
        self,
        body: nn.Module,
        normalise: nn.Module | None,
        *,
        bands: Sequence[str],
        classes: Sequence[str],
    ) -> None:
        super().__init__()
        self.body = body
        self.normalise = normalise
        self.bands = tuple(bands)
        self.classes = tuple(classes)
        self.temperature = 1.0
        self.biases = (0.0,) * len(self.classes)

    @property
    def stride(self) -> int:
        """Input heights and widths are multiples of this."""
        return cast(Body, self.body).stride

    def receptive_field(self) -> int | None:
        """Return what `Body.receptive_field` does; None too for statistics of what is given."""
        if getattr(self.normalise, "over", None) == "chip":
            return None
        return cast(Body, self.body).receptive_field()

    def flops_per_pixel(self) -> float:
        """Return what `Body.flops_per_pixel` does."""
        return cast(Body, self.body).flops_per_pixel()

    def forward(self, reflectance: Tensor, statistics: Tensor | None = None) -> Tensor:
        """Return logits (N, K, H, W), K = 1 for a network of two classes with a single logit.

        Args:
            reflectance: (N, B, H, W) float32, 1.0 = 100 %, NaN = no data or no such band.
            statistics: (N, S, B) of the whole scene, for normalisations that need them.
        """
        logits: Tensor = self.body(self._normalised(reflectance, statistics))
        return logits

    def probabilities(self, reflectance: Tensor, statistics: Tensor | None = None) -> Tensor:
        """Return calibrated probabilities (N, C, H, W): softmax of logits / temperature + bias."""
        faster = getattr(self.body, "probabilities", None)
        if faster is not None:  # calibration is folded into the last layer of such a body
            found: Tensor = faster(self._normalised(reflectance, statistics))
            return found
        return self.calibrated(self(reflectance, statistics)).softmax(dim=1)

    def calibrated(self, logits: Tensor) -> Tensor:
        """Return calibrated logits (N, C, H, W), one a class, for what `forward` gives."""
        if logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        biases = logits.new_tensor(self.biases).view(1, -1, 1, 1)
        return logits / self.temperature + biases

    def folded(self, temperature: float = 1.0, biases: Sequence[float] = ()) -> Segmenter:
        """Return a copy in evaluation mode that gives calibrated probabilities.

        Args:
            temperature: logits are divided by it.
            biases: then added to the logits, one a class; default none.
        """
        twin = copy.deepcopy(self).eval()
        fold = getattr(self.body, "folded", None)
        if fold is not None:
            twin.body = fold(temperature, biases)
        else:
            fold_norms(twin.body)
            twin.temperature = temperature
            twin.biases = tuple(biases) or twin.biases
        return twin

    def _normalised(self, reflectance: Tensor, statistics: Tensor | None) -> Tensor:
        if self.normalise is None:
            return reflectance
        found: Tensor = self.normalise(reflectance, statistics)
        return found
