"""``nubila data``: labelled collections, from download to tiles."""

from __future__ import annotations

import typer

from nubila.cli import data_apply, data_collections, data_tiles

__all__ = ["data"]

data = typer.Typer(
    help="Labelled collections: list, fetch, check, tile and look at them.", no_args_is_help=True
)

data.command("list")(data_collections.list_)
for _command in (
    data_collections.get,
    data_collections.check,
    data_collections.generate,
    data_apply.apply,
    data_tiles.tile,
    data_tiles.stats,
    data_tiles.show,
):
    data.command()(_command)
