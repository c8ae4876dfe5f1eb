"""The loss of a run: a weighted sum of terms, each told by its `name`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nubila.recipe.section import Section

__all__ = [
    "Bce",
    "Boundary",
    "CrossEntropy",
    "Dice",
    "DiceBce",
    "Distillation",
    "FilteredJaccard",
    "Focal",
    "FocalTversky",
    "Jaccard",
    "LossTerm",
    "LovaszHinge",
    "LovaszSoftmax",
    "MixedFocal",
]


class _Term(Section):
    """What every term has. `weight` is its factor in the sum."""

    weight: float = Field(default=1.0, ge=0)


class _ByClass(_Term):
    """A term that takes each class against all others, and the mean over classes.

    `classes` are the ones taken; without any, all of them, or the second of two.
    """

    classes: tuple[str, ...] = ()


class CrossEntropy(_Term):
    """Partial cross-entropy: -log of the probability of the classes that the label allows.

    `smoothing` is the part of the target that is spread evenly over all classes.
    """

    name: Literal["cross_entropy"] = "cross_entropy"
    smoothing: float = Field(default=0.0, ge=0, lt=1)


class Bce(_ByClass):
    """Binary cross-entropy.

    `pos_weight` multiplies the pixels of the class; ``auto`` is the ratio of the training pixels
    outside the class to those in it.
    """

    name: Literal["bce"]
    pos_weight: Annotated[float, Field(gt=0)] | Literal["auto"] = 1.0


class Dice(_ByClass):
    """Soft Dice loss over the batch. `smooth` pixels are added above and below the line."""

    name: Literal["dice"]
    smooth: float = Field(default=1.0, gt=0)


class Jaccard(_ByClass):
    """Soft Jaccard loss over the batch. `smooth` as in `Dice`."""

    name: Literal["jaccard"]
    smooth: float = Field(default=1.0, gt=0)


class DiceBce(_ByClass):
    """The sum of `Dice` and `Bce`."""

    name: Literal["dice_bce"]
    pos_weight: Annotated[float, Field(gt=0)] | Literal["auto"] = 1.0
    smooth: float = Field(default=1.0, gt=0)


class Focal(_Term):
    """Focal loss: cross-entropy times (1 - probability)^gamma.

    `alpha`, of two classes only, is the weight of the second; the first gets 1 - alpha.
    """

    name: Literal["focal"]
    gamma: float = Field(default=2.0, ge=0)
    alpha: float | None = Field(default=None, ge=0, le=1)


class FocalTversky(_ByClass):
    """Focal Tversky loss: (1 - Tversky index)^(1 / gamma).

    `alpha` weighs missed pixels and `beta` false alarms.
    """

    name: Literal["focal_tversky"]
    alpha: float = Field(default=0.7, ge=0)
    beta: float = Field(default=0.3, ge=0)
    gamma: float = Field(default=4 / 3, ge=1)
    smooth: float = Field(default=1.0, gt=0)


class MixedFocal(_ByClass):
    """``focal * Focal + dice * Dice``; `classes` and `smooth` are those of Dice."""

    name: Literal["mixed_focal"]
    focal: float = Field(default=1.0, ge=0)
    dice: float = Field(default=1.0, ge=0)
    gamma: float = Field(default=2.0, ge=0)
    alpha: float | None = Field(default=None, ge=0, le=1)
    smooth: float = Field(default=1.0, gt=0)


class LovaszHinge(_Term):
    """Lovász hinge of two classes, of each image by itself.

    `hardest` is the share of pixels, those of the greatest errors, that count (online hard example
    mining).
    """

    name: Literal["lovasz_hinge"]
    hardest: float = Field(default=1.0, gt=0, le=1)


class LovaszSoftmax(_ByClass):
    """Lovász-Softmax over the batch and the classes that occur in it. `hardest` as above."""

    name: Literal["lovasz_softmax"]
    hardest: float = Field(default=1.0, gt=0, le=1)


class FilteredJaccard(_ByClass):
    """Filtered Jaccard loss: where an image has no pixel of a class, the Jaccard of the rest."""

    name: Literal["filtered_jaccard"]
    smooth: float = Field(default=1.0, gt=0)


class Boundary(_Term):
    """Cross-entropy with pixels near boundaries of the label weighing more.

    A pixel on a boundary weighs 1 + `gain`, one at `sigma` pixels from it 1 + 0.61 gain.
    """

    name: Literal["boundary"]
    gain: float = Field(default=10.0, ge=0)
    sigma: float = Field(default=5.0, gt=0, le=20)


class Distillation(_Term):
    """Divergence from a teacher's probabilities, both softened by `temperature`."""

    name: Literal["distillation"]
    temperature: float = Field(default=1.0, gt=0)


LossTerm = Annotated[
    CrossEntropy
    | Bce
    | Dice
    | Jaccard
    | DiceBce
    | Focal
    | FocalTversky
    | MixedFocal
    | LovaszHinge
    | LovaszSoftmax
    | FilteredJaccard
    | Boundary
    | Distillation,
    Field(discriminator="name"),
]
