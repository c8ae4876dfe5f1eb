"""The report of a training run: its curves, scores and pictures, the recipe, where it ran."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

from PIL import Image

from nubila.errors import InputError, reason
from nubila.evaluate.html import details, document, note, percent, picture, section, table
from nubila.evaluate.page import score_sections, summary_of
from nubila.evaluate.svg import curves
from nubila.raster.atomic import atomic_path

__all__ = ["write_run_report"]

Lines = dict[str, list[tuple[float, float]]]

_WIDEST: Final = 2000


def write_run_report(run_folder: str | Path) -> Path:
    """Write ``report.html`` into the folder of a training run.

    It shows what is there: ``metrics.csv`` (rows of step, name, value), ``recipe.yaml``,
    ``environment.json``, and, in the folder itself or in its ``scores``, ``scores.json`` and
    ``panels.png`` of `nubila evaluate`.

    Returns:
        The report's path.

    Raises:
        InputError: the folder holds no recipe, or a file of it cannot be read.
        OutputError: the report cannot be written.
    """
    folder = Path(run_folder)
    recipe = folder / "recipe.yaml"
    if not recipe.is_file():
        raise InputError(f"{folder} is no training run: it holds no recipe.yaml")
    metrics = _metrics(folder / "metrics.csv")
    sections = [_best(metrics), _curves(metrics), *_scores(folder), *_files(folder)]
    path = folder / "report.html"
    with atomic_path(path) as temporary:
        text = document(folder.absolute().name, _subtitle(metrics), filter(None, sections))
        temporary.write_text(text, encoding="utf-8")
    return path


def _metrics(path: Path) -> Lines:
    """Return name -> (step, value); nothing where there is no file, or no row in it."""
    lines: Lines = {}
    if not path.is_file():
        return lines
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                lines.setdefault(row["name"], []).append((float(row["step"]), float(row["value"])))
    except (KeyError, TypeError, ValueError, OSError, csv.Error) as error:
        raise InputError(f"{path}: expected rows of step, name, value: {error}") from error
    return lines


def _subtitle(metrics: Lines) -> str:
    steps = max((points[-1][0] for points in metrics.values()), default=0)
    return f"training run, {steps:g} steps"


def _best(metrics: Lines) -> str:
    """Return the highest value of each IoU, where it was reached, and the last one."""
    rows = []
    for name, points in metrics.items():
        if "iou" in name.lower():
            step, best = max(points, key=lambda point: (point[1] == point[1], point[1]))
            rows.append([escape(name), percent(best), f"{step:g}", percent(points[-1][1])])
    if not rows:
        return ""
    return section(
        "Validation", table(["figure, in percent", "best", "at step", "last"], rows)
    )  # fmt: skip


def _curves(metrics: Lines) -> str:
    """Return a plot for each group of figures: those of one name up to its first slash."""
    groups: dict[str, Lines] = {}
    for name, points in metrics.items():
        groups.setdefault(name.split("/")[0], {})[name] = points
    plots = [curves(name, lines) for name, lines in groups.items()]
    if not any(plots):
        return ""
    return section("Curves", f'<div class="plots broad">{"".join(plots)}</div>')


def _scores(folder: Path) -> Iterator[str]:
    """Give the sections of an evaluation that lies in the folder, and its pictures."""
    for place in (folder, folder / "scores"):
        path = place / "scores.json"
        if not path.is_file():
            continue
        scores = _json(path)
        try:
            yield section("Scores", note(summary_of(scores)))
            yield from score_sections(scores)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: not as nubila evaluate writes it now ({error!r}); write it again"
            ) from error
        if (place / "panels.png").is_file():
            with Image.open(place / "panels.png") as image:
                image.thumbnail((_WIDEST, 100 * _WIDEST))
                yield section("Pictures", picture(image.convert("RGB"), "panels.png", photo=True))
        return


def _files(folder: Path) -> Iterator[str]:
    if (folder / "environment.json").is_file():
        found = _json(folder / "environment.json")
        rows = [[escape(str(k)), escape(_plain(v))] for k, v in found.items()]
        yield section("Environment", table(["", ""], rows, words=2))
    text = (folder / "recipe.yaml").read_text(encoding="utf-8")
    yield section("Recipe", details("recipe.yaml", f"<pre>{escape(text)}</pre>"))


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {reason(error)}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(found).__name__}")
    return found
