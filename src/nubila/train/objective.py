"""What a run minimises: its loss, with the counts and the teacher that some terms need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nubila.datasets import output_sets
from nubila.errors import RecipeError
from nubila.nn import Segmenter
from nubila.nn.losses import Loss, build_loss, needs_counts, needs_teacher
from nubila.recipe import Recipe
from nubila.recipe.loss import CrossEntropy, Distillation
from nubila.train.samples import Labelled, TileSamples
from nubila.train.state import checkpoint_file, load_weights

__all__ = ["Objective", "build_objective", "pixel_counts"]


@dataclass(frozen=True)
class Objective:
    """Losses of a run.

    Attributes:
        training: as the recipe says.
        validation: the same without distillation, so that it is about labels; cross-entropy where
            nothing else is left.
        teacher: whose probabilities distillation takes, in evaluation mode.
    """

    training: Loss
    validation: Loss
    teacher: Segmenter | None


def build_objective(recipe: Recipe, samples: Sequence[Labelled], device: torch.device) -> Objective:
    """Return the losses of a recipe.

    Args:
        recipe: its loss and `finetune.teacher`.
        samples: training samples, whose pixels are counted where the loss asks for it.
        device: where the teacher goes.

    Raises:
        RecipeError: a term does not fit the classes, or distillation has no teacher that fits.
    """
    counts = pixel_counts(recipe, samples) if needs_counts(recipe.loss) else None
    classes = tuple(recipe.classes)
    labelled = tuple(term for term in recipe.loss if not isinstance(term, Distillation))
    return Objective(
        build_loss(recipe.loss, classes=classes, counts=counts),
        build_loss(labelled or (CrossEntropy(),), classes=classes, counts=counts),
        _teacher(recipe, device) if needs_teacher(recipe.loss) else None,
    )


def pixel_counts(recipe: Recipe, samples: Sequence[Labelled]) -> list[tuple[int, int]]:
    """Return, for each output, the pixels whose label allows it alone, and that rule it out.

    Pixels whose label allows no output are ignored in training and count for neither.
    """
    sets = np.zeros(256, np.int64)
    if isinstance(samples, TileSamples):
        found = samples.label_sets.sum(axis=0)
        sets[: len(found)] = found
    else:
        for sample in samples:
            sets += np.bincount(sample.label.ravel(), minlength=256)
    outputs = output_sets(recipe.classes)
    bits = [1 << place for place in range(len(recipe.classes))]
    return [
        (int(sets[outputs == bit].sum()), int(sets[(outputs != 0) & (outputs & bit == 0)].sum()))
        for bit in bits
    ]


def _teacher(recipe: Recipe, device: torch.device) -> Segmenter:
    path = recipe.finetune.teacher
    if path is None:
        raise RecipeError("loss distillation: finetune.teacher, a checkpoint, is missing")
    teacher = load_weights(checkpoint_file(path))
    for name, own, its in (
        ("bands", recipe.bands, teacher.bands),
        ("classes", tuple(recipe.classes), teacher.classes),
    ):
        if own != its:
            raise RecipeError(
                f"finetune.teacher: {path} is for {name} {', '.join(its)}; the recipe has "
                f"{', '.join(own)}"
            )
    return teacher.requires_grad_(False).to(device)
