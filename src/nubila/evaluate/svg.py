"""Plots as inline SVG: sharp at any size, coloured by the page, and nothing to install."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from nubila.evaluate.html import SERIES, series

__all__ = ["curves", "reliability_plot", "scene_plot"]

_MOST_POINTS: Final = 400


def reliability_plot(title: str, models: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Draw how often pixels of each predicted probability have a class.

    Args:
        title: text.
        models: name -> bins, as in `nubila.evaluate.calibration.calibration`. The bars at the foot
            tell the pixels of the first one.
    """
    left, top, side = 50, 10, 260
    parts = [_frame(left, top, side, side, (0, 0.25, 0.5, 0.75, 1), (0, 0.25, 0.5, 0.75, 1))]
    parts.append(f'<path class="diagonal" d="M{left} {top + side}L{left + side} {top}"/>')
    first = next(iter(models.values()), ())
    most = max((b["pixels"] for b in first), default=1)
    for b in first:
        height = 44 * b["pixels"] / most
        parts.append(
            f'<rect class="count s0" x="{left + side * b["from"]:.1f}" '
            f'y="{top + side - height:.1f}" width="{side * (b["to"] - b["from"]) - 1:.1f}" '
            f'height="{height:.1f}"><title>{b["pixels"]} pixels</title></rect>'
        )
    for place, bins in enumerate(models.values()):
        points = [(left + side * b["probability"], top + side * (1 - b["frequency"])) for b in bins]
        parts.append(f'<g class="s{place % SERIES}">{_path(points)}')
        parts += [f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3.4"/>' for x, y in points]
        parts.append("</g>")
    parts.append(_text(left + side / 2, top + side + 36, "predicted probability", "middle"))
    parts.append(
        f'<text class="text" transform="translate(11 {top + side / 2}) rotate(-90)" '
        f'text-anchor="middle">observed frequency</text>'
    )
    return _figure(title, 322, 312, parts)


def scene_plot(title: str, models: Mapping[str, Sequence[tuple[str, float]]]) -> str:
    """Draw a figure of every scene, best first, each model's in its own order.

    Args:
        title: text.
        models: name -> (scene, value from 0 to 1).
    """
    left, top, width, height = 40, 10, 850, 150
    parts = [_frame(left, top, width, height, (), (0, 0.25, 0.5, 0.75, 1))]
    for place, scenes in enumerate(models.values()):
        ranked = sorted(scenes, key=lambda scene: -scene[1])
        step = width / max(1, len(ranked))
        points = [
            (left + (n + 0.5) * step, top + height * (1 - value))
            for n, (_, value) in enumerate(ranked)
        ]
        parts.append(f'<g class="s{place % SERIES}">{_path(points)}')
        parts += [
            f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4">'
            f"<title>{escape(name)}: {100 * value:.1f} %</title></circle>"
            for (x, y), (name, value) in zip(points, ranked, strict=True)
        ]
        parts.append("</g>")
    parts.append(_text(left + width / 2, top + height + 20, "scenes, best first", "middle"))
    return _figure(title, 900, 188, parts)


def curves(title: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Draw values over steps, with a legend where there are several lines.

    Args:
        title: text.
        lines: name -> (step, value); values that are not finite are left out.
    """
    found = {
        name: [(x, y) for x, y in _thinned(points) if math.isfinite(y)]
        for name, points in lines.items()
    }
    everything = [point for points in found.values() for point in points]
    if not everything:
        return ""
    left, top, width, height = 56, 10, 390, 180
    x_ticks = _ticks(min(x for x, _ in everything), max(x for x, _ in everything))
    y_ticks = _ticks(min(y for _, y in everything), max(y for _, y in everything))

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return left + width * across, top + height * (1 - up)

    parts = [_frame(left, top, width, height, x_ticks, y_ticks)]
    for place, points in enumerate(found.values()):
        path = _path([at(*point) for point in points])
        parts.append(f'<g class="s{place % SERIES}"{_dashes(place)}>{path}</g>')
    parts.append(_text(left + width / 2, top + height + 36, "step", "middle"))
    legend = "".join(
        series(name.removeprefix(f"{title}/"), place) for place, name in enumerate(found)
    )
    return _figure(title, 472, 232, parts, legend if len(found) > 1 else "")


def _figure(title: str, width: int, height: int, parts: Sequence[str], legend: str = "") -> str:
    name = escape(title, quote=True)
    return (
        f'<figure><figcaption>{name}</figcaption><svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{name}">{"".join(parts)}</svg><div class="key">{legend}</div></figure>'
    )


def _frame(
    left: float,
    top: float,
    width: float,
    height: float,
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
) -> str:
    """Draw the axes' lines and numbers; the first and last tick are the ends of an axis."""
    parts = [f'<rect class="axis" x="{left}" y="{top}" width="{width}" height="{height}"/>']
    for tick in x_ticks:
        x = left + width * (tick - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        parts.append(f'<path class="axis" d="M{x:.1f} {top}v{height}"/>')
        parts.append(_text(x, top + height + 17, f"{tick:g}", "middle"))
    for tick in y_ticks:
        y = top + height * (1 - (tick - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]))
        parts.append(f'<path class="axis" d="M{left} {y:.1f}h{width}"/>')
        parts.append(_text(left - 6, y + 4, f"{tick:g}", "end"))
    return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="text" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _path(points: Sequence[tuple[float, float]]) -> str:
    if not points:
        return ""
    return f'<path class="curve" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in points)}"/>'


def _dashes(place: int) -> str:
    """Return what tells a line from an earlier one of the same colour."""
    turn = place // SERIES
    return f' stroke-dasharray="{7 - min(turn, 3) * 1.5:g} 3"' if turn else ""


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Return about 400 points at most: the mean of each few that follow each other."""
    each = -(-len(points) // _MOST_POINTS)
    if each <= 1:
        return points
    groups = [points[n : n + each] for n in range(0, len(points), each)]
    return [(g[-1][0], sum(y for _, y in g) / len(g)) for g in groups]


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers, four to eight of them, from at most `low` to at least `high`."""
    if high <= low:
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    power = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next(f * power for f in (1, 2, 2.5, 5, 10) if (high - low) / (f * power) <= 6)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]
