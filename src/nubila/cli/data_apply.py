"""``nubila data apply``: a new manifest from the decisions of a review."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["apply"]


def apply(
    manifest: Annotated[
        Path,
        typer.Argument(metavar="MANIFEST", help="The one that was reviewed.", show_default=False),
    ],
    decisions: Annotated[
        Path,
        typer.Argument(
            metavar="DECISIONS", help="Table of nubila review --export.", show_default=False
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="TABLE",
            help="The new manifest: .csv, .parquet or .geojson.",
            show_default=False,
        ),
    ],
    masks: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="For new masks; default: beside the new manifest, its name with _masks.",
            show_default=False,
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="What paths are relative to.", show_default=False),
    ] = None,
) -> None:
    """Write a manifest without dropped samples and with new masks; originals stay as they are."""
    from nubila.curate.review import apply_decisions
    from nubila.errors import command_line

    found = apply_decisions(manifest, decisions, output, root=root, masks=masks)
    counts = ", ".join(f"{count} {action}" for action, count in sorted(found.counts.items()))
    typer.echo(f"{output}: {found.rows} rows ({counts})")
    if found.masks is not None:
        typer.echo(f"new masks in {found.masks}")
    if found.absent:
        typer.echo(f"{found.absent} decisions are on samples that {manifest} does not have")
    if output.parent.resolve() != found.root.resolve():
        base = found.root.resolve()
        typer.echo(f"its paths are relative to {base}: read it with {command_line('--root', base)}")
