from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nubila.errors import ManifestError, NubilaError, RecipeError
from nubila.nn.losses import Loss
from nubila.recipe import Recipe
from nubila.train import fit, load_recipe
from nubila.train.data import Chips, load_split
from nubila.train.state import State, load_weights
from nubila.train.step import chip_numbers

# What a plain run leaves.
_FILES = {
    *("recipe.yaml", "environment.json", "data.json", "metrics.csv", "curves.png", "pictures"),
    *("last.ckpt", "best.ckpt", "result.json"),
}


def _fit(recipe: Path, folder: Path, *changes: str, resume: bool = True) -> list[str]:
    lines: list[str] = []
    fit(load_recipe(recipe, changes), folder, resume=resume, report=lines.append)
    return lines


def _weights(path: Path) -> dict[str, torch.Tensor]:
    return load_weights(path).state_dict()


def _assert_same_runs(one: Path, other: Path) -> None:
    for name in ("last.ckpt", "best.ckpt"):
        first, second = (torch.load(run / name, weights_only=True) for run in (one, other))
        for part in ("network", "average"):
            for key, value in first[part].items():
                assert torch.equal(value, second[part][key]), (name, part, key)
        for key in ("step", "best", "best_step", "waited", "plateau", "losses"):
            assert first[key] == second[key], (name, key)
    assert (one / "metrics.csv").read_text() == (other / "metrics.csv").read_text()


def test_learns_what_is_bright(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    _fit(toy, run, "steps=40", "validate_every=20")
    with (run / "metrics.csv").open(newline="") as stream:
        rows = [(row["name"], float(row["value"])) for row in csv.DictReader(stream)]
    assert [value for name, value in rows if name == "cloud_iou"][-1] > 0.9
    assert {path.name for path in run.iterdir()} == _FILES
    assert {path.name for path in (run / "pictures").iterdir()} == {
        "step-0000020.png",
        "step-0000040.png",
    }
    assert json.loads((run / "result.json").read_text())["best"] > 0.9
    assert Image.open(run / "curves.png").width > 500


@pytest.mark.parametrize(
    "changes",
    [
        ("optim.schedule={name: plateau, patience: 1, factor: 0.5}", "validate_every=1"),
        ("optim={name: sgd, lr: 0.01, accumulate: 2, ema: 0}",),
    ],
    ids=["plateau", "accumulate"],
)
def test_a_broken_run_ends_with_the_same_weights(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: tuple[str, ...]
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    _fit(toy, whole, *changes)
    real, follow = State.follow, iter(range(100))

    def break_off(state: State, decay: float) -> None:
        if next(follow) == 4:
            raise KeyboardInterrupt
        real(state, decay)

    monkeypatch.setattr(State, "follow", break_off)
    with pytest.raises(KeyboardInterrupt):
        _fit(toy, broken, *changes)
    assert _fit(toy, broken, *changes)[0] == "going on from step 4 of 6"
    _assert_same_runs(whole, broken)


def _start(recipe: Path, folder: Path, *changes: str) -> subprocess.Popen[str]:
    sets = [part for change in changes for part in ("--set", change)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.train.command", "train", recipe, "-o", folder, *sets],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def _wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    limit = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_a_killed_run_ends_with_the_same_weights(toy: Path, tmp_path: Path) -> None:
    changes = ("steps=60", "validate_every=3", "optim.schedule={name: plateau, patience: 1}")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = _start(toy, killed, *changes)
    _wait_for(killed / "best.ckpt", process)
    time.sleep(0.2)
    process.kill()
    process.wait()
    step = torch.load(killed / "last.ckpt", weights_only=True)["step"]
    assert 0 < step < 60
    _fit(toy, whole, *changes)
    assert _fit(toy, killed, *changes)[0].startswith("going on from step")
    _assert_same_runs(whole, killed)


def test_a_signal_saves_and_puts_the_job_in_the_queue_again(toy: Path, tmp_path: Path) -> None:
    tools, told = tmp_path / "tools", tmp_path / "told"
    tools.mkdir()
    (tools / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {told}\n')
    (tools / "scontrol").chmod(0o755)
    run = tmp_path / "run"
    before = dict(os.environ)
    # Only what `requeue` reads: Fabric takes a process for Slurm's own by SLURM_NTASKS.
    os.environ |= {"SLURM_JOB_ID": "17", "PATH": f"{tools}:{before['PATH']}"}
    try:
        process = _start(toy, run, "steps=5000", "validate_every=3", "checkpoint_minutes=60")
    finally:
        os.environ.clear()
        os.environ.update(before)
    _wait_for(run / "best.ckpt", process)
    assert not (run / "last.ckpt").exists()
    process.send_signal(signal.SIGUSR1)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGUSR1, output
    assert told.read_text() == "requeue 17\n" and "in the queue again" in output
    assert torch.load(run / "last.ckpt", weights_only=True)["step"] >= 3


def test_two_processes_give_what_one_does(toy: Path, tmp_path: Path) -> None:
    # Two passes of one process give batch norm the same chips that two processes give it. Running
    # statistics go another way: one after the other, and the mean. So weights are compared.
    plain = ("batch=4", "steps=4", "optim={name: sgd, lr: 0.05, ema: 0, clip: 0}")
    together, apart = tmp_path / "together", tmp_path / "apart"
    process = _start(toy, apart, *plain, "devices=2")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert output.count("training samples") == 1  # only the first process speaks and writes
    _fit(toy, together, *plain, "optim.accumulate=2")
    one, two = (torch.load(run / "last.ckpt", weights_only=True) for run in (together, apart))
    start = State.start(load_recipe(toy)).network.state_dict()
    moved = [name for name, _ in State.start(load_recipe(toy)).network.named_parameters()]
    for name in moved:
        torch.testing.assert_close(two["network"][name], one["network"][name], rtol=1e-5, atol=1e-6)
    distances = [float((one["network"][n] - start[n]).abs().max()) for n in moved]
    assert max(distances) > 1e-3


def test_passes_and_processes_share_the_same_chips(toy: Path) -> None:
    recipe = load_recipe(toy, ["batch=12", "optim.accumulate=3"])
    found = [n for rank in (0, 1) for part in chip_numbers(recipe, 5, rank, 2) for n in part]
    assert sorted(found) == list(range(60, 72))
    assert chip_numbers(load_recipe(toy), 3, 0, 1) == [[6, 7]]


def test_the_seed_makes_the_weights_and_workers_do_not(toy: Path, tmp_path: Path) -> None:
    _fit(toy, tmp_path / "a", "steps=2")
    _fit(toy, tmp_path / "b", "steps=2", "workers=2")
    _fit(toy, tmp_path / "c", "steps=2", "seed=6")
    a, b, c = (_weights(tmp_path / name / "last.ckpt") for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not torch.equal(a["body.stem.weight"], c["body.stem.weight"])


def test_a_run_of_another_recipe_is_not_gone_on_with(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    _fit(toy, run, "steps=2")
    with pytest.raises(RecipeError, match=r"steps differ.*--no-resume"):
        _fit(toy, run, "steps=3")
    assert _fit(toy, run, "steps=2", "workers=1") == ["going on from step 2 of 2"]
    _fit(toy, run, "steps=3", resume=False)


def test_a_loss_that_is_no_number_leaves_the_chips_and_the_last_good_state(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Loss.forward, iter(range(100))

    def loss(self: Loss, logits: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        found = real(self, logits, *rest)
        return found * torch.nan if next(calls) == 2 else found

    monkeypatch.setattr(Loss, "forward", loss)
    run = tmp_path / "run"
    with pytest.raises(NubilaError, match=r"step 2: the loss is nan.*chips 4 to 5"):
        _fit(toy, run)
    saved = torch.load(run / "emergency.ckpt", weights_only=True)
    last = torch.load(run / "last.ckpt", weights_only=True)
    assert saved["step"] == last["step"] == 2
    for key, value in last["network"].items():
        assert torch.equal(value, saved["network"][key]), key
    recipe = load_recipe(toy)
    wanted = Chips(recipe, load_split(recipe, "train"), [])[4]
    with np.load(run / "emergency-0.npz") as chips:
        np.testing.assert_array_equal(chips["numbers"], [4, 5])
        np.testing.assert_array_equal(chips["image"][0], wanted[0])
        np.testing.assert_array_equal(chips["label"][0], wanted[1])


def test_memory_that_is_not_enough_says_which_batch_may_be(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(Loss, "forward", loss)
    with pytest.raises(NubilaError, match=r"optim.accumulate=2 .*batch=1"):
        _fit(toy, tmp_path / "run")


def test_patience_ends_a_run_at_its_best(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    changes = ("steps=400", "validate_every=2", "patience=2", "monitor=loss", "optim.lr=1.0e-9")
    lines = _fit(toy, run, *changes, "optim.ema=0", "optim.warmup=0", "augment.tear=0")
    result = json.loads((run / "result.json").read_text())
    assert result["ended"] == "patience" and result["monitor"] == "loss"
    with (run / "metrics.csv").open(newline="") as stream:
        rows = [r for r in csv.DictReader(stream) if r["name"] == "validation_loss"]
    best = min(rows, key=lambda row: float(row["value"]))
    assert result["best_step"] == int(best["step"]) == result["step"] - 4
    assert result["best"] == float(best["value"])
    assert "2 validations without" in lines[-1]
    assert torch.load(run / "best.ckpt", weights_only=True)["step"] == result["best_step"]


def test_an_empty_split_is_an_error(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no row has split 'tests'"):
        _fit(toy, tmp_path / "run", "data.validation=tests")


def test_epochs_stand_for_steps(toy: Path) -> None:
    recipe = load_recipe(
        _without(toy, "steps: 6", "validate_every: 3"), ["epochs=3", "steps_per_epoch=7"]
    )
    assert (recipe.steps, recipe.validate_every) == (21, 7)
    assert Recipe.model_validate(recipe.model_dump()) == recipe
    with pytest.raises(RecipeError, match="epochs x steps_per_epoch is 21"):
        load_recipe(toy, ["epochs=3", "steps_per_epoch=7"])
    with pytest.raises(RecipeError, match="cannot be dealt out"):
        load_recipe(toy, ["batch=5", "optim.accumulate=2"])


def _without(recipe: Path, *lines: str) -> Path:
    text = "\n".join(x for x in recipe.read_text().splitlines() if x not in lines)
    recipe.write_text(text)
    return recipe
