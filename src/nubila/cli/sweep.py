"""`nubila sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["sweep"]


def sweep(
    recipe: Annotated[Path, typer.Argument(help="YAML file of the runs.", show_default=False)],
    grid: Annotated[
        list[str] | None,
        typer.Option(help="Train every combination: optim.lr=0.1,0.01.", metavar="KEY=A,B"),
    ] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            help="Search with Optuna: optim.lr=log:1e-4:1e-1, lin:, int:, or values A,B.",
            metavar="KEY=RANGE",
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials of a search.")] = 20,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder; default runs/sweep- and the recipe's name."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Change a value of all trials. Paths are taken from the recipe's folder, as in "
            "it.",
            metavar="KEY=VALUE",
        ),
    ] = None,
) -> None:
    """Train a recipe with many values, and compare; finished trials are not done again."""
    import nubila.nn  # noqa: F401 (first, because it names the extra where PyTorch is missing)
    from nubila.errors import RecipeError
    from nubila.recipe import load_recipe
    from nubila.train.sweep import (
        grid_trials,
        read_space,
        sweep_grid,
        sweep_optuna,
        write_summary,
    )

    if bool(grid) == bool(space):
        raise RecipeError("nubila sweep: expected either --grid or --space")
    folder, given = output or Path("runs") / f"sweep-{recipe.stem}", changes or []
    monitor = load_recipe(recipe, given).monitor
    if grid:
        done = sweep_grid(recipe, folder, grid_trials(grid), changes=given, report=typer.echo)
    else:
        ranges = read_space(space or [])
        done = sweep_optuna(recipe, folder, ranges, trials, changes=given, report=typer.echo)
    for line in write_summary(done, folder, monitor):
        typer.echo(line)
    typer.echo(f"table and curves: {folder}")
