"""Pieces of a self-contained HTML page: the frame, tables, bars with intervals, pictures.

Everything is inline and nothing is a script, so a page opens anywhere, from a mail too, and looks
the same in years. Colours follow the reader's light or dark setting.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from PIL import Image

from nubila._version import __version__
from nubila.evaluate.style import CSS

__all__ = [
    "Cell",
    "bar",
    "details",
    "document",
    "legend",
    "note",
    "number",
    "percent",
    "picture",
    "section",
    "series",
    "table",
]

SERIES: Final = 8

Cell = str  # HTML; text from outside goes through `html.escape` first


def document(title: str, subtitle: str, sections: Iterable[str]) -> str:
    """Return a whole page.

    Args:
        title: text.
        subtitle: text.
        sections: HTML.
    """
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(title)}</title><style>{CSS}</style></head><body><main>",
            f"<header><h1>{escape(title)}</h1><p>{escape(subtitle)}</p></header>",
            *sections,
            f"<footer>nubila {escape(__version__)}</footer></main></body></html>\n",
        ]
    )


def section(title: str, *parts: str) -> str:
    """Return a section of HTML parts under a heading."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def note(text: str) -> str:
    """Return a paragraph that explains."""
    return f'<p class="note">{escape(text)}</p>'


def details(title: str, *parts: str) -> str:
    """Return HTML that a reader unfolds."""
    return f"<details><summary>{escape(title)}</summary>{''.join(parts)}</details>"


def table(head: Sequence[str], rows: Iterable[Sequence[Cell]], *, words: int = 1) -> str:
    """Return a table that scrolls sideways where the screen is narrow.

    Args:
        head: text of each column.
        rows: HTML of each cell.
        words: how many of the first columns are words, set to the left; the others are numbers.
    """
    line = "".join(
        f"<th{'' if place < words else ' class=n'}>{escape(text)}</th>"
        for place, text in enumerate(head)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{'' if place < words else ' class=n'}>{cell}</td>"
            for place, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    whole = f"<thead><tr>{line}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table>{whole}</table></div>'


def percent(value: float | None, *, signed: bool = False) -> str:
    """Return ``81.3``, with its sign if asked for, and a dash for what is undefined."""
    if value is None:
        return "–"
    text = f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"
    return text.replace("-", "−")


def number(value: float) -> str:
    """Return a count for people: ``11.3 M``."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:g}"


def bar(
    value: float | None,
    interval: Sequence[float | None] = (None, None),
    *,
    place: int = 0,
    most: float = 1.0,
    signed: bool = False,
    mark: float | None = None,
) -> Cell:
    """Return a dot on a line with its interval, as in a forest plot.

    Args:
        value: where the dot goes; None leaves the line empty.
        interval: low and high end, or None.
        place: number of the series, for its colour.
        most: right end of the line.
        signed: the left end is ``-most`` in place of 0.
        mark: a thin line for comparison, such as a baseline.
    """

    def left(number: float) -> float:
        part = (number + most) / (2 * most) if signed else number / most
        return round(100 * min(max(part, 0.0), 1.0), 2)

    inner = '<s style="left:50%"></s>' if signed else ""
    if mark is not None:
        inner += f'<s style="left:{left(mark)}%"></s>'
    low, high = interval
    if low is not None and high is not None:
        inner += f'<i style="left:{left(low)}%;width:{left(high) - left(low):.2f}%"></i>'
    if value is not None:
        inner += f'<b style="left:{left(value)}%"></b>'
    return f'<div class="bar s{place % SERIES}">{inner}</div>'


def series(name: str, place: int) -> Cell:
    """Return a name with the dot of its colour."""
    return f'<span class="series s{place % SERIES}">{escape(name)}</span>'


def legend(names: Iterable[str]) -> str:
    """Return the names of several series in their colours; nothing for one alone."""
    names = list(names)
    if len(names) < 2:
        return ""
    return f"<p>{' &nbsp; '.join(series(name, n) for n, name in enumerate(names))}</p>"


def picture(image: Image.Image, caption: str, *, photo: bool = False) -> str:
    """Return a picture inside of the page: PNG, or JPEG for a photo, which is a tenth as large.

    Args:
        image: RGB.
        caption: text under it, and for those who cannot see it.
        photo: no map of classes, whose colours must stay as they are.
    """
    stream = io.BytesIO()
    if photo:
        image.save(stream, "JPEG", quality=85)
    else:
        image.save(stream, "PNG", optimize=True)
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    kind = "jpeg" if photo else "png"
    text = escape(caption, quote=True)
    size = f'width="{image.width}" height="{image.height}"'
    return (
        f'<figure><img src="data:image/{kind};base64,{data}" {size} alt="{text}">'
        f"<figcaption>{text}</figcaption></figure>"
    )
