"""Any decoder with any encoder of segmentation-models-pytorch and timm."""

from __future__ import annotations

import functools
import warnings
from typing import Any

from torch import Tensor, nn

from nubila.errors import MissingExtraError, RecipeError, nearest
from nubila.nn.body import Network, count_flops

__all__ = ["LibraryNetwork", "encoder_names", "known_encoder"]


class LibraryNetwork(Network):
    """A network of segmentation-models-pytorch, without pretrained weights.

    Args:
        decoder: what `segmentation_models_pytorch.create_model` calls the architecture.
        encoder: a name of segmentation-models-pytorch or of timm, with or without ``tu-``.
        inputs: number of bands.
        outputs: number of logits.

    Attributes:
        model: the network; its ``encoder`` is what pretrained weights are for.

    Raises:
        RecipeError: no such encoder, or one that does not go with the decoder.
        MissingExtraError: segmentation-models-pytorch is not installed.
    """

    def __init__(self, decoder: str, encoder: str, *, inputs: int, outputs: int) -> None:
        try:
            model = _create(decoder, known_encoder(encoder), inputs, outputs)
            super().__init__(inputs, outputs, int(model.encoder.output_stride))
            self.model: nn.Module = model
            # Some encoders take images of one size only, and say so when they are given another.
            count_flops(self, inputs, 3 * self.stride)
        except (AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).strip().splitlines()
            raise RecipeError(
                f"model.encoder: {encoder!r} does not go with the decoder {decoder!r}; take "
                f"another of either ({reason[0] if reason else type(error).__name__})"
            ) from error
        _even_corners(model)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (N, K, H, W) for (N, B, H, W)."""
        logits: Tensor = self.model(image)
        return logits


def _create(decoder: str, encoder: str, inputs: int, outputs: int) -> Any:  # noqa: ANN401 (untyped library)
    with warnings.catch_warnings():
        # It wants the newer of two names for the same encoder; both stay in use.
        warnings.simplefilter("ignore", DeprecationWarning)
        return _library().create_model(
            decoder, encoder, encoder_weights=None, in_channels=inputs, classes=outputs
        )


def known_encoder(name: str) -> str:
    """Return an encoder's name as segmentation-models-pytorch takes it.

    Raises:
        RecipeError: neither it nor timm has such an encoder.
    """
    if name in _library().encoders.encoders:
        return name
    bare = name.removeprefix("tu-").removeprefix("timm-")
    names = encoder_names()
    if bare.partition(".")[0] in names:  # what follows the point names timm's weights
        return name if name.startswith("timm-") and bare not in _timm() else f"tu-{bare}"
    raise RecipeError(
        f"model.encoder: no encoder {name!r}{nearest(bare, names)} (segmentation-models-pytorch "
        "and timm know about a thousand)"
    )


@functools.cache
def encoder_names() -> tuple[str, ...]:
    """Return the names of all encoders, sorted."""
    return tuple(sorted({*_library().encoders.encoders, *_timm()}))


def _library() -> Any:  # noqa: ANN401 (untyped library)
    try:
        import segmentation_models_pytorch
    except ModuleNotFoundError as error:
        raise MissingExtraError("segmentation-models-pytorch", extra="train") from error
    return segmentation_models_pytorch


@functools.cache
def _timm() -> frozenset[str]:
    import timm

    return frozenset(timm.list_models())


def _even_corners(model: nn.Module) -> None:
    """Let enlargement not depend on the size of the image, so that tiles leave no trace.

    The library's heads align the corners of small and large image, which moves every pixel by a
    part that the size decides; there are no weights in it, so pretrained ones still fit.
    """
    for module in model.modules():
        if isinstance(module, nn.Upsample) and module.align_corners:
            module.align_corners = False
