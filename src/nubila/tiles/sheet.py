"""Contact sheets: image, label and label over image, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from nubila.classes import CLASS_NAMES, CLOUD_CODES, COLOURS
from nubila.infer.picture import stretch

__all__ = ["Frame", "contact_sheet"]

_GAP: Final = 6
_LINE: Final = 18
_LEGEND: Final = 30
_PAPER: Final = (250, 250, 248)
_INK: Final = (32, 34, 38)
_IGNORED: Final = (150, 150, 150)
_OVER_IMAGE: Final = (214, 60, 40)
# Share of the label's colour over the image.
_VEIL: Final = 0.45


@dataclass(frozen=True)
class Frame:
    """An image and its label.

    Attributes:
        caption: stands above.
        image: (bands, rows, columns) reflectance, NaN = no data.
        label: (rows, columns) uint8 sets of classes, 0 = ignored.
        bands: names in the image's order.
    """

    caption: str
    image: NDArray[np.floating[Any]]
    label: NDArray[np.uint8]
    bands: Sequence[str]


def contact_sheet(frames: Iterable[Frame], *, side: int = 200, across: int = 2) -> Image.Image:
    """Draw image, label, and label over image of each frame, and a legend.

    Of several classes that a label allows, the first is drawn; where it does not tell cloud from
    clear, stripes. What may be clear or is ignored stays unveiled over the image.

    Args:
        frames: drawn one by one, so that only one need be in memory.
        side: longest side of a picture in pixels.
        across: frames beside each other.
    """
    cells = [_cell(frame, side) for frame in frames]
    width, height = 3 * side + 4 * _GAP, side + _LINE + _GAP
    across = min(across, max(len(cells), 1))
    rows = -(-len(cells) // across)
    page = Image.new("RGB", (across * width, rows * height + _LEGEND), _PAPER)
    for number, cell in enumerate(cells):
        page.paste(cell, (number % across * width, number // across * height))
    _draw_legend(ImageDraw.Draw(page), rows * height)
    return page


def _cell(frame: Frame, side: int) -> Image.Image:
    image = true_colour(frame.image, frame.bands)
    label = label_colours(frame.label)
    cell = Image.new("RGB", (3 * side + 4 * _GAP, side + _LINE + _GAP), _PAPER)
    draw = ImageDraw.Draw(cell)
    draw.text((_GAP, 2), _fitted(frame.caption, cell.width - 2 * _GAP), _INK, _font())
    for place, picture in enumerate((image, label, _overlay(image, label, frame.label))):
        shown = Image.fromarray(picture)
        factor = side / max(shown.size)
        size = max(1, round(shown.width * factor)), max(1, round(shown.height * factor))
        # Classes are never blended, nor is an image that is enlarged.
        blended = place != 1 and factor < 1
        method = Image.Resampling.BILINEAR if blended else Image.Resampling.NEAREST
        cell.paste(shown.resize(size, method), (_GAP + place * (side + _GAP), _LINE))
    return cell


def true_colour(image: NDArray[np.floating[Any]], bands: Sequence[str]) -> NDArray[np.uint8]:
    """Return (rows, columns, 3) in red, green and blue, or in grey where one of them is absent."""
    names = ("red", "green", "blue")
    there = [name for name in bands if np.isfinite(image[list(bands).index(name)]).any()]
    shown = names if all(name in there for name in names) else (there or list(bands))[:1] * 3
    return stretch(np.stack([image[list(bands).index(name)] for name in shown]).astype(np.float32))


def label_colours(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the colours (rows, columns, 3) of a label; stripes where it may be cloud or not."""
    rows, columns = label.shape
    width = max(1, max(label.shape) // 64)
    stripe = (np.arange(rows)[:, None] + np.arange(columns)) // width
    picture = np.full((rows, columns, 3), _IGNORED, np.uint8)
    for bits in np.unique(label[label > 0]):
        codes = [code for code in CLASS_NAMES if bits >> code & 1]
        sides = [[c for c in codes if (c in CLOUD_CODES) is cloud] for cloud in (False, True)]
        colours = np.array([COLOURS[side[0]] for side in sides if side], np.uint8)
        inside = label == bits
        picture[inside] = colours[stripe[inside] % len(colours)]
    return picture


def _overlay(
    image: NDArray[np.uint8], colours: NDArray[np.uint8], label: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Return the image under a veil of the label's colours, except where that may be clear."""
    veiled = ((label > 0) & (label & 1 == 0))[..., None]
    mixed = (1 - _VEIL) * image + _VEIL * _vivid(colours)
    picture: NDArray[np.uint8] = np.where(veiled, mixed, image).astype(np.uint8)
    return picture


def _vivid(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return colours with red for cloud's white, which would not show over a cloud."""
    white = (colours == np.array(COLOURS[1], np.uint8)).all(axis=-1, keepdims=True)
    return np.where(white, np.array(_OVER_IMAGE, np.uint8), colours)


def _draw_legend(draw: ImageDraw.ImageDraw, top: int) -> None:
    left = _GAP
    entries = [(name, COLOURS[code]) for code, name in CLASS_NAMES.items()]
    entries += [("ignored", _IGNORED), ("cloud over the image", _OVER_IMAGE)]
    for name, colour in entries:
        draw.rectangle((left, top + 9, left + 12, top + 21), colour, _INK)
        draw.text((left + 17, top + 8), name, _INK, _font())
        left += 30 + round(_font().getlength(name))


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(12)


def _fitted(text: str, width: int) -> str:
    while text and _font().getlength(text) > width:
        text = text[:-2].rstrip("…") + "…"
    return text
