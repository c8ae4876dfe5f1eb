"""The picture of a mask: image beside mask, with a legend and the cover of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from nubila.infer.legend import Legend
from nubila.infer.statistics import Statistics, percent

__all__ = ["Caption", "draw_picture", "stretch"]

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Colour = tuple[int, int, int]

_BACKGROUND: Final = (250, 250, 248)
_INK: Final = (32, 34, 38)
_FAINT: Final = (110, 114, 120)
_NO_DATA: Final = (222, 222, 218)
_MARGIN: Final = 24
_SWATCH: Final = 18
# Shortest and longest side of a panel in pixels; smaller scenes are enlarged by a whole number.
_LEAST, _MOST = 420, 900


@dataclass(frozen=True)
class Caption:
    """The words of a picture: a title, and a line of details under it."""

    title: str
    details: str


def draw_picture(
    *,
    image: NDArray[np.float32] | None,
    values: NDArray[np.uint8] | NDArray[np.uint16],
    legend: Legend,
    statistics: Statistics,
    caption: Caption,
) -> Image.Image:
    """Draw the picture.

    Args:
        image: (3, rows, columns) reflectance in red, green, blue, NaN = no data; None leaves the
            image out.
        values: (rows, columns) of the mask file, of any size over the same ground.
        legend: of the mask file's values.
        statistics: of the area.
        caption: title and details.
    """
    size = _panel_size(values.shape)
    panels = [_classes_panel(values, legend).resize(size, Image.Resampling.NEAREST)]
    if image is not None:
        natural = Image.fromarray(stretch(image))
        # Enlarged pixels stay pixels; bilinear would make a small scene look out of focus.
        enlarged = natural.width * 2 <= size[0]
        method = Image.Resampling.NEAREST if enlarged else Image.Resampling.BILINEAR
        panels.insert(0, natural.resize(size, method))
    return _page(panels, _lines(legend, statistics), caption)


def stretch(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return reflectance as an 8-bit picture in which both land and clouds show.

    Black is the 1st percentile of each band, up to 0.15: haze lifts blue most, and taking the
    darkest object away takes the veil away (Chavez 1988, doi:10.1016/0034-4257(88)90019-3). White
    is the same for all, 0.3 to 1 above; the square root between keeps shadow from drowning.

    Args:
        image: (3, rows, columns) reflectance, NaN = no data.

    Returns:
        (rows, columns, 3) uint8; no data in light grey.
    """
    missing = ~np.isfinite(image).all(axis=0)
    found = image[:, ~missing]
    if not found.size:
        return np.full((*missing.shape, 3), _NO_DATA, np.uint8)
    black = np.clip(np.percentile(found, 1, axis=1), 0, 0.15)[:, None]
    white = float(np.clip(np.percentile(found - black, 98), 0.3, 1))
    shown = np.sqrt(np.clip((np.nan_to_num(image) - black[:, None]) / white, 0, 1))
    picture: NDArray[np.uint8] = np.rint(shown * 255).astype(np.uint8).transpose(1, 2, 0).copy()
    picture[missing] = _NO_DATA
    return picture


def _panel_size(shape: Sequence[int]) -> tuple[int, int]:
    """Return width and height of a panel for a raster of (rows, columns)."""
    rows, columns = shape
    longest = max(rows, columns)
    factor: float = max(1, _LEAST // longest) if longest <= _MOST else _MOST / longest
    return max(1, round(columns * factor)), max(1, round(rows * factor))


def _classes_panel(values: NDArray[np.uint8] | NDArray[np.uint16], legend: Legend) -> Image.Image:
    colours = np.full((int(np.iinfo(values.dtype).max) + 1, 3), _NO_DATA, np.uint8)
    for entry in legend.entries:
        colours[entry.value] = entry.colour
    return Image.fromarray(colours[values])


def _lines(legend: Legend, statistics: Statistics) -> list[tuple[Colour, str, str]]:
    """Return colour, name and percentage of each line of the legend."""
    lines: list[tuple[Colour, str, str]] = []
    for entry in legend.entries:
        share = statistics.share(*entry.codes)
        if share is not None:
            lines.append((entry.colour, entry.name, percent(share)))
    without = statistics.pixels - statistics.valid
    if without:
        lines.append(
            (_NO_DATA, "no data (of the area)", percent(100 * without / statistics.pixels))
        )
    return lines


def _page(
    panels: Sequence[Image.Image], lines: Sequence[tuple[Colour, str, str]], caption: Caption
) -> Image.Image:
    width, height = panels[0].size
    inner = max(len(panels) * width + (len(panels) - 1) * _MARGIN, 2 * _LEAST)
    title, text = _font(22), _font(16)
    wide = max(_line_width(line, text) for line in lines) + _MARGIN
    columns = int(max(1, inner // wide))
    rows = -(-len(lines) // columns)
    top = _MARGIN + 64
    legend_top = top + height + 20
    page = Image.new(
        "RGB", (inner + 2 * _MARGIN, legend_top + rows * 30 + _MARGIN - 6), _BACKGROUND
    )
    draw = ImageDraw.Draw(page)
    draw.text((_MARGIN, _MARGIN - 6), _fitted(caption.title, title, inner), _INK, title)
    draw.text((_MARGIN, _MARGIN + 28), _fitted(caption.details, text, inner), _FAINT, text)
    for number, panel in enumerate(panels):
        left = _MARGIN + number * (width + _MARGIN)
        page.paste(panel, (left, top))
        draw.rectangle((left - 1, top - 1, left + width, top + height), outline=(150, 150, 150))
    for number, line in enumerate(lines):
        column, row = number % columns, number // columns
        _legend_line(draw, _MARGIN + column * (inner // columns), legend_top + row * 30, line, text)
    return page


def _legend_line(
    draw: ImageDraw.ImageDraw, left: int, top: int, line: tuple[Colour, str, str], font: Font
) -> None:
    colour, name, percent = line
    box = (left, top, left + _SWATCH, top + _SWATCH)
    draw.rectangle(box, fill=colour, outline=(130, 130, 130))
    draw.text((left + _SWATCH + 10, top - 1), name, _INK, font)
    start = left + _SWATCH + 20 + font.getlength(name)
    draw.text((start, top - 1), percent, _FAINT, font)


def _line_width(line: tuple[Colour, str, str], font: Font) -> float:
    return _SWATCH + 20 + font.getlength(line[1]) + font.getlength(line[2])


def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _fitted(text: str, font: Font, width: int) -> str:
    """Return the text, its middle left out if it is too wide."""
    if font.getlength(text) <= width:
        return text
    keep = len(text)
    while keep > 8 and font.getlength(_shortened(text, keep)) > width:
        keep -= 1
    return _shortened(text, keep)


def _shortened(text: str, keep: int) -> str:
    return f"{text[: keep // 2]} ... {text[len(text) - keep // 2 :]}"
