"""Whether the labels of a run can teach what it trains, told before hours are lost on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from nubila.datasets import output_sets, unnamed_told
from nubila.errors import ManifestError
from nubila.recipe import Recipe
from nubila.train.samples import Labelled, TileSamples

__all__ = ["check_labelled", "check_labels", "tell_untaught"]


def check_labels(
    recipe: Recipe,
    train: Sequence[Labelled],
    validation: Sequence[Labelled],
    report: Callable[[str], None],
) -> None:
    """Hold the labels of both splits to the recipe, and report values that no code names.

    Args:
        recipe: where no chip is cut from training images, these need no label.
        train: samples to train on.
        validation: samples to validate on.
        report: called with each line for people.

    Raises:
        ManifestError: as `check_labelled`.
    """
    data = recipe.data
    for split, samples in ((data.train, train), (data.validation, validation)):
        if samples is validation or _cuts_images(recipe):
            check_labelled(recipe, split, samples)
        if told := _unnamed(samples):
            report(f"warning: split {split!r}: {told}")


def check_labelled(recipe: Recipe, split: str, samples: Sequence[Labelled]) -> None:
    """Raise where no pixel of a split has a label that allows a class of the recipe.

    Raises:
        ManifestError: names the values of the masks that no code names, which is why, most often.
    """
    if any(_allowed(recipe, samples)):
        return
    data = recipe.data
    told = _unnamed(samples)
    raise ManifestError(
        f"{data.tiles or data.manifest or data.root}: no pixel of split {split!r} has data and a "
        f"label of the recipe's classes{f': {told}' if told else ''}. nubila data check tells what "
        f"is wrong with a table"
    )


def tell_untaught(
    recipe: Recipe,
    train: Sequence[Labelled],
    made: Sequence[Sequence[Labelled]],
    report: Callable[[str], None],
) -> None:
    """Report the classes of a recipe that no label allows; most often the first images have all.

    Args:
        recipe: its classes.
        train: samples to train on.
        made: what else chips are cut from.
        report: called with a line for people.
    """
    sources = (train, *made) if _cuts_images(recipe) else made
    missing = (1 << len(recipe.classes)) - 1
    for allowed in (bits for samples in sources for bits in _allowed(recipe, samples)):
        missing &= ~allowed
        if not missing:
            return
    names = [name for place, name in enumerate(recipe.classes) if missing >> place & 1]
    report(f"warning: no training label has {', '.join(names)}, so that nothing teaches it")


def _cuts_images(recipe: Recipe) -> bool:
    return recipe.synth.share + recipe.views.share < 1


def _allowed(recipe: Recipe, samples: Sequence[Labelled]) -> Iterator[int]:
    """Yield the outputs that labels allow, bit k for output k: of each sample, or of all tiles."""
    outputs = output_sets(recipe.classes)
    if isinstance(samples, TileSamples):
        sets = np.flatnonzero(samples.label_sets.any(axis=0))
        yield int(np.bitwise_or.reduce(outputs[sets]))
        return
    for sample in samples:
        yield int(np.bitwise_or.reduce(outputs[sample.label], axis=None))


def _unnamed(samples: Sequence[Labelled]) -> str:
    """Return what to say of values that no code names; a tile store does not keep them."""
    if isinstance(samples, TileSamples):
        return ""
    return unnamed_told([sample.unnamed for sample in samples])
