"""``nubila data list``, ``get``, ``check`` and ``generate``: collections on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from nubila.datasets import CheckResult

__all__ = ["check", "generate", "get", "list_"]

_Name = Annotated[
    str, typer.Argument(metavar="NAME", help="As `nubila data list` has it.", show_default=False)
]
_Folder = Annotated[Path, typer.Argument(metavar="FOLDER", show_default=False)]


def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the collections that nubila reads."""
    from nubila.datasets import COLLECTIONS

    if as_json:
        import json

        keys = ("name", "summary", "licence", "citation", "page", "layout", "fetchable")
        table = [{key: getattr(c, key) for key in keys} for c in COLLECTIONS.values()]
        typer.echo(json.dumps(table, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    shown = Table("name", "what", "licence", "data get", box=None, padding=(0, 2, 0, 0))
    for c in COLLECTIONS.values():
        shown.add_row(c.name, c.summary, c.licence, "yes" if c.fetchable else "no")
    Console().print(shown)


def get(name: _Name, folder: _Folder) -> None:
    """Fetch a collection from its published address; run again, it goes on where it stopped."""
    from nubila.datasets import get_collection
    from nubila.datasets.collections import collection
    from nubila.errors import command_line

    found = collection(name)
    with _bars() as progress:
        files = get_collection(found, folder, progress=progress)
    for file in files:
        typer.echo(file)
    command = command_line("nubila", "data", "check", name, folder)
    typer.echo(f"licence {found.licence}; cite {found.citation}; look it over with: {command}")


def check(
    source: Annotated[
        str,
        typer.Argument(
            metavar="NAME_OR_MANIFEST",
            help="A collection, or a table (CSV, Parquet, GeoJSON, STAC) of your own.",
            show_default=False,
        ),
    ],
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FOLDER]", help="Where it is; default: the manifest's.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Name every missing, unpaired, mis-sized or unreadable file, and mask values without a code.

    A value that the column codes does not name is ignored, which is a problem unless the column
    says so: 7=ignored for one, *=ignored for all others.
    """
    from nubila.datasets import COLLECTIONS, check_collection, check_manifest
    from nubila.datasets.collections import collection
    from nubila.errors import InputError

    if source in COLLECTIONS or not Path(source).suffix:
        collection(source)  # an unknown name is told before a missing folder
        if folder is None:
            raise InputError(f"name the folder that holds it: nubila data check {source} FOLDER")
        result = check_collection(source, folder)
    else:
        result = check_manifest(source, folder)
    _report(result, as_json)
    if result.problems:
        raise typer.Exit(2)


def _report(result: CheckResult, as_json: bool) -> None:
    if as_json:
        import json

        content: dict[str, Any] = {
            "samples": result.samples,
            "unlabelled": result.unlabelled,
            "splits": result.splits,
        }
        typer.echo(json.dumps(content | {"problems": list(result.problems)}, indent=2))
        return
    for problem in result.problems:
        typer.echo(problem)
    shares = ", ".join(f"{split or 'no split'} {n}" for split, n in sorted(result.splits.items()))
    count = len(result.problems)
    problems = "1 problem" if count == 1 else f"{count} problems"
    verdict = problems if count else "all is well"
    bare = f", {result.unlabelled} of no label yet" if result.unlabelled else ""
    typer.echo(f"{result.samples} samples ({shares}{bare}): {verdict}")


def generate(
    name: _Name,
    folder: _Folder,
    count: Annotated[int, typer.Option(help="Images, or scenes of four patches.")] = 8,
    size: Annotated[int, typer.Option(help="Rows and columns of an image or a patch.")] = 128,
    seed: Annotated[int, typer.Option(help="Same seed, same files.")] = 0,
) -> None:
    """Write synthetic images in a collection's layout, to try things before fetching the real."""
    from nubila.synth.collections import write_collection

    typer.echo(write_collection(name, folder, count=count, size=size, seed=seed))


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int | None], None]]:
    """Yield what moves a bar for each file, which shows on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        tasks: dict[str, Any] = {}

        def advance(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = shown.add_task(name, total=total)
            shown.update(tasks[name], completed=done, total=total)

        yield advance
