"""Pictures of an evaluation: the best, median and worst samples, and where the models go wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from nubila.classes import CLASS_NAMES, COLOURS
from nubila.datasets import Sample, SampleSpec, load_sample
from nubila.evaluate.run import Evaluation, predict_sample
from nubila.evaluate.tally import SCORED, SampleTally
from nubila.infer.picture import stretch
from nubila.models_io import Model

__all__ = [
    "DIFFERENCE",
    "IGNORED",
    "Judged",
    "Panel",
    "chosen_samples",
    "class_picture",
    "difference_picture",
    "draw_panels",
    "label_picture",
    "make_panels",
    "put_legend",
    "scaled",
    "score",
    "shortened",
    "true_colour",
]

Picture = NDArray[np.uint8]

IGNORED: Final = (150, 150, 150)
DIFFERENCE: Final = {
    "right: has the class": (245, 245, 245),
    "right: has it not": (52, 58, 66),
    "false alarm": (235, 110, 20),
    "miss": (60, 160, 235),
    "not counted": IGNORED,
}

# More folders than this, and samples are chosen from all of them together.
_MOST_FOLDERS: Final = 8
_SIDE: Final = 240
_GAP: Final = 6
_LINE: Final = 36
_LEGEND: Final = 30
_PAPER: Final = (250, 250, 248)
_INK: Final = (32, 34, 38)


@dataclass(frozen=True)
class Judged:
    """What a model makes of a sample: its classes, and where they differ from the label."""

    iou: float | None
    classes: Picture
    difference: Picture


@dataclass(frozen=True)
class Panel:
    """A sample in pictures of (rows, columns, 3).

    Attributes:
        title: where it stands among the others, ``"alps, best"``.
        id: of the sample.
        name: of the class that it is judged by.
        image, label: what is there; of a label that allows several classes the first is drawn.
        models: one entry a model.
    """

    title: str
    id: str
    name: str
    image: Picture
    label: Picture
    models: tuple[Judged, ...]


def make_panels(
    evaluations: Sequence[Evaluation], models: Sequence[Model], specs: Sequence[SampleSpec]
) -> list[Panel]:
    """Run the models again on the best, the median and the worst sample of each folder.

    Samples are ranked by what the first model scores: the IoU of cloud, or of the first class that
    the folder's labels tell. Of more than 8 folders all samples are ranked together.

    Args:
        evaluations: of the models on `specs`.
        models: in the same order.
        specs: the samples, in the order of the evaluations.
    """
    tallies = evaluations[0].tallies
    folders: list[str | None] = list(dict.fromkeys(tally.folder for tally in tallies))
    if len(folders) > _MOST_FOLDERS:
        folders = [None]
    return [
        _panel(evaluations, models, specs[place], place, f"{folder or 'all'}, {words}", name)
        for folder in folders
        for place, words, name in chosen_samples(tallies, folder)
    ]


def chosen_samples(
    tallies: Sequence[SampleTally], folder: str | None
) -> list[tuple[int, str, str]]:
    """Return place, rank in words, and class of a folder's best, median and worst sample.

    Each stands once. Samples without an IoU are drawn only where a folder has no other.

    Args:
        tallies: of all samples.
        folder: None for all folders.
    """
    places = [i for i, tally in enumerate(tallies) if folder in (None, tally.folder)]
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
    return [(i, " and ".join(word), name) for i, word in words.items()]


def difference_picture(
    label: NDArray[np.uint8], classes: NDArray[np.uint8], wanted: int, called: Sequence[int]
) -> Picture:
    """Return hits, rejections, false alarms and misses in the colours of `DIFFERENCE`.

    Args:
        label: (rows, columns) sets of allowed classes; 0 = ignored.
        classes: (rows, columns) predicted class codes; 255 = not judged.
        wanted: the set of classes that is judged.
        called: by class code, the set of classes that a prediction stands for.
    """
    table = np.zeros(256, np.int64)
    table[: len(called)] = [bool(s) and s & ~wanted == 0 for s in called]
    found = table[classes].astype(bool)
    counted = (label != 0) & (classes < len(called))
    positive, negative = counted & (label & ~np.uint8(wanted) == 0), counted & (label & wanted == 0)
    hit, rejection, alarm, miss, ignored = DIFFERENCE.values()
    picture = np.empty((*label.shape, 3), np.uint8)
    picture[:] = ignored
    for where, colour in (
        (positive & found, hit),
        (negative & ~found, rejection),
        (negative & found, alarm),
        (positive & ~found, miss),
    ):
        picture[where] = colour
    return picture


def label_picture(label: NDArray[np.uint8]) -> Picture:
    """Return the colours (rows, columns, 3) of a label: the first class that each pixel may be."""
    colours = np.full((256, 3), IGNORED, np.uint8)
    for bits in range(1, 1 << len(CLASS_NAMES)):
        first = next(code for code in CLASS_NAMES if bits >> code & 1)
        colours[bits] = COLOURS[first]
    picture: Picture = colours[label]
    return picture


def draw_panels(panels: Sequence[Panel], names: Sequence[str]) -> Image.Image:
    """Draw all panels on one page, a row each, with a legend.

    Args:
        panels: at least one.
        names: of the models.
    """
    columns = 2 + 2 * len(names)
    width = max(columns * (_SIDE + _GAP) + _GAP, 1000)
    page = Image.new("RGB", (width, len(panels) * (_SIDE + _LINE) + 2 * _LEGEND), _PAPER)
    draw = ImageDraw.Draw(page)
    for row, panel in enumerate(panels):
        top = row * (_SIDE + _LINE)
        captions = [f"{panel.title}\n{panel.id}", "label"]
        pictures = [panel.image, panel.label]
        for name, judged in zip(names, panel.models, strict=True):
            captions += [name, score(panel.name, judged.iou)]
            pictures += [judged.classes, judged.difference]
        for column, (caption, picture) in enumerate(zip(captions, pictures, strict=True)):
            left = _GAP + column * (_SIDE + _GAP)
            lines = caption if "\n" in caption else f"\n{caption}"
            lines = "\n".join(shortened(line, _SIDE) for line in lines.split("\n"))
            draw.multiline_text((left, top + 3), lines, _INK, ImageFont.load_default(12), spacing=1)
            # Classes are never blended, nor is an image that is enlarged.
            page.paste(scaled(picture, _SIDE, blended=column == 0), (left, top + _LINE))
    classes = {CLASS_NAMES[code]: COLOURS[code] for code in CLASS_NAMES}
    put_legend(draw, page.height - 2 * _LEGEND, classes | {"ignored": IGNORED})
    put_legend(draw, page.height - _LEGEND, DIFFERENCE)
    return page


def shortened(text: str, width: int) -> str:
    """Return a line that is at most so many pixels wide; what goes is its start, as of a path."""
    font = ImageFont.load_default(12)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"... {text}") > width:
        text = text[1:]
    return f"... {text}"


def score(name: str, iou: float | None) -> str:
    """Return a sample's IoU in words."""
    return f"no {name} in label and prediction" if iou is None else f"{name} IoU {iou:.3f}"


def scaled(picture: Picture, side: int, *, blended: bool) -> Image.Image:
    """Return a picture with a longest side of so many pixels.

    Args:
        picture: (rows, columns, 3).
        side: pixels.
        blended: blend neighbours where it becomes smaller, as suits a photo.
    """
    image = Image.fromarray(picture)
    factor = side / max(image.size)
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    blend = blended and factor < 1
    return image.resize(size, Image.Resampling.BILINEAR if blend else Image.Resampling.NEAREST)


def _panel(
    evaluations: Sequence[Evaluation],
    models: Sequence[Model],
    spec: SampleSpec,
    place: int,
    title: str,
    name: str,
) -> Panel:
    sample = load_sample(spec)
    judged = []
    for evaluation, model in zip(evaluations, models, strict=True):
        counted = evaluation.tallies[place]
        classes = predict_sample(model, sample, spec, evaluation.options)
        difference = difference_picture(sample.label, classes, SCORED[name], counted.called)
        judged.append(Judged(counted.counts(name).iou, class_picture(classes), difference))
    return Panel(
        title, spec.id, name, true_colour(sample), label_picture(sample.label), tuple(judged)
    )


def class_picture(classes: NDArray[np.uint8]) -> Picture:
    """Return the colours (rows, columns, 3) of class codes; 255 is grey."""
    colours = np.full((256, 3), IGNORED, np.uint8)
    for code in CLASS_NAMES:
        colours[code] = COLOURS[code]
    picture: Picture = colours[classes]
    return picture


def true_colour(sample: Sample) -> Picture:
    """Return the image in red, green and blue, or in grey where it lacks one of them."""
    names = ("red", "green", "blue")
    if all(name in sample.bands for name in names):
        places = [sample.bands.index(name) for name in names]
    else:
        places = [0, 0, 0]
    return stretch(sample.image[places])


def put_legend(
    draw: ImageDraw.ImageDraw, top: int, entries: dict[str, tuple[int, int, int]]
) -> None:
    """Draw colours and what they stand for in a row, whose top is at a pixel of the page."""
    left = float(_GAP)
    font = ImageFont.load_default(12)
    for name, colour in entries.items():
        draw.rectangle((left, top + 9, left + 13, top + 22), fill=colour, outline=_INK)
        draw.text((left + 18, top + 8), name, _INK, font)
        left += 40 + font.getlength(name)
