"""``nubila data``: labelled collections, from download to tiles."""

from __future__ import annotations

import typer

from nubila.cli.data_tiles import show, stats, tile

__all__ = ["data"]

data = typer.Typer(help="Labelled collections: list, fetch, check, tile and look at them.")

for _command in (tile, stats, show):
    data.command()(_command)
