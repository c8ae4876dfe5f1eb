"""``nubila rounds``: train, label what has no label, and train again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nubila.cli.options import Certain, Changes, Improbable

__all__ = ["rounds"]


def rounds(
    recipe: Annotated[Path, typer.Argument(help="YAML file of the run.", show_default=False)],
    pool: Annotated[
        Path,
        typer.Option(
            metavar="MANIFEST",
            help="Images to label, or those that an audit has dropped; paths as in the recipe's.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Default runs/, the recipe's name and -rounds."),
    ] = None,
    number: Annotated[
        int, typer.Option("--rounds", "-n", min=1, help="At most, after the first training.")
    ] = 3,
    low: Improbable = 0.1,
    high: Certain = 0.9,
    keep: Annotated[
        float,
        typer.Option(min=0, max=1, help="Take images of which more than this share is sure."),
    ] = 0.9,
    unsure: Annotated[
        str, typer.Option(help="Pixels that are not sure: ignore, likeliest, or open.")
    ] = "ignore",
    folds: Annotated[
        int,
        typer.Option(
            min=1, help="Networks a round, dealt out anew each time; their mean is the teacher."
        ),
    ] = 1,
    changes: Changes = None,
) -> None:
    """Train, label a pool with what the network is sure of, and train again.

    Ends when the IoU on the recipe's own validation split rises no more. Run again, it goes on
    where it was stopped.
    """
    from nubila.curate.pseudo import UNSURE, Sureness
    from nubila.errors import InputError, nearest
    from nubila.train import load_recipe

    known = {name: name for name in UNSURE}
    if unsure not in known:
        raise InputError(f"--unsure {unsure!r}{nearest(unsure, known)} (known: {', '.join(known)})")
    checked = load_recipe(recipe, changes or [])
    import nubila.nn  # noqa: F401 (first, because it names the extra where PyTorch is missing)
    from nubila.curate.rounds import RoundOptions, best_round, run_rounds

    folder = output or Path("runs") / f"{recipe.stem}-rounds"
    options = RoundOptions(number, Sureness(low, high, known[unsure]), keep, folds)
    found = run_rounds(checked, pool, folder, options, report=lambda line: typer.echo(line))
    best = best_round(found)
    for checkpoint in best.checkpoints:
        typer.echo(f"best weights, of round {best.number}: {checkpoint}")
    typer.echo(folder / "rounds.csv")
