"""``nubila models``: what ships, and what a model says of itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nubila.models_io import Model

__all__ = ["models"]


models = typer.Typer(
    help="What ships, what a model says of itself, what a network is made of.",
    no_args_is_help=False,
)


@models.callback(invoke_without_command=True)
def _list(context: typer.Context) -> None:
    """List the models that ship with nubila."""
    if context.invoked_subcommand is None:
        show(None, False)


@models.command()
def show(
    name: Annotated[
        str | None, typer.Argument(help="A shipped model or an ONNX file; default: list all.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models that ship with nubila, or print the card of one."""
    from nubila.models_io import find_model, list_models, load_model

    if name is None:
        found = [load_model(path) for path in list_models().values()]
        _print_list(found, as_json)
        return
    model = load_model(find_model(name))
    if as_json:
        typer.echo(json.dumps(_record(model), indent=2))
    else:
        _print_card(model)


def _record(model: Model) -> dict[str, object]:
    return {"path": model.path, "sha256": model.sha256, "card": model.card.model_dump(mode="json")}


def _print_list(found: list[Model], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([_record(m) for m in found], indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("name", "bands (optional)", "classes", "metres", "kFLOP/pixel", "summary")
    for card in (m.card for m in found):
        bands = " ".join(b.name if b.required else f"({b.name})" for b in card.bands)
        low, high = card.resolution
        table.add_row(
            Text(card.name),  # as Text: brackets in it are no markup
            bands,
            ", ".join(card.classes),
            f"{low:g}-{high:g}",
            f"{card.flops_per_pixel / 1000:.0f}",
            Text(card.summary),
        )
    Console().print(table if found else "no model ships with this installation")


def _print_card(model: Model) -> None:
    from rich.console import Console
    from rich.pretty import Pretty
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None)
    table.add_row("file", Text(model.path))  # as Text: brackets in it are no markup
    table.add_row("sha256", model.sha256)
    card = model.card.model_dump(mode="json")
    card["bands"] = ", ".join(
        b.name + ("" if b.required else " (optional)") for b in model.card.bands
    )
    for key, value in card.items():
        table.add_row(
            key, Text(value) if isinstance(value, str) else Pretty(value, expand_all=False)
        )
    Console().print(table)
