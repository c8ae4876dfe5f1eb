"""From the loss terms of a recipe to one module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from nubila.errors import InputError, RecipeError, nearest
from nubila.nn.losses import lovasz, pixelwise, region
from nubila.nn.losses.pixels import Pixels
from nubila.recipe import loss as sections

__all__ = ["Loss", "build_loss", "needs_counts", "needs_teacher"]

_Term = Callable[[Pixels], Tensor]


class Loss(nn.Module):
    """A weighted sum of terms.

    Args:
        terms: (weight, name, function) of each.
        classes: names of the classes, in the order of the logits.
    """

    def __init__(
        self, terms: Sequence[tuple[float, str, _Term]], *, classes: Sequence[str]
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self._terms = tuple(terms)

    def forward(
        self,
        logits: Tensor,
        allowed: Tensor,
        weights: Tensor | None = None,
        *,
        teacher: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a batch, a scalar of float32 or wider; 0 where all is ignored.

        Args:
            logits: (N, C, H, W), or (N, 1, H, W) with the logit of the second of two classes.
            allowed: (N, H, W) uint8 sets of classes, bit c for class c; 0 = ignored.
            weights: weight of each pixel, of a shape that broadcasts to (N, H, W), or None.
            teacher: (N, C, H, W) probabilities of another network, NaN where it has none; needed
                for distillation.

        Raises:
            InputError: the logits do not fit the classes, or there is no teacher for distillation.
        """
        pixels = Pixels(logits, allowed, weights, teacher)
        found = pixels.logits.shape[1]
        if found != len(self.classes):
            raise InputError(f"loss of {len(self.classes)} classes was given {found} logits")
        return sum(
            (weight * term(pixels) for weight, _, term in self._terms),
            start=pixels.logits.new_zeros(()),
        )

    def extra_repr(self) -> str:
        """Return the sum as a person would write it."""
        return " + ".join(f"{weight:g} {name}" for weight, name, _ in self._terms)


def needs_counts(terms: Sequence[sections.LossTerm]) -> bool:
    """Tell if `build_loss` needs the pixels of each class in the training data."""
    return any(getattr(term, "pos_weight", None) == "auto" for term in terms)


def needs_teacher(terms: Sequence[sections.LossTerm]) -> bool:
    """Tell if the loss needs a teacher's probabilities with each batch."""
    return any(isinstance(term, sections.Distillation) for term in terms)


def build_loss(
    terms: Sequence[sections.LossTerm],
    *,
    classes: Sequence[str],
    counts: Sequence[tuple[float, float]] | None = None,
) -> Loss:
    """Return the loss of a recipe.

    Args:
        terms: `Recipe.loss`.
        classes: names of the classes, in the order of the logits.
        counts: of each class, in the same order, the training pixels whose label allows it alone
            and those whose label rules it out; needed for ``pos_weight: auto``.

    Raises:
        RecipeError: a term does not fit the classes, or the sum has no term that weighs anything.
    """
    if not any(term.weight > 0 for term in terms):
        raise RecipeError("loss: expected at least one term with a weight greater than 0")
    built = [(term.weight, term.name, _build(term, classes, counts)) for term in terms]
    return Loss(built, classes=classes)


def _build(
    term: sections.LossTerm,
    classes: Sequence[str],
    counts: Sequence[tuple[float, float]] | None,
) -> _Term:
    """Return one term, without its weight."""
    taken = _taken(term, classes)
    match term:
        case sections.CrossEntropy():
            return partial(pixelwise.cross_entropy, smoothing=term.smoothing)
        case sections.Bce():
            return _bce(term, taken, classes, counts)
        case sections.Dice():
            return partial(region.dice, classes=taken, smooth=term.smooth)
        case sections.Jaccard():
            return partial(region.jaccard, classes=taken, smooth=term.smooth)
        case sections.DiceBce():
            overlap = partial(region.dice, classes=taken, smooth=term.smooth)
            return _sum((1.0, overlap), (1.0, _bce(term, taken, classes, counts)))
        case sections.Focal():
            return _focal(term, classes)
        case sections.FocalTversky():
            options = term.model_dump(include={"alpha", "beta", "gamma", "smooth"})
            return partial(region.focal_tversky, classes=taken, **options)
        case sections.MixedFocal():
            overlap = partial(region.dice, classes=taken, smooth=term.smooth)
            return _sum((term.focal, _focal(term, classes)), (term.dice, overlap))
        case sections.LovaszHinge():
            _check_two(term, classes, "use lovasz_softmax for more")
            return partial(lovasz.lovasz_hinge, hardest=term.hardest)
        case sections.LovaszSoftmax():
            return partial(lovasz.lovasz_softmax, classes=taken, hardest=term.hardest)
        case sections.FilteredJaccard():
            return partial(region.filtered_jaccard, classes=taken, smooth=term.smooth)
        case sections.Boundary():
            return partial(pixelwise.boundary_cross_entropy, gain=term.gain, sigma=term.sigma)
        case sections.Distillation():
            return partial(pixelwise.distillation, temperature=term.temperature)


def _taken(term: sections.LossTerm, classes: Sequence[str]) -> tuple[int, ...]:
    """Return the classes that a term takes: those named, else all, or the second of two."""
    names = getattr(term, "classes", ())
    for name in names:
        if name not in classes:
            raise RecipeError(
                f"loss {term.name!r}: no class {name!r}{nearest(name, classes)} (the recipe's: "
                f"{', '.join(classes)})"
            )
    if names:
        return tuple(place for place, name in enumerate(classes) if name in names)
    return (1,) if len(classes) == 2 else tuple(range(len(classes)))


def _check_two(term: sections.LossTerm, classes: Sequence[str], advice: str) -> None:
    if len(classes) != 2:
        raise RecipeError(
            f"loss {term.name!r} is for two classes, and the recipe has {len(classes)} "
            f"({', '.join(classes)}); {advice}"
        )


def _focal(term: sections.Focal | sections.MixedFocal, classes: Sequence[str]) -> _Term:
    if term.alpha is not None:
        _check_two(term, classes, "leave alpha out and use class_weights")
    return partial(pixelwise.focal, gamma=term.gamma, alpha=term.alpha)


def _bce(
    term: sections.Bce | sections.DiceBce,
    taken: Sequence[int],
    classes: Sequence[str],
    counts: Sequence[tuple[float, float]] | None,
) -> _Term:
    if isinstance(term.pos_weight, float):
        factors = [term.pos_weight] * len(taken)
    else:
        factors = [_ratio(term.name, place, classes, counts) for place in taken]
    return partial(pixelwise.binary_cross_entropy, classes=taken, pos_weight=factors)


def _ratio(
    name: str,
    place: int,
    classes: Sequence[str],
    counts: Sequence[tuple[float, float]] | None,
) -> float:
    """Return how many times more training pixels are outside a class than in it."""
    if counts is None:
        raise RecipeError(f"loss {name!r}: pos_weight is auto, but no pixels were counted")
    # Those that the term itself takes as in and out, which partial labels do not count alike.
    inside, outside = counts[place]
    if inside <= 0 or outside <= 0:
        raise RecipeError(
            f"loss {name!r}: pos_weight is auto, but the labels of {inside:g} training pixels say "
            f"{classes[place]!r} and no other, and those of {outside:g} rule it out; give a "
            f"number, or other classes"
        )
    return outside / inside


def _sum(*parts: tuple[float, _Term]) -> _Term:
    def total(pixels: Pixels) -> Tensor:
        found = [weight * term(pixels) for weight, term in parts if weight]
        return sum(found, start=pixels.logits.new_zeros(()))

    return total
