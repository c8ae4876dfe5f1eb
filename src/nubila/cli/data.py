"""``nubila data``: labelled collections, from download to tiles."""

from __future__ import annotations

import typer

__all__ = ["data"]

data = typer.Typer(help="Labelled collections: list, fetch, check, tile and look at them.")
