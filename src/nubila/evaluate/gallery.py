"""The sections of a report that look at single scenes: their scores, and pictures of some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from nubila.classes import CLASS_NAMES, COLOURS
from nubila.evaluate.html import legend, note, picture, section
from nubila.evaluate.panels import DIFFERENCE, IGNORED, Panel, scaled, score
from nubila.evaluate.svg import scene_plot

__all__ = ["panel_section", "scene_section"]

_TILE: Final = 300
_MOST_TILES: Final = 6  # in a row


def scene_section(name: str, models: Mapping[str, Sequence[tuple[str, float]]]) -> str:
    """Return the IoU of every scene as a plot, or nothing for fewer than three.

    Args:
        name: of the class.
        models: name -> (scene, IoU).
    """
    if max(map(len, models.values()), default=0) < 3:
        return ""
    return section(
        "Scenes",
        note(f"IoU of {name} in each scene that has it; point at a dot for the scene's name."),
        legend(models),
        scene_plot(f"IoU of {name} by scene", models),
    )


def panel_section(panels: Sequence[Panel], names: Sequence[str]) -> str:
    """Return the best, median and worst samples in pictures."""
    parts = [
        note(
            "The best, median and worst image of each folder, by the IoU of the first model. The "
            "difference is that of the class named under it."
        ),
        _key({CLASS_NAMES[code]: COLOURS[code] for code in CLASS_NAMES} | {"ignored": IGNORED}),
        _key(DIFFERENCE),
    ]
    for panel in panels:
        tiles = [
            picture(scaled(panel.image, _TILE, blended=True), "image", photo=True),
            picture(scaled(panel.label, _TILE, blended=False), "label"),
        ]
        for name, judged in zip(names, panel.models, strict=True):
            tiles.append(picture(scaled(judged.classes, _TILE, blended=False), name))
            caption = f"difference: {score(panel.name, judged.iou)}"
            tiles.append(picture(scaled(judged.difference, _TILE, blended=False), caption))
        head = f"<h3>{escape(panel.title)} <small>{escape(panel.id)}</small></h3>"
        columns = len(tiles) if len(tiles) <= _MOST_TILES else 4
        parts.append(f'{head}<div class="panel" style="--k:{columns}">{"".join(tiles)}</div>')
    return section("Pictures", *parts)


def _key(colours: Mapping[str, tuple[int, int, int]]) -> str:
    entries = "".join(
        f'<span style="--c:rgb{colour}">{escape(name)}</span>' for name, colour in colours.items()
    )
    return f'<div class="key">{entries}</div>'
