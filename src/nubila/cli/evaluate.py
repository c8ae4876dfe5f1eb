"""``nubila evaluate``: score a model on labelled images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["evaluate"]


def evaluate(
    data: Annotated[
        Path,
        typer.Option(
            metavar="MANIFEST",
            help="CSV that lists images and masks: columns image, mask, bands, scale, offset, "
            "nodata, codes, sensor, level, split, group.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FOLDER", help="Made if it is not there."),
    ] = Path("scores"),
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Name (see nubila models) or ONNX file; default: the one that ships.",
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="What paths are relative to; default: the manifest's folder."
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Only the rows of this split; default: all.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Images side by side; default: one a processor.")
    ] = None,
) -> None:
    """Score a model on labelled images: a table, scores.json, CSV files, and pictures."""
    from rich.console import Console

    from nubila.datasets import read_manifest
    from nubila.evaluate import evaluate as run_evaluation
    from nubila.evaluate import write_report
    from nubila.models_io import find_model, load_model
    from nubila.raster.atomic import make_folder

    specs = read_manifest(data, root=root, split=split)
    loaded = load_model(find_model(model))
    make_folder(output)
    with _progress(len(specs)) as progress:
        evaluation = run_evaluation(
            loaded, specs, threads=threads or os.cpu_count() or 1, progress=progress
        )
    paths = write_report(evaluation, loaded, specs, output, split=split)
    rows = f"split {split}" if split else "all rows"
    # A file or a pipe has no width of its own; 100 keeps every row on one line.
    console = Console() if Console().is_terminal else Console(width=100)
    console.print(_table(f"{loaded.card.name} on {data.name}, {rows}", evaluation.scores()))
    for path in paths.values():
        typer.echo(path)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None] | None]:
    """Show a bar while images are done; nothing where standard error is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = TextColumn("images"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("images", total=total)
        yield lambda done: bar.update(task, completed=done)


def _table(title: str, scores: dict[str, Any]) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    caption = "In percent, over all pixels of a folder; - is undefined or cannot be told."
    table = Table(title=title, caption=caption, box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("folder, class")
    for name in ("scenes", "IoU", "95 %", "scene mean", "precision", "recall", "accuracy"):
        table.add_column(name, justify="right", no_wrap=name != "scene mean")
    for folder, found in (scores["folders"] | {"overall": scores["overall"]}).items():
        table.add_row(folder, str(found["scenes"]), style="bold")
        for name, values in found.items():
            if isinstance(values, dict):
                table.add_row(f"  {name}", *_cells(values))
        if found["all_cloud_iou"] is not None:
            cloud, clear = (_percent(found[k]) for k in ("all_cloud_iou", "all_clear_accuracy"))
            table.add_row("  (if all were cloud)", "", cloud, style="dim")
            table.add_row("  (if all were clear)", *[""] * 6, clear, style="dim")
        table.add_section()
    return table


def _cells(values: dict[str, Any]) -> list[str]:
    low, high = values["iou_interval"]
    return [
        str(values["scenes"]),
        _percent(values["iou"]),
        "-" if low is None else f"{_percent(low)}..{_percent(high)}",
        *(_percent(values[k]) for k in ("iou_scene_mean", "precision", "recall", "accuracy")),
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
