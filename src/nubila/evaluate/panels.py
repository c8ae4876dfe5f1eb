"""Pictures of an evaluation: each folder's best, median and worst sample, label and prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from nubila.classes import CLASS_NAMES, COLOURS, NO_DATA
from nubila.datasets import Sample, SampleSpec, load_sample
from nubila.evaluate.run import Evaluation, predict_sample
from nubila.evaluate.scores import SCORED, SampleTally
from nubila.infer.picture import stretch
from nubila.models_io import Model

__all__ = ["chosen_samples", "draw_panels", "label_picture"]

_SIDE: Final = 240
_GAP: Final = 6
_LINE: Final = 34
_LEGEND: Final = 30
_PAPER: Final = (250, 250, 248)
_INK: Final = (32, 34, 38)
_IGNORED: Final = (150, 150, 150)


def draw_panels(evaluation: Evaluation, model: Model, specs: Sequence[SampleSpec]) -> Image.Image:
    """Draw a row a folder: image, label and prediction of its best, median and worst sample.

    They are ranked by the IoU of cloud, or of the first class that the folder's labels tell. Of a
    label that allows several classes the first is drawn; grey = ignored, or not judged.

    Args:
        evaluation: of `model` on `specs`.
        model: runs again on the samples that are drawn.
        specs: the samples, in the order of the evaluation.
    """
    folders = list(dict.fromkeys(tally.folder for tally in evaluation.tallies))
    rows = [chosen_samples(evaluation.tallies, folder) for folder in folders]
    columns = max(len(row) for row in rows)
    width = columns * (3 * _SIDE + 4 * _GAP)
    page = Image.new("RGB", (width, len(rows) * (_SIDE + _LINE) + _LEGEND), _PAPER)
    draw = ImageDraw.Draw(page)
    for row, chosen in enumerate(rows):
        for column, (place, caption) in enumerate(chosen):
            left, top = column * (3 * _SIDE + 4 * _GAP) + _GAP, row * (_SIDE + _LINE)
            _put(page, draw, (left, top), caption, _tiles(model, specs[place]))
    _put_legend(draw, page.height - _LEGEND)
    return page


def chosen_samples(tallies: Sequence[SampleTally], folder: str) -> list[tuple[int, str]]:
    """Return place and caption of a folder's best, median and worst sample, each once.

    Samples without an IoU are drawn only where a folder has no other.
    """
    places = [i for i, tally in enumerate(tallies) if tally.folder == folder]
    name = next((n for n in SCORED if any(tallies[i].names(n) for i in places)), "cloud")
    ious = {i: tallies[i].counts(name).iou for i in places}
    ranked = sorted(
        (i for i in places if ious[i] is not None), key=lambda i: (-(ious[i] or 0.0), tallies[i].id)
    )
    ranked = ranked or places[:1]
    words: dict[int, list[str]] = {}
    for word, i in zip(
        ("best", "median", "worst"), (0, (len(ranked) - 1) // 2, len(ranked) - 1), strict=True
    ):
        words.setdefault(ranked[i], []).append(word)
    if len(words) == 1:
        words = {ranked[0]: ["the only one"]}
    return [
        (i, f"{folder}, {' and '.join(word)}: {_score(name, ious[i])}\n{tallies[i].id}")
        for i, word in words.items()
    ]


def label_picture(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the colours (rows, columns, 3) of a label: the first class that each pixel may be."""
    colours = np.full((256, 3), _IGNORED, np.uint8)
    for bits in range(1, 1 << len(CLASS_NAMES)):
        first = next(code for code in CLASS_NAMES if bits >> code & 1)
        colours[bits] = COLOURS[first]
    picture: NDArray[np.uint8] = colours[label]
    return picture


def _class_picture(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    colours = np.full((256, 3), _IGNORED, np.uint8)
    for code in CLASS_NAMES:
        colours[code] = COLOURS[code]
    colours[NO_DATA] = _IGNORED
    picture: NDArray[np.uint8] = colours[classes]
    return picture


def _score(name: str, iou: float | None) -> str:
    return f"no {name} in label and prediction" if iou is None else f"{name} IoU {iou:.3f}"


def _tiles(model: Model, spec: SampleSpec) -> list[NDArray[np.uint8]]:
    sample = load_sample(spec)
    classes = predict_sample(model, sample, spec)
    return [_true_colour(sample), label_picture(sample.label), _class_picture(classes)]


def _true_colour(sample: Sample) -> NDArray[np.uint8]:
    """Return the image in red, green and blue, or in grey where it lacks one of them."""
    names = ("red", "green", "blue")
    if all(name in sample.bands for name in names):
        places = [sample.bands.index(name) for name in names]
    else:
        places = [0, 0, 0]
    return stretch(sample.image[places])


def _put(
    page: Image.Image,
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    caption: str,
    tiles: Sequence[NDArray[np.uint8]],
) -> None:
    left, top = corner
    draw.multiline_text((left, top + 3), caption, _INK, ImageFont.load_default(12), spacing=1)
    for number, tile in enumerate(tiles):
        picture = Image.fromarray(tile)
        factor = _SIDE / max(picture.size)
        size = round(picture.width * factor), round(picture.height * factor)
        # Classes are never blended, nor is an image that is enlarged.
        blended = number == 0 and factor < 1
        method = Image.Resampling.BILINEAR if blended else Image.Resampling.NEAREST
        place = left + number * (_SIDE + _GAP), top + _LINE
        page.paste(picture.resize((max(1, size[0]), max(1, size[1])), method), place)


def _put_legend(draw: ImageDraw.ImageDraw, top: int) -> None:
    entries = [(CLASS_NAMES[code], COLOURS[code]) for code in CLASS_NAMES]
    for number, (name, colour) in enumerate([*entries, ("ignored", _IGNORED)]):
        left = _GAP + number * 104
        draw.rectangle((left, top + 9, left + 13, top + 22), fill=colour, outline=_INK)
        draw.text((left + 18, top + 8), name, _INK, ImageFont.load_default(12))
