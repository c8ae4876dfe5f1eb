"""Pictures of the samples where detectors disagree most: image, label, and each mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from nubila.classes import CLASS_NAMES, COLOURS, NO_DATA
from nubila.datasets import SampleSpec, load_sample
from nubila.detect import Detector, own_mask, view_of
from nubila.evaluate.compare_detectors import Comparison
from nubila.evaluate.html import details, note, percent, picture, section
from nubila.evaluate.panels import (
    IGNORED,
    class_picture,
    label_picture,
    put_legend,
    scaled,
    score,
    shortened,
    true_colour,
)

__all__ = ["Disputed", "disputed_samples", "disputed_section", "draw_disputed", "make_disputed"]

Picture = NDArray[np.uint8]

# So many samples are drawn, and so many of one folder, so that one hard set does not fill the page.
_MOST: Final = 12
_MOST_OF_FOLDER: Final = 4
_SIDE: Final = 240
_TILE: Final = 300
_GAP: Final = 6
_LINE: Final = 36
_LEGEND: Final = 30
_PAPER: Final = (250, 250, 248)
_INK: Final = (32, 34, 38)
_COLUMNS: Final = 5  # of a page


@dataclass(frozen=True)
class Disputed:
    """A sample in pictures of (rows, columns, 3).

    Attributes:
        id: of the sample.
        disagreement: share of pixels that two detectors call cloud and not cloud, mean of pairs.
        image, label: what is there.
        masks: caption -> classes of each detector, grey where it cannot judge.
    """

    id: str
    disagreement: float
    image: Picture
    label: Picture
    masks: Mapping[str, Picture]


def disputed_samples(comparison: Comparison, specs: Sequence[SampleSpec]) -> list[int]:
    """Return the places of the samples with the most disagreement, most first.

    At most 12, and 4 of a folder; samples on which all agree are never among them.
    """
    found = comparison.disagreement
    chosen: list[int] = []
    taken: dict[str, int] = {}
    for place in sorted(range(len(specs)), key=lambda i: (-found[i], specs[i].id)):
        folder = specs[place].folder
        if len(chosen) < _MOST and found[place] > 0 and taken.get(folder, 0) < _MOST_OF_FOLDER:
            chosen.append(place)
            taken[folder] = taken.get(folder, 0) + 1
    return chosen


def make_disputed(
    comparison: Comparison, detectors: Mapping[str, Detector], specs: Sequence[SampleSpec]
) -> list[Disputed]:
    """Run the detectors again on the samples that `disputed_samples` chooses.

    Args:
        comparison: of the detectors on `specs`.
        detectors: those to draw.
        specs: the samples, in the order of the comparison.
    """
    return [
        _disputed(comparison, detectors, specs[place], place)
        for place in disputed_samples(comparison, specs)
    ]


def draw_disputed(samples: Sequence[Disputed]) -> Image.Image:
    """Draw the samples on one page, a row each, with a legend.

    Args:
        samples: at least one.
    """
    columns = 2 + len(samples[0].masks)
    width = max(columns * (_SIDE + _GAP) + _GAP, 760)
    page = Image.new("RGB", (width, len(samples) * (_SIDE + _LINE) + _LEGEND), _PAPER)
    draw = ImageDraw.Draw(page)
    for row, sample in enumerate(samples):
        head = f"disagreement {percent(sample.disagreement)} %\n{sample.id}"
        tiles = {head: sample.image, "\nlabel": sample.label, **sample.masks}
        for column, (caption, tile) in enumerate(tiles.items()):
            left, top = _GAP + column * (_SIDE + _GAP), row * (_SIDE + _LINE)
            lines = "\n".join(shortened(line, _SIDE) for line in caption.split("\n"))
            draw.multiline_text((left, top + 3), lines, _INK, ImageFont.load_default(12), spacing=1)
            # Classes are never blended, nor is an image that is enlarged.
            page.paste(scaled(tile, _SIDE, blended=column == 0), (left, top + _LINE))
    put_legend(draw, page.height - _LEGEND, _key())
    return page


def disputed_section(samples: Sequence[Disputed]) -> str:
    """Return the samples in pictures as a section of the report, or nothing for none."""
    if not samples:
        return ""
    colours = "".join(
        f'<span style="--c:rgb{colour}">{escape(name)}</span>' for name, colour in _key().items()
    )
    drawn = [_drawn(sample) for sample in samples]
    return section(
        "Where they disagree most",
        note(
            "The samples with the most disagreement, no more than four of a folder: the share of "
            "pixels that two detectors call cloud and not cloud, the mean of all pairs. The IoU "
            "under a mask is that of cloud in this image."
        ),
        f'<div class="key">{colours}</div>',
        *drawn[:4],
        details(f"{len(drawn) - 4} more", *drawn[4:]) if len(drawn) > 4 else "",
    )


def _drawn(sample: Disputed) -> str:
    tiles = [
        picture(scaled(sample.image, _TILE, blended=True), "image", photo=True),
        picture(scaled(sample.label, _TILE, blended=False), "label"),
    ]
    for caption, mask in sample.masks.items():
        words = caption.replace("\n", ": ")
        tiles.append(picture(scaled(mask, _TILE, blended=False), words))
    columns = min(len(tiles), _COLUMNS)
    head = f"{escape(sample.id)} <small>{percent(sample.disagreement)} % of pixels</small>"
    return f'<h3>{head}</h3><div class="panel" style="--k:{columns}">{"".join(tiles)}</div>'


def _disputed(
    comparison: Comparison, detectors: Mapping[str, Detector], spec: SampleSpec, place: int
) -> Disputed:
    sample = load_sample(spec)
    view = view_of(sample, own_mask(spec))
    tallies = {c.name: c.tallies[place] for c in comparison.contenders}
    masks: dict[str, Picture] = {}
    nothing = np.full_like(sample.label, NO_DATA)
    for name, detector in detectors.items():
        counted = tallies[name]
        if counted is None:
            masks[f"{name}\n{detector.lacks(view)}"] = class_picture(nothing)
        else:
            caption = score("cloud", counted.counts("cloud").iou)
            masks[f"{name}\n{caption}"] = class_picture(detector.detect(view).classes)
    return Disputed(
        id=spec.id,
        disagreement=comparison.disagreement[place],
        image=true_colour(sample),
        label=label_picture(sample.label),
        masks=masks,
    )


def _key() -> dict[str, tuple[int, int, int]]:
    return {CLASS_NAMES[code]: COLOURS[code] for code in CLASS_NAMES} | {"not judged": IGNORED}
