"""``nubila models``: what ships, what a model says of itself, what a network is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nubila.models_io import Model
    from nubila.nn.summary import Summary
    from nubila.recipe.model import Network

__all__ = ["models"]


class _ShowByDefault(TyperGroup):
    """Takes ``nubila models compact`` for ``nubila models show compact``."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # Typer's own Context is what Click passes
        first = next((word for word in args if not word.startswith("-")), None)
        if first is not None and first not in self.commands:
            args = ["show", *args]
        return super().parse_args(ctx, args)


models = typer.Typer(
    cls=_ShowByDefault,
    help="What ships, what a model says of itself, what a network is made of.",
    no_args_is_help=False,
)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@models.callback(invoke_without_command=True)
def _list(context: typer.Context, as_json: _Json = False) -> None:
    """List the models that ship with nubila; with a name, print the card of one."""
    if context.invoked_subcommand is None:
        show(None, as_json=as_json)


@models.command()
def show(
    name: Annotated[
        str | None, typer.Argument(help="A shipped model or an ONNX file; default: list all.")
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Print all of the card: also how its graph is run, scores by folder, training "
            "data with their licences, the recipe.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of the card as JSON.")] = False,
) -> None:
    """List the models that ship with nubila, or print what one is for, is worth, and is bad at."""
    from nubila.cli.model_card import print_card
    from nubila.errors import InputError
    from nubila.models_io import list_models, load_model

    if name is None:
        if full:
            raise InputError("--full: say of which model: nubila models show NAME --full")
        found = [load_model(path) for path in list_models().values()]
        _print_list(found, as_json)
        return
    model = load_model(name)
    if as_json:
        typer.echo(json.dumps(_record(model), indent=2))
    else:
        print_card(model, full=full)


@models.command()
def networks(as_json: _Json = False) -> None:
    """List the networks that a recipe's model.name can be, with their options."""
    from nubila.recipe.model import MODELS

    if as_json:
        schemas = {name: section.model_json_schema() for name, section in MODELS.items()}
        typer.echo(json.dumps(schemas, indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("model.name", "options and their defaults", "what it is")
    for name, section in MODELS.items():
        fields = {k: f for k, f in section.model_fields.items() if k != "name"}
        options = "\n".join(
            f"{k}: {json.dumps(f.get_default(call_default_factory=True))}"
            for k, f in fields.items()
        )
        about = (section.__doc__ or "").partition("\n")[0]
        table.add_row(name, Text(options), Text(about))
    Console().print(table)


@models.command()
def summary(
    network: Annotated[
        str, typer.Argument(help="A network (nubila models networks lists them) or a recipe.")
    ],
    bands: Annotated[int | None, typer.Option(min=1, help="Default: the recipe's, or 7.")] = None,
    classes: Annotated[int | None, typer.Option(min=1, help="Default: the recipe's, or 6.")] = None,
    size: Annotated[int, typer.Option(min=1, help="Rows and columns of the image.")] = 256,
    depth: Annotated[int, typer.Option(min=0, help="Print modules down to this depth.")] = 3,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="An option of the network, as key=value.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Print a network's layers, parameters, multiply-adds, memory and receptive field."""
    from dataclasses import asdict

    from nubila.nn.build import build_body
    from nubila.nn.summary import summarise

    section, names, labels = _section(network, set_ or [])
    if bands is not None:
        names = [f"band {number}" for number in range(bands)]
    if classes is not None:
        labels = [f"class {number}" for number in range(classes)]
    body = build_body(section, names, labels, pretrained=False)
    found = summarise(body, len(names), size)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
    else:
        _print_summary(found, depth)


def _section(
    network: str, overrides: Sequence[str]
) -> tuple[Network, Sequence[str], Sequence[str]]:
    """Return a model section, bands and classes: of a recipe, or a recipe's defaults."""
    from pathlib import Path

    from nubila.classes import CLASS_NAMES
    from nubila.errors import RecipeError, nearest
    from nubila.recipe import Recipe, load_recipe
    from nubila.recipe.model import MODELS

    if network in MODELS:
        default = Recipe.model_fields["bands"].default
        return _configured(network, overrides), default, tuple(CLASS_NAMES.values())
    path = Path(network)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        recipe = load_recipe(path, [f"model.{text}" for text in overrides])
        return recipe.model, recipe.bands, tuple(recipe.classes)
    raise RecipeError(
        f"no network {network!r}{nearest(network, MODELS)} (known: {', '.join(MODELS)}; or give a "
        "recipe's .yaml)"
    )


def _configured(name: str, overrides: Sequence[str]) -> Network:
    """Return the section of a network by its name, with options set."""
    import yaml
    from pydantic import ValidationError

    from nubila.errors import RecipeError, nearest
    from nubila.recipe.model import MODELS

    section = MODELS[name]
    values: dict[str, object] = {"name": name}
    for text in overrides:
        key, sign, value = text.partition("=")
        if not sign or key not in section.model_fields:
            raise RecipeError(
                f"--set {text!r}: expected key=value{nearest(key, section.model_fields)} "
                f"(known: {', '.join(section.model_fields)})"
            )
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise RecipeError(f"--set {text!r}: the value is no valid YAML") from error
    try:
        return section.model_validate(values)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        place = ".".join(map(str, wrong["loc"]))  # empty where values do not go together
        found = f"{place}: {wrong['msg']}, found {wrong['input']!r}" if place else wrong["msg"]
        raise RecipeError(f"--set: {found.removeprefix('Value error, ')}") from error


def _print_summary(found: Summary, depth: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("layer", "kind", "output", "parameters", "multiply-adds")
    for column in table.columns[2:]:
        column.justify = "right"
    for layer in found.layers:
        if layer.depth > depth:
            continue
        table.add_row(
            "  " * layer.depth + (layer.label or "network"),
            layer.kind + (f" x{layer.calls}" if layer.calls > 1 else ""),
            " x ".join(map(str, layer.shape)),
            f"{layer.parameters:,}",
            f"{layer.multiply_adds:,}",
        )
    console = Console()
    console.print(table)
    for key, value in _facts(found).items():
        console.print(f"{key:>22}  {value}", highlight=False)


def _facts(found: Summary) -> dict[str, str]:
    reach = found.receptive_field
    sees = f"{reach} pixels to each side of a cell of {found.stride}"
    return {
        "parameters": f"{found.parameters:,} ({found.trainable:,} trained)",
        "weights": f"{found.weight_bytes / 1e6:.1f} MB",
        "multiply-adds a pixel": f"{found.multiply_adds_per_pixel:,.0f}",
        "held for the gradient": f"{found.activation_bytes / 1e6:.1f} MB an image",
        "receptive field": "the whole image" if reach is None else sees,
        "stride": f"{found.stride}",
    }


def _record(model: Model) -> dict[str, object]:
    return {"path": model.path, "sha256": model.sha256, "card": model.card.model_dump(mode="json")}


def _print_list(found: list[Model], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([_record(m) for m in found], indent=2))
        return
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(Column("name", no_wrap=True), "MB", "kFLOP/px", "metres", "bands (optional)")
    for model in found:
        card = model.card
        bands = " ".join(b.name if b.required else f"({b.name})" for b in card.bands)
        low, high = card.resolution
        table.add_row(
            Text(card.name),  # as Text: brackets in it are no markup
            f"{Path(model.path).stat().st_size / 1e6:.1f}",
            f"{card.flops_per_pixel / 1000:.0f}",
            f"{low:g}-{high:g}",
            bands,
        )
    if found:
        table.caption = "The first is the default. One model's card: nubila models show NAME"
    Console().print(table if found else "no model ships with this installation")
