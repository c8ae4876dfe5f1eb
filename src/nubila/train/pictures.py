"""Pictures of validation samples, the same ones each time: image, label, prediction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from nubila.classes import COLOURS, class_code
from nubila.datasets import output_sets
from nubila.infer.picture import stretch
from nubila.nn import Segmenter
from nubila.raster.atomic import atomic_path
from nubila.recipe import Recipe
from nubila.train.data import Labelled
from nubila.train.validate import classes_of

__all__ = ["chosen", "draw_samples"]

_SIDE: Final = 256
_GAP: Final = 6
_LINE: Final = 20
_PAPER: Final = (250, 250, 248)
_INK: Final = (32, 34, 38)
_IGNORED: Final = (150, 150, 150)


def chosen(samples: Sequence[Labelled], count: int) -> list[Labelled]:
    """Return `count` samples spread evenly over all, or all where there are fewer."""
    places = np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).astype(int))
    return [samples[place] for place in places]


def draw_samples(
    network: Segmenter, recipe: Recipe, samples: Sequence[Labelled], path: Path
) -> None:
    """Draw a row a sample: image, label and prediction, as PNG.

    Of a label that allows several classes the first is drawn; grey = ignored.

    Args:
        network: in evaluation mode.
        recipe: its bands and classes.
        samples: of any size.
        path: of the picture.
    """
    width, height = 3 * (_SIDE + _GAP) + _GAP, len(samples) * (_SIDE + _GAP) + _GAP + 2 * _LINE
    page = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(page)
    for column, title in enumerate(("image", "label", "prediction")):
        draw.text((_GAP + column * (_SIDE + _GAP), _GAP), title, fill=_INK)
    for row, sample in enumerate(samples):
        for column, panel in enumerate(_panels(network, recipe, sample)):
            place = (_GAP + column * (_SIDE + _GAP), _LINE + _GAP + row * (_SIDE + _GAP))
            page.paste(_fitted(panel), place)
    _legend(draw, recipe, height - _LINE)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        page.save(temporary, format="PNG")


def _panels(network: Segmenter, recipe: Recipe, sample: Labelled) -> list[NDArray[np.uint8]]:
    predicted = classes_of(network, recipe, sample)
    allowed = output_sets(recipe.classes)[sample.label]
    first = np.where(allowed == 0, len(recipe.classes), _lowest_bit(allowed))
    palette = np.array([*_colours(recipe), _IGNORED], np.uint8)
    return [_natural(recipe, sample), palette[first], palette[predicted]]


def _natural(recipe: Recipe, sample: Labelled) -> NDArray[np.uint8]:
    """Return red, green and blue where the network takes them, else its first band in grey."""
    names = ("red", "green", "blue")
    known = all(name in recipe.bands for name in names)
    bands = [recipe.bands.index(name) for name in names] if known else [0, 0, 0]
    return stretch(np.asarray(sample.image[bands], np.float32))


def _lowest_bit(sets: NDArray[np.uint8]) -> NDArray[np.intp]:
    table = [(value & -value).bit_length() - 1 for value in range(1, 256)]
    return np.array([0, *table], np.intp)[sets]


def _colours(recipe: Recipe) -> list[tuple[int, int, int]]:
    return [COLOURS[class_code(members[0])] for members in recipe.classes.values()]


def _fitted(panel: NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(panel))
    scale = _SIDE / max(picture.size)
    size = tuple(max(1, round(length * scale)) for length in picture.size)
    return picture.resize((size[0], size[1]), Image.Resampling.NEAREST)


def _legend(draw: ImageDraw.ImageDraw, recipe: Recipe, top: int) -> None:
    left = _GAP
    for name, colour in zip(
        (*recipe.classes, "ignored"), (*_colours(recipe), _IGNORED), strict=True
    ):
        draw.rectangle((left, top, left + 12, top + 12), fill=colour, outline=_INK)
        draw.text((left + 16, top), name, fill=_INK)
        left += 28 + int(draw.textlength(name))
