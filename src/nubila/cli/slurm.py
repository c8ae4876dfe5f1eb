"""`nubila slurm`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nubila.cli.options import Changes

__all__ = ["slurm"]


def slurm(
    recipe: Annotated[Path, typer.Argument(help="YAML file of the run.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Run folder; default runs/ and the recipe's name."),
    ] = None,
    script: Annotated[
        Path | None, typer.Option(help="File to write; default: print the script.")
    ] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="Machines, if not the recipe's.")] = None,
    devices: Annotated[
        int | None, typer.Option(min=1, help="Processes a machine, if not the recipe's.")
    ] = None,
    time: Annotated[str, typer.Option(help="Limit; the job goes on in a new one.")] = "12:00:00",
    gpus: Annotated[bool, typer.Option(help="A GPU for each process.")] = True,
    partition: Annotated[str | None, typer.Option(help="Slurm partition.")] = None,
    account: Annotated[str | None, typer.Option(help="Slurm account.")] = None,
    setup: Annotated[
        str | None, typer.Option(help="Shell line that activates the environment.")
    ] = None,
    changes: Changes = None,
) -> None:
    """Write the batch script that trains a recipe under Slurm."""
    from nubila.errors import command_line
    from nubila.raster.atomic import atomic_path, make_folder
    from nubila.recipe import load_recipe
    from nubila.train.slurm import Job, batch_script

    asked = {"nodes": nodes, "devices": devices}
    every = [*(changes or []), *(f"{k}={v}" for k, v in asked.items() if v is not None)]
    job = Job(time=time, gpus=gpus, partition=partition, account=account, setup=setup)
    folder = output or Path("runs") / recipe.stem
    text = batch_script(load_recipe(recipe, every), recipe, folder, job=job, changes=every)
    if script is None:
        typer.echo(text, nl=False)
        return
    with atomic_path(script) as temporary:
        temporary.write_text(text, encoding="utf-8")
    make_folder(folder.parent)  # where Slurm is to write its log
    typer.echo(f"{script}; next: {command_line('sbatch', script)}")
