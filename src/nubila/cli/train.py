"""`nubila train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nubila.cli.options import Changes

if TYPE_CHECKING:
    from nubila.recipe import Recipe

__all__ = ["train"]


def train(
    recipe: Annotated[Path, typer.Argument(help="YAML file of the run.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Run folder; default runs/ and the recipe's name."),
    ] = None,
    changes: Changes = None,
    resume: Annotated[
        bool, typer.Option(help="Go on from the run folder's last checkpoint.")
    ] = True,
    fold: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|all",
            help="Leave this fold of the manifest out (see nubila folds), validate on it and keep "
            "its predictions; all: each in turn, and score them together.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train a model as a recipe says.

    Ctrl-C, SIGTERM and SIGUSR1 save the state before the run ends; the same command goes on from
    there. A second Ctrl-C ends it at once.
    """
    from nubila.errors import command_line
    from nubila.train import fit, load_recipe

    checked = load_recipe(recipe, changes or [])
    folder = output or Path("runs") / recipe.stem
    if fold is not None:
        _folds(checked, folder, fold, resume)
        return
    best = fit(checked, folder, resume=resume, report=lambda line: typer.echo(line))
    command = command_line("nubila", "export", folder, "-o", "model.onnx")
    typer.echo(f"best weights: {best}; next: {command}")


def _folds(recipe: Recipe, folder: Path, fold: str, resume: bool) -> None:
    """Train one fold, or all of them and score them together."""
    import nubila.nn  # noqa: F401 (first, because it names the extra where PyTorch is missing)
    from nubila.curate.cross_validation import fold_names, score_folds, train_fold

    for name in fold_names(recipe) if fold == "all" else [fold]:
        typer.echo(f"fold {name}:")
        train_fold(recipe, name, folder, resume=resume, report=lambda line: typer.echo(line))
    if fold != "all":
        return
    scores = score_folds(recipe, folder)
    for name, found in scores["overall"].items():
        if isinstance(found, dict) and found.get("iou") is not None:
            low, high = found["iou_interval"]
            interval = "" if low is None else f" ({low:.3f} to {high:.3f})"
            mean = found["iou_scene_mean"]
            typer.echo(
                f"{name} over all folds: IoU {found['iou']:.3f}{interval}"
                + ("" if mean is None else f", scene mean {mean:.3f}")
            )
    typer.echo(folder / "scores.json")
