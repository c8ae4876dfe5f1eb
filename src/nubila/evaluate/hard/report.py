"""What a run over hard cases leaves in its folder: figures, a picture a case, and one HTML page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from nubila._version import __version__
from nubila.classes import CLASS_NAMES, COLOURS, NO_DATA
from nubila.evaluate.hard.case import CASES
from nubila.evaluate.hard.run import EDGE, Judged, by_case
from nubila.evaluate.html import document, note, percent, picture, section, table
from nubila.evaluate.panels import (
    IGNORED,
    class_picture,
    label_picture,
    put_legend,
    scaled,
    shortened,
)
from nubila.evaluate.report import rules_section, write_csv, write_text
from nubila.raster.atomic import atomic_path, make_folder

__all__ = ["hard_document", "write_hard_cases"]

Picture = NDArray[np.uint8]

_RULES: Final = {
    "images": "each is seen once, whole; synthetic ones are of seeds that training never draws",
    "false cloud": "of pixels that are no cloud for sure, those called cloud or thin cloud",
    "missed cloud": "of pixels that are cloud or thin cloud for sure, those called anything else",
    "missed thick, thin": "the same of pixels that are known to be that kind; calling one the "
    "other is no miss",
    "cloud IoU, shadow IoU": "of pixels whose label tells whether they are it; shadow's is of the "
    "images alone whose labels have shadow: where none is drawn nobody may have looked for it",
    "edge": f"false cloud within {EDGE} pixels of what has no data",
    "called cloud": "of all pixels with data; all there is to say where nothing is known",
    "invented": "pixels without data that got a class all the same",
    "label": "a pixel whose label allows several classes is drawn as the first of them",
}
_SIDE: Final = 240
_GAP: Final = 6
_LINE: Final = 36
_LEGEND: Final = 30
_PAPER: Final = (250, 250, 248)
_INK: Final = (32, 34, 38)
_KEY: Final = {CLASS_NAMES[code]: COLOURS[code] for code in CLASS_NAMES} | {"not known": IGNORED}
_COLUMNS: Final = {
    "false_cloud": "false cloud",
    "missed_cloud": "missed cloud",
    "missed_thick": "thick",
    "missed_thin": "thin",
    "cloud_iou": "cloud IoU",
    "shadow_iou": "shadow IoU",
    "edge_false_cloud": "edge",
    "called_cloud": "called cloud",
}


def write_hard_cases(
    judged: Sequence[Judged], names: Sequence[str], folder: str | Path
) -> dict[str, Path]:
    """Write ``hard_cases.json``, ``hard_cases.csv``, ``images.csv``, pictures, ``report.html``.

    Args:
        judged: from `judge_images`.
        names: of the detectors, in the order of the columns.
        folder: made if it is not there.

    Returns:
        ``figures``, ``table``, ``images``, ``pictures`` (a folder, one PNG a case), ``report``: the
        path of each.

    Raises:
        OutputError: a file cannot be written.
    """
    target = make_folder(folder)
    pictures = make_folder(target / "pictures")
    found = hard_document(judged, names)
    text = json.dumps(found, indent=2, allow_nan=False) + "\n"
    write_text(target / "hard_cases.json", text)
    write_csv(target / "hard_cases.csv", found["cases"])
    write_csv(target / "images.csv", found["images"])
    sections = [_figures_section(found, names)]
    for case, name in _file_names(_cases(judged)).items():
        of_case = [one for one in judged if one.image.case == case]
        with atomic_path(pictures / f"{name}.png") as path:
            _draw(of_case, names).save(path, format="PNG")
        sections.append(_case_section(case, of_case, names))
    sections.append(rules_section(_RULES, "hard_cases.json, hard_cases.csv and images.csv"))
    page = document("Hard cases", f"{len(judged)} images: {', '.join(names)}", sections)
    write_text(target / "report.html", page)
    return {
        "figures": target / "hard_cases.json",
        "table": target / "hard_cases.csv",
        "images": target / "images.csv",
        "pictures": pictures,
        "report": target / "report.html",
    }


def hard_document(judged: Sequence[Judged], names: Sequence[str]) -> dict[str, Any]:
    """Return the figures of each case, source and detector, and of each image.

    Returns:
        ``{"nubila": version, "rules": {...}, "cases": [row, ...], "images": [row, ...]}``; a row
        says case, source and detector, with the shares of `Figures.shares`.
    """
    rows: list[dict[str, Any]] = []
    for name in names:
        for (case, source), figures in by_case(judged, name).items():
            count = sum(
                one.image.case == case and one.image.source == source and name in one.figures
                for one in judged
            )
            keys = {"case": case, "source": source, "detector": name, "images": count}
            rows.append(keys | figures.document())
    order = {case: place for place, case in enumerate(_cases(judged))}
    rows.sort(key=lambda row: (order[row["case"]], row["source"], names.index(row["detector"])))
    return {
        "nubila": __version__,
        "rules": _RULES,
        "cases": rows,
        "images": list(_image_rows(judged, names)),
    }


def _cases(judged: Sequence[Judged]) -> list[str]:
    """Return the cases that there are, those that are built in first."""
    there = dict.fromkeys(one.image.case for one in judged)
    return [case for case in CASES if case in there] + [c for c in there if c not in CASES]


def _file_names(cases: Sequence[str]) -> dict[str, str]:
    """Return a file name for each case, whatever a manifest calls it, no two alike."""
    found: dict[str, str] = {}
    for case in cases:
        plain = name = re.sub(r"\W+", "-", case).strip("-") or "case"
        taken = {other.lower() for other in found.values()}  # some file systems know no capitals
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{plain}-{number}"
        found[case] = name
    return found


def _image_rows(judged: Sequence[Judged], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    for one in judged:
        image = one.image
        keys = {"case": image.case, "source": image.source, "image": image.name}
        for name in names:
            row = keys | {"detector": name, "lacks": one.lacking.get(name, "")}
            if name in one.figures:
                row |= one.figures[name].document()
            yield row


def _figures_section(found: Mapping[str, Any], names: Sequence[str]) -> str:
    head = ("case", "source", "detector", "images", *_COLUMNS.values(), "invented")
    rows = []
    last = None
    for row in found["cases"]:
        place = row["case"], row["source"]
        words = ("", "") if place == last else (escape(place[0]), escape(place[1]))
        last = place
        values = (percent(row[name]) for name in _COLUMNS)
        invented = str(row["pixels_invented"])
        rows.append((*words, escape(row["detector"]), str(row["images"]), *values, invented))
    return section(
        "Figures",
        note(
            "In percent of pixels, all images of a case and a source together; a dash where there "
            "is nothing to count. Pixels that nobody knows the class of do not count."
        ),
        table(head, rows, words=3),
    )


def _case_section(case: str, judged: Sequence[Judged], names: Sequence[str]) -> str:
    parts = [note(CASES.get(case, ""))]
    for one in judged:
        tiles = [
            picture(scaled(tile, _SIDE, blended=place == 0), caption, photo=place == 0)
            for place, (caption, tile) in enumerate(_tiles(one, names).items())
        ]
        head = f"{escape(one.image.name)} <small>{escape(one.image.note)}</small>"
        columns = min(len(tiles), 5)
        panel = f'<div class="panel" style="--k:{columns}">{"".join(tiles)}</div>'
        parts.append(f"<h3>{head}</h3>{panel}")
    colours = "".join(
        f'<span style="--c:rgb{colour}">{escape(name)}</span>' for name, colour in _KEY.items()
    )
    return section(case, parts[0], f'<div class="key">{colours}</div>', *parts[1:])


def _tiles(one: Judged, names: Sequence[str]) -> dict[str, Picture]:
    """Return caption -> picture of image, label and each detector's classes."""
    tiles = {"image": one.picture, "truth": label_picture(one.label)}
    for name in names:
        classes = one.classes.get(name)
        if classes is None:
            nothing = np.full_like(one.label, NO_DATA)
            tiles[f"{name}: {one.lacking[name]}"] = class_picture(nothing)
        else:
            tiles[f"{name}: {_words(one.figures[name].shares())}"] = class_picture(classes)
    return tiles


def _words(shares: Mapping[str, float | None]) -> str:
    """Return what matters of an image: false and missed cloud, or what is called cloud."""
    known = {"false": shares["false_cloud"], "missed": shares["missed_cloud"]}
    words = [f"{name} {percent(value)} %" for name, value in known.items() if value is not None]
    return ", ".join(words) or f"{percent(shares['called_cloud'])} % called cloud"


def _draw(judged: Sequence[Judged], names: Sequence[str]) -> Image.Image:
    """Draw the images of a case on one page, a row each, with a legend."""
    columns = 2 + len(names)
    width = max(columns * (_SIDE + _GAP) + _GAP, 760)
    page = Image.new("RGB", (width, len(judged) * (_SIDE + _LINE) + _LEGEND), _PAPER)
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(12)
    for row, one in enumerate(judged):
        for column, (caption, tile) in enumerate(_tiles(one, names).items()):
            left, top = _GAP + column * (_SIDE + _GAP), row * (_SIDE + _LINE)
            lines = f"{one.image.name}\n{one.image.note}" if column == 0 else f"\n{caption}"
            text = "\n".join(shortened(line, _SIDE) for line in lines.split("\n"))
            draw.multiline_text((left, top + 3), text, _INK, font, spacing=1)
            # Classes are never blended.
            page.paste(scaled(tile, _SIDE, blended=column == 0), (left, top + _LINE))
    put_legend(draw, page.height - _LEGEND, _KEY)
    return page
