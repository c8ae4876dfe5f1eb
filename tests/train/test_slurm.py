from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nubila.cli import app
from nubila.errors import OutputError, RecipeError
from nubila.recipe import load_recipe
from nubila.train.slurm import Job, batch_script


def test_the_script_asks_for_what_the_recipe_says(toy: Path, tmp_path: Path) -> None:
    script = tmp_path / "the job.sh"
    arguments = ["slurm", str(toy), "--nodes", "2", "--devices", "4", "--set", "batch=16"]
    arguments += ["--time", "1-00:00:00", "--partition", "gpu", "--script", str(script)]
    arguments += ["--set", "track={to: []}", "-o", str(tmp_path / "my run"), "--setup", "true"]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert shlex.split(done.output.partition("next: ")[2]) == ["sbatch", str(script)]
    lines = script.read_text().splitlines()
    asked = {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")}
    assert asked >= {
        *("--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4", "--time=1-00:00:00"),
        *("--signal=USR1@120", "--requeue", "--partition=gpu", "--cpus-per-task=1"),
    }
    # sbatch takes quotes as a shell does.
    (log,) = (shlex.split(line) for line in asked if line.startswith("--output="))
    assert log == [f"--output={tmp_path / 'my run-%j.log'}"]
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    command = shlex.split(lines[-1])
    assert command[:4] == ["srun", "nubila", "train", str(toy)]
    assert command[command.index("-o") + 1] == str(tmp_path / "my run")
    changes = [command[i + 1] for i, word in enumerate(command) if word == "--set"]
    recipe = load_recipe(toy, changes)
    assert (recipe.nodes, recipe.devices, recipe.batch) == (2, 4, 16)


def test_a_time_that_slurm_does_not_know(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="--time '12h'"):
        batch_script(load_recipe(toy), toy, tmp_path, job=Job(time="12h", gpus=False))


def test_processors_alone(toy: Path, tmp_path: Path) -> None:
    text = batch_script(load_recipe(toy), toy, tmp_path, job=Job(time="30", gpus=False))
    assert "--gpus" not in text and "--partition" not in text


def test_a_script_that_cannot_be_written_is_told(toy: Path, tmp_path: Path) -> None:
    script = tmp_path / "none" / "job.sh"
    done = CliRunner().invoke(app, ["slurm", str(toy), "--script", str(script)])
    assert isinstance(done.exception, OutputError), done.output
