"""The batch script that trains a recipe under Slurm."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nubila.errors import RecipeError, command_line
from nubila.recipe import Recipe

__all__ = ["Job", "batch_script"]

# Slurm's own forms: minutes[:seconds], hours:minutes:seconds, days-hours[:minutes[:seconds]].
_TIME: Final = re.compile(r"\d+(:\d\d){0,2}|\d+-\d+(:\d\d){0,2}")

_SCRIPT: Final = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --nodes={nodes}
#SBATCH --ntasks-per-node={tasks}
{gpus}#SBATCH --cpus-per-task={cpus}
#SBATCH --time={time}
{further}#SBATCH --output={logs}
#SBATCH --open-mode=append
# Two minutes before the time is up every task saves the state and puts the job in the queue again;
# --requeue lets Slurm do that where the job gives way to another.
#SBATCH --signal=USR1@120
#SBATCH --requeue

set -euo pipefail
{setup}export OMP_NUM_THREADS={threads}

srun {command}
"""


@dataclass(frozen=True)
class Job:
    """What a job asks for.

    Attributes:
        time: limit in Slurm's form, such as ``12:00:00`` or ``1-00:00:00``.
        gpus: whether each process has a GPU; else it is trained on processors.
        partition, account: Slurm's, or None for its defaults.
        setup: shell line that activates the environment, or None.
    """

    time: str
    gpus: bool
    partition: str | None = None
    account: str | None = None
    setup: str | None = None


def batch_script(
    recipe: Recipe, path: Path, folder: Path, *, job: Job, changes: Sequence[str] = ()
) -> str:
    """Return the batch script of a run; one task for each of the recipe's devices.

    Args:
        recipe: nodes, devices, threads and workers are asked for as it says.
        path: of the recipe.
        folder: the run folder.
        job: what else is asked for.
        changes: ``key=value`` each, as given to ``--set``.

    Raises:
        RecipeError: the time has no form that Slurm knows.
    """
    if not _TIME.fullmatch(job.time):
        raise RecipeError(
            f"--time {job.time!r}: expected Slurm's minutes, hours:minutes:seconds or "
            f"days-hours:minutes:seconds, such as 12:00:00"
        )
    arguments = ["nubila", "train", str(path.resolve()), "-o", str(folder.resolve())]
    for change in changes:
        arguments += ["--set", change]
    asked = {"partition": job.partition, "account": job.account}
    return _SCRIPT.format(
        name=f"nubila-{re.sub(r'[^A-Za-z0-9_.-]', '-', path.stem)}",
        nodes=recipe.nodes,
        tasks=recipe.devices,
        gpus=f"#SBATCH --gpus-per-node={recipe.devices}\n" if job.gpus else "",
        cpus=recipe.threads + recipe.workers,
        time=job.time,
        further="".join(f"#SBATCH --{key}={value}\n" for key, value in asked.items() if value),
        logs=command_line(folder.resolve().parent / f"{folder.name}-%j.log"),
        setup=f"{job.setup}\n" if job.setup else "",
        threads=recipe.threads,
        command=command_line(*arguments),
    )
