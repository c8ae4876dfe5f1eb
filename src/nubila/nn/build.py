"""From a recipe's sections to a network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

from torch import nn

from nubila.errors import RecipeError
from nubila.nn.cloudnet import CloudNet
from nubila.nn.compact import CompactUNet
from nubila.nn.library import LibraryNetwork
from nubila.nn.normalise import FillNoData, Standardise, build_normalise
from nubila.nn.pretrained import load_pretrained
from nubila.nn.recurrent import RecurrentResidual
from nubila.nn.segmenter import Body, Segmenter
from nubila.nn.simple import SimpleUNet
from nubila.nn.unet import UNet
from nubila.recipe import Recipe
from nubila.recipe import model as sections

__all__ = ["build_body", "build_network"]


def build_network(recipe: Recipe, *, pretrained: bool = True) -> Segmenter:
    """Return a new network as a recipe says; its weights depend on PyTorch's generator alone.

    Args:
        recipe: the run.
        pretrained: load the pretrained weights that the recipe names; False where a checkpoint
            is about to replace them.

    Raises:
        RecipeError: the network does not exist for these bands, classes or chips.
        ModelError: the pretrained weights cannot be had, or do not fit.
        MissingExtraError: a library is not installed.
    """
    classes = tuple(recipe.classes)
    body = build_body(recipe.model, recipe.bands, classes, pretrained=pretrained)
    normalise = _normalise(recipe, body)
    network = Segmenter(body, normalise, bands=recipe.bands, classes=classes)
    if recipe.chip % network.stride:
        raise RecipeError(
            f"chip: {recipe.chip} is not a multiple of {network.stride}, the stride of the "
            f"network {recipe.model.name!r}"
        )
    return network


def _normalise(recipe: Recipe, body: nn.Module) -> nn.Module | None:
    found = build_normalise(recipe.normalise, recipe.bands)
    if not cast(Body, body).takes_nan:
        return found or FillNoData()
    if isinstance(found, Standardise):
        raise RecipeError(
            f"normalise: {recipe.normalise.name!r} gives values below 0, which the network "
            f"{recipe.model.name!r} cuts off; it takes reflectance as it is"
        )
    return found


def build_body(
    spec: sections.Network,
    bands: Sequence[str],
    classes: Sequence[str],
    *,
    pretrained: bool = True,
) -> nn.Module:
    """Return the body of a `Segmenter` for a model section.

    Args:
        spec: one of `nubila.recipe.model`.
        bands: names of the inputs; pretrained first layers are widened by them.
        classes: names of the classes; of two, `spec.single_logit` leaves one logit.
        pretrained: load the pretrained weights that the section names.

    Raises:
        RecipeError: the section asks for a network that does not exist.
        ModelError: the pretrained weights cannot be had, or do not fit.
        MissingExtraError: a library is not installed.
    """
    single = spec.single_logit and len(classes) == 2
    inputs, outputs = len(bands), 1 if single else len(classes)
    match spec:
        case sections.Compact():
            return CompactUNet(spec.widths, inputs=inputs, outputs=outputs, plain=spec.plain)
        case sections.UNet():
            return UNet(spec.widths, inputs=inputs, outputs=outputs)
        case sections.AttentionUNet():
            return UNet(spec.widths, inputs=inputs, outputs=outputs, gated=True)
        case sections.R2UNet():
            unit = partial(RecurrentResidual, recurrences=spec.recurrences)
            return UNet(spec.widths, inputs=inputs, outputs=outputs, unit=unit)
        case sections.Simple():
            return SimpleUNet(spec.widths, inputs=inputs, outputs=outputs)
        case sections.Tiny():
            return SimpleUNet(spec.widths, inputs=inputs, outputs=outputs, head=spec.head)
        case sections.CloudNet():
            return CloudNet(spec.widths, inputs=inputs, outputs=outputs)
        case sections.Library():
            body = LibraryNetwork(spec.decoder, spec.encoder, inputs=inputs, outputs=outputs)
            if pretrained and spec.weights is not None:
                load_pretrained(body.model, spec, bands, classes)
            return body
    raise RecipeError(f"model: no network is built for {type(spec).__name__}")
