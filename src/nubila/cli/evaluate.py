"""``nubila evaluate``: score models on labelled images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nubila.cli.options import Bands, Data, Root, SideBySide, Split

if TYPE_CHECKING:
    from rich.table import Table

    from nubila.datasets import SampleSpec

__all__ = ["evaluate", "progress_bar", "samples_of", "tell_unnamed"]


def evaluate(
    data: Data,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="Names (see nubila models) or ONNX files, all scored on the same pixels; default: "
            "the one that ships.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FOLDER", help="Made if it is not there."),
    ] = Path("scores"),
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="The same as MODEL.", show_default=False),
    ] = None,
    root: Root = None,
    split: Split = None,
    bands: Bands = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Score by this column of the manifest; repeatable; default: all that suit.",
            show_default=False,
        ),
    ] = None,
    buffer: Annotated[
        str,
        typer.Option(
            help="Score once more without the pixels so near to a boundary of the label: pixels "
            "(2) or metres (60m); 0 for not."
        ),
    ] = "2",
    operating_point: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Thresholds and post-processing by a name of the models' cards (see nubila models "
            "show); default: the most probable class.",
        ),
    ] = None,
    threads: SideBySide = None,
) -> None:
    """Score models on labelled images: a table, scores.json, CSV files, and report.html."""
    from rich.console import Console

    from nubila.bands import parse_bands
    from nubila.evaluate import evaluate_together, parse_buffer, write_report
    from nubila.evaluate.strata import check_columns
    from nubila.infer import MaskOptions
    from nubila.models_io import load_model
    from nubila.raster.atomic import make_folder

    distance = parse_buffer(buffer)
    shown = None if bands is None else parse_bands(bands)
    specs = samples_of(data, root, split, shown)
    check_columns(specs, by or ())
    named: list[str | None] = [*(models or ()), *(model or ())]
    loaded = [load_model(name) for name in named or [None]]
    make_folder(output)
    with progress_bar(len(specs)) as progress:
        evaluations = evaluate_together(
            loaded,
            specs,
            buffer=distance,
            options=MaskOptions(operating_point=operating_point),
            threads=threads or os.cpu_count() or 1,
            progress=progress,
        )
    paths = write_report(evaluations, loaded, specs, output, split=split, bands=shown, columns=by)
    tell_unnamed(evaluations[0].unnamed)
    # A file or a pipe has no width of its own; 100 keeps every row on one line.
    console = Console() if Console().is_terminal else Console(width=100)
    _print(console.print, paths["scores"])
    for path in paths.values():
        typer.echo(path)


def samples_of(
    data: str, root: Path | None, split: str | None, bands: Sequence[str] | None = None
) -> Sequence[SampleSpec]:
    """Return the samples of a manifest, or of a collection where there is no such file."""
    specs = _listed(data, root, split)
    return specs if bands is None else [spec.only(bands) for spec in specs]


def tell_unnamed(masks: Sequence[Mapping[int, float]]) -> None:
    """Print a warning of values in masks that no code names, given for each as in `Sample`."""
    from nubila.datasets import unnamed_told

    if told := unnamed_told(masks):
        typer.secho(f"warning: {told}", fg="yellow")


def _listed(data: str, root: Path | None, split: str | None) -> Sequence[SampleSpec]:
    from nubila import datasets
    from nubila.errors import InputError

    if Path(data).is_file() or Path(data).suffix:
        return datasets.read_manifest(data, root=root, split=split)
    if root is None:
        raise InputError(
            f"--on {data!r}: no such file; if it is a collection, give its folder with --root"
        )
    return datasets.read_collection(data, root, split=split)


def _print(show: Callable[[Any], None], path: Path) -> None:
    """Print a table a model, and the differences between several."""
    import json

    from nubila.evaluate.page import models_of
    from nubila.evaluate.report import data_title

    scores = json.loads(path.read_text(encoding="utf-8"))
    for name, found in models_of(scores).items():
        show(_table(f"{name} on {data_title(scores['protocol'])}", found))
    if scores.get("differences"):
        show(_differences(scores["differences"]))


@contextmanager
def progress_bar(total: int, words: str = "images") -> Iterator[Callable[[int], None] | None]:
    """Show a bar while images are done; nothing where standard error is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = TextColumn(words), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(words, total=total)
        yield lambda done: bar.update(task, completed=done)


def _table(title: str, scores: Mapping[str, Any]) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    caption = (
        "In percent, over all pixels of a folder; - is undefined or cannot be told. Scene mean: of "
        "the scenes that have the class, the first number of scenes."
    )
    table = Table(title=title, caption=caption, box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("folder, class")
    for name in ("scenes", "IoU", "95 %", "scene mean", "precision", "recall", "accuracy"):
        table.add_column(name, justify="right", no_wrap=name != "scene mean")
    for folder, found in (scores["folders"] | {"overall": scores["overall"]}).items():
        table.add_row(folder, str(found["scenes"]), style="bold")
        for name, values in found.items():
            if isinstance(values, dict) and "iou" in values:
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
        f"{values['iou_scene_mean_scenes']}/{values['scenes']}",
        _percent(values["iou"]),
        "-" if low is None else f"{_percent(low)}..{_percent(high)}",
        *(_percent(values[k]) for k in ("iou_scene_mean", "precision", "recall", "accuracy")),
    ]


def _differences(pairs: dict[str, Any]) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(
        title="Differences, in percentage points",
        caption="95 % intervals by the paired bootstrap over scenes; one that holds 0 may be "
        "chance.",
        box=SIMPLE,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("models, class")
    for name in ("IoU", "95 %", "scene mean", "95 %"):
        table.add_column(name, justify="right", no_wrap=True)
    for pair, classes in pairs.items():
        table.add_row(pair, style="bold")
        for name, values in classes.items():
            cells = []
            for figure in ("iou", "iou_scene_mean"):
                low, high = values[f"{figure}_interval"]
                span = "-" if low is None else f"{_signed(low)}..{_signed(high)}"
                cells += [_signed(values[figure]), span]
            table.add_row(f"  {name}", *cells)
        table.add_section()
    return table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.1f}"
