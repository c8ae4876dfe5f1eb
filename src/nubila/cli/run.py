"""``nubila run``: a whole effort from one recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nubila.cli.options import Changes

__all__ = ["run"]


def run(
    recipe: Annotated[Path, typer.Argument(help="YAML file of the effort.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Run folder; default runs/ and the recipe's name."),
    ] = None,
    stages: Annotated[
        str | None,
        typer.Option(
            help="Which to do, joined by commas; default labels,tile,train,export,evaluate,mask."
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="ONNX file to evaluate and to mask with, in place of the run's own."),
    ] = None,
    changes: Changes = None,
) -> None:
    """Do what a recipe says, from labels to masks; what is done is not done again."""
    from nubila.errors import RecipeError, nearest
    from nubila.recipe import load_recipe
    from nubila.recipe.stages import STAGES
    from nubila.train import check_splits

    checked = load_recipe(recipe, changes or [])
    wanted = STAGES if stages is None else tuple(name.strip() for name in stages.split(","))
    for name in wanted:
        if name not in STAGES:
            raise RecipeError(
                f"--stages: no stage {name!r}{nearest(name, STAGES)} (known: {', '.join(STAGES)})"
            )
    folder = output or Path("runs") / recipe.stem
    fresh = not (folder / "stages.json").is_file()  # else it may be done, and the samples gone
    if fresh and "train" in wanted and not checked.labels.steps:
        check_splits(checked)
    import nubila.nn  # noqa: F401 (first, because it names the extra where PyTorch is missing)
    from nubila.pipeline import run_recipe

    chosen = tuple(name for name in STAGES if name in wanted)
    for result in run_recipe(checked, folder, stages=chosen, model=model, report=typer.echo):
        for path in result.outputs:
            typer.echo(f"{result.stage}: {path}")
