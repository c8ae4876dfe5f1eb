"""``nubila hard-cases``: detectors on images that are known to be difficult."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nubila.cli.evaluate import progress_bar
from nubila.cli.options import Root

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["hard_cases"]


def hard_cases(
    detectors: Annotated[
        list[str],
        typer.Argument(
            metavar="DETECTOR...",
            help="Models of nubila by name or ONNX file, and whatever nubila compare takes.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FOLDER", help="Made if it is not there."),
    ] = Path("hard-cases"),
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="MANIFEST",
            help="Also these images: a manifest with a column case, and truth where there is no "
            "mask, as recipes/hard-cases.csv of the repository.",
        ),
    ] = None,
    root: Root = None,
    spectra: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Also mosaics of the labelled spectra of glacier-snow-cover-mapping, whose "
            "three files lie here.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where weights of peers lie; default: the environment variable "
            "NUBILA_PEER_WEIGHTS.",
        ),
    ] = None,
) -> None:
    """Try detectors on hard cases: snow, ice, sand, cities, overcast, thin cloud, half-empty tiles.

    Synthetic scenes with exact truth are built in. Leaves figures, a picture
    of each case and report.html.

    \b
    nubila hard-cases compact ukis-csmask
    nubila hard-cases compact --data recipes/hard-cases.csv --root DATA
    """  # noqa: D301 (the backslash is a backspace: what follows keeps its lines)
    import json

    from rich.console import Console

    from nubila.evaluate.compare_detectors import open_detectors
    from nubila.evaluate.hard import (
        judge_images,
        listed_images,
        spectra_images,
        synthetic_images,
        write_hard_cases,
    )
    from nubila.raster.atomic import make_folder

    opened = open_detectors(detectors, weights=weights)
    images = [
        *(listed_images(data, root) if data else ()),
        *synthetic_images(),
        *(spectra_images(spectra) if spectra else ()),
    ]
    make_folder(output)
    with progress_bar(len(images)) as progress:
        judged = judge_images(opened, images, progress=progress)
    paths = write_hard_cases(judged, list(opened), output)
    found = json.loads(paths["figures"].read_text(encoding="utf-8"))
    console = Console() if Console().is_terminal else Console(width=120)
    console.print(_table(found["cases"], list(opened)))
    for path in paths.values():
        typer.echo(path)


def _table(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
    """Return figures of each case in percent; shadow's of those detectors that have any."""
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(
        title="False cloud of what is no cloud, missed cloud of what is, IoU of cloud shadow on "
        "images whose labels have it, in percent",
        caption="A dash where nothing is known or a detector cannot judge; images of each detector "
        "where they differ.",
        box=SIMPLE,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("\ncase")
    table.add_column("\nimages", justify="right")
    shaded = {row["detector"] for row in rows if row["shadow_iou"] is not None}
    columns = {name: _columns(shadow=name in shaded) for name in names}
    for name in names:
        for place, words in enumerate(columns[name].values()):
            # Its name once: over each of its columns it would leave no room for the cases.
            table.add_column(f"{'' if place else name}\n{words}", justify="right")
    found = {(row["case"], row["source"], row["detector"]): row for row in rows}
    for case, source in dict.fromkeys((row["case"], row["source"]) for row in rows):
        mine = {name: found.get((case, source, name)) for name in names}
        counts = [str(row["images"] if row else 0) for row in mine.values()]
        cells = [
            _percent(row[key] if row else None)
            for name, row in mine.items()
            for key in columns[name]
        ]
        images = counts[0] if len(set(counts)) == 1 else " / ".join(counts)
        table.add_row(f"{case}, {source}", images, *cells)
    return table


def _columns(*, shadow: bool) -> dict[str, str]:
    """Return figure -> heading."""
    found = {"false_cloud": "false", "missed_cloud": "missed"}
    return found | ({"shadow_iou": "shadow"} if shadow else {})


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
