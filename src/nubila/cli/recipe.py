"""``nubila recipe``: what a recipe may hold."""

from __future__ import annotations

from typing import Annotated

import typer

from nubila.cli.options import Changes

__all__ = ["recipe"]

recipe = typer.Typer(help="Recipes: their schema, and checking one.", no_args_is_help=True)


@recipe.command()
def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    import json

    from nubila.recipe import Recipe

    typer.echo(json.dumps(Recipe.model_json_schema(), indent=2))


@recipe.command()
def check(
    path: Annotated[str, typer.Argument(metavar="RECIPE", help="YAML file.", show_default=False)],
    changes: Changes = None,
) -> None:
    """Check a recipe and print it with every default written out."""
    from nubila.recipe import load_recipe

    typer.echo(load_recipe(path, changes or []).to_yaml(), nl=False)
