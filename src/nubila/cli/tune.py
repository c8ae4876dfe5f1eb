"""``nubila tune``: operating points for a model, found on labelled images."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nubila.cli.evaluate import progress_bar, samples_of
from nubila.cli.options import Data, Root, SideBySide, check_onnx, keep_inputs

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["tune"]


def tune(
    model: Annotated[
        str, typer.Argument(help="Name (see nubila models) or ONNX file.", show_default=False)
    ],
    data: Data,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="ONNX", help="Copy of the model with its points."),
    ],
    split: Annotated[
        str, typer.Option(help="Only the rows of this split; a test split is refused.")
    ] = "validation",
    root: Root = None,
    trials: Annotated[int, typer.Option(min=1, help="Points to try for each goal.")] = 40,
    threads: SideBySide = None,
) -> None:
    """Find a model's operating points: conservative, balanced and permissive.

    Thresholds of cloud and thin cloud, of cloud shadow where five scenes have
    labelled ones, the least area of an object and how far clouds grow are
    searched with Optuna. The model runs once over each image. Beside the copy
    of the model, TUNED.tuning.csv and .json say what each point scores.

    \b
    nubila tune compact --data default.csv --root data -o tuned.onnx
    nubila mask SCENE --model tuned.onnx --operating-point conservative
    """  # noqa: D301 (the backslashes are backspaces: what follows keeps its lines)
    from rich.console import Console

    from nubila.evaluate.tune import check_split
    from nubila.evaluate.tune import tune as search
    from nubila.evaluate.tune_report import write_tuned
    from nubila.models_io import load_model
    from nubila.raster.atomic import make_folder

    check_onnx(output)
    check_split(split, ())
    specs = samples_of(data, root, split)
    check_split(split, specs)
    loaded = load_model(model)
    keep_inputs(output, [loaded.path, data])
    make_folder(output.parent)
    with progress_bar(len(specs)) as progress:
        tuned = search(
            loaded,
            specs,
            trials=trials,
            threads=threads or os.cpu_count() or 1,
            progress=progress,
            report=typer.echo,
        )
    paths = write_tuned(tuned, loaded, specs, output, split=split)
    document = json.loads(paths["tuning"].read_text(encoding="utf-8"))
    # A file or a pipe has no width of its own; 100 keeps every row on one line.
    console = Console() if Console().is_terminal else Console(width=100)
    console.print(_table(document))
    for name, found in document["points"].items():
        typer.echo(f"{name}: {_words(found['point'])}")
    typer.secho(f"warning: {document['protocol']['warning']}", fg="yellow")
    for path in paths.values():
        typer.echo(path)


def _table(document: dict[str, Any]) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    about = document["protocol"]
    table = Table(
        title=f"{about['model']} on {about['manifest']}, split {about['split']}",
        caption="In percent. Gain: what the goal's figure is more than without thresholds and "
        "post-processing, with the 95 % paired interval over scenes; held out: each scene by the "
        "point that is best on the others; where that gains nothing, nothing is changed. Goal: "
        f"{about['goal']}.",
        box=SIMPLE,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("point, class", no_wrap=True)
    for name in ("IoU", "precision", "recall", "goal", "gain", "held out"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row("most probable class", style="bold")
    for name, values in document["plain"].items():
        table.add_row(f"  {name}", *_figures(values))
    for name, found in document["points"].items():
        goal = found["goal"]
        table.add_row(
            name,
            *[""] * 3,
            f"{goal['figure']} {100 * goal['score']:.1f}",
            _span(goal["gain"], goal["gain_interval"]),
            _span(goal["held_out_gain"], goal["held_out_gain_interval"]),
            style="bold",
        )
        for label, values in found["scores"].items():
            table.add_row(f"  {label}", *_figures(values))
    return table


def _figures(values: dict[str, Any]) -> list[str]:
    names = ("iou", "precision", "recall")
    return ["-" if values[n] is None else f"{100 * values[n]:.1f}" for n in names]


def _words(point: dict[str, Any]) -> str:
    found = [f"{name} {value:g}" for name, value in point["thresholds"].items()]
    if point["min_area"]:
        found.append(f"{point['min_area']:g} m2")
    if point["dilate"]:
        found.append(f"{point['dilate']:g} m")
    return ", ".join(found) or "most probable class"


def _span(value: float, interval: list[float | None]) -> str:
    low, high = interval
    end = "" if low is None or high is None else f" ({100 * low:+.1f}..{100 * high:+.1f})"
    return f"{100 * value:+.1f}{end}"
