"""`nubila train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["train"]


def train(
    recipe: Annotated[Path, typer.Argument(help="YAML file of the run.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Run folder; default runs/ and the recipe's name."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value: optim.lr=1e-4.", metavar="KEY=VALUE"),
    ] = None,
    resume: Annotated[
        bool, typer.Option(help="Go on from the run folder's last checkpoint.")
    ] = True,
) -> None:
    """Train a model as a recipe says.

    SIGTERM and SIGUSR1 save the state before the run ends; the same command goes on from there.
    """
    from nubila.train import fit, load_recipe

    checked = load_recipe(recipe, changes or [])
    folder = output or Path("runs") / recipe.stem
    best = fit(checked, folder, resume=resume, report=lambda line: typer.echo(line))
    typer.echo(f"best weights: {best}; next: nubila export {folder} -o model.onnx")
