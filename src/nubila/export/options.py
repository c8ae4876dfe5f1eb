"""What to export, besides the run itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

from nubila.classes import DecisionRule
from nubila.errors import InputError
from nubila.recipe import Recipe

__all__ = ["FLIPS", "OUTPUTS", "ExportOptions", "Shape"]

Output = Literal["probabilities", "logits", "classes", "mask"]

OUTPUTS: Final[tuple[Output, ...]] = get_args(Output)
FLIPS: Final = ("none", "horizontal", "four", "eight")


@dataclass(frozen=True)
class Shape:
    """What a graph takes and gives.

    Attributes:
        output: what it gives.
        size: its height and width; None = any multiples of the network's stride.
        batch: how many images at once; None = any number.
        flips: over which turns of the image its answer is the mean; one of `FLIPS`.
        decision: how classes follow from probabilities; see `nubila.models_io.card`.
    """

    output: Output = "probabilities"
    size: int | None = None
    batch: int | None = None
    flips: str = "none"
    decision: DecisionRule = "class"


@dataclass(frozen=True)
class ExportOptions:
    """What to export.

    Attributes:
        output, size, batch: see `Shape`; None = as the recipe's section `export` says.
        flips: also a variant whose answer is the mean over turns of the image.
        fp16: also a variant with weights in half precision.
        int8: also a variant whose convolutions compute with 8-bit integers.
        prune: also a variant without this share of the channels that can go; 0 = none.
        finetune: steps that a pruned network is trained further.
        tolerance: cloud IoU on the validation split that a variant may lose.
        force: keep variants that lose more, or are slower, too.
    """

    output: Output | None = None
    size: int | None = None
    batch: int | None = None
    flips: str = "none"
    fp16: bool = False
    int8: bool = False
    prune: float = 0.0
    finetune: int = 200
    tolerance: float = 0.005
    force: bool = False

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: a value is out of range.
        """
        if self.flips not in FLIPS:
            raise InputError(f"flips must be one of {', '.join(FLIPS)}; got {self.flips!r}")
        if not 0 <= self.prune < 1:
            raise InputError(f"prune is a share of channels from 0 to 1; got {self.prune}")
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0 and self.finetune >= 0):
            raise InputError(
                f"tolerance and finetune must be numbers from 0 up; got {self.tolerance} and "
                f"{self.finetune}"
            )

    @property
    def variants(self) -> bool:
        """Whether anything besides the model itself is asked for."""
        return self.fp16 or self.int8 or self.prune > 0 or self.flips != "none"

    def shape(self, recipe: Recipe, stride: int) -> Shape:
        """Return what the graph takes and gives, by these options and the recipe.

        Raises:
            InputError: size or batch does not fit the network.
        """
        said = recipe.export
        size = said.size if self.size is None else self.size
        batch = said.batch if self.batch is None else self.batch
        if size is not None and (size < stride or size % stride):
            raise InputError(
                f"size {size} is no multiple of {stride}, the stride of the network "
                f"{recipe.model.name!r}; give {max(1, round(size / stride)) * stride}"
            )
        if batch is not None and batch < 1:
            raise InputError(f"batch must be at least 1; got {batch}")
        return Shape(self.output or said.output, size, batch, decision=said.decision)
