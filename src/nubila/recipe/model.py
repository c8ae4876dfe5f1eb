"""The network of a run: a union of one section a family, told apart by `name`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from nubila.recipe.section import Section

__all__ = ["Compact", "Model"]


class Compact(Section):
    """The compact U-Net. `widths` are channels at strides 2, 4, 8 and so on."""

    name: Literal["compact"] = "compact"
    widths: tuple[int, ...] = Field(default=(16, 48, 112, 192), min_length=2, max_length=5)

    @model_validator(mode="after")
    def _blocked(self) -> Compact:
        for width in self.widths:
            if width < 8 or width % 8:
                raise ValueError(f"width {width} is not a positive multiple of 8")
        return self


class UNet(Section):
    """The U-Net of Ronneberger et al. 2015; `widths` are channels at strides 1, 2, 4 and so on."""

    name: Literal["unet"]
    widths: tuple[int, ...] = Field(default=(64, 128, 256, 512, 1024), min_length=2, max_length=6)


Model = Annotated[Compact | UNet, Field(discriminator="name")]
