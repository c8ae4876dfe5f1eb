from __future__ import annotations

import csv
import json
import os
import signal
import socket
import time
import traceback
from multiprocessing import active_children
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
from nubila.train.signals import catch_signals
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


def _fork(recipe: Path, folder: Path, *changes: str, **environment: str) -> int:
    """Train in a process of its own, which is a copy of this one to save the seconds of imports."""
    number = os.fork()
    if number:
        return number
    code = 99
    try:
        os.environ.update(environment)
        folder.with_suffix(".log").write_text("\n".join(_fit(recipe, folder, *changes)))
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 99
    except BaseException:
        folder.with_suffix(".log").write_text(traceback.format_exc())
    finally:
        os._exit(code)


def _wait_for(path: Path, log: Path) -> None:
    limit = time.monotonic() + 120
    while not path.exists():
        assert not log.exists(), log.read_text()
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_a_killed_run_ends_with_the_same_weights(toy: Path, tmp_path: Path) -> None:
    changes = (
        *("steps=40", "batch=4", "validate_every=4"),
        "optim={schedule: {name: plateau, patience: 1}, accumulate: 2, ema: 0.5}",
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = _fork(toy, killed, *changes)
    _wait_for(killed / "best.ckpt", tmp_path / "killed.log")
    os.kill(process, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
    assert 0 < torch.load(killed / "last.ckpt", weights_only=True)["step"] < 40
    _fit(toy, whole, *changes)
    assert _fit(toy, killed, *changes)[0].startswith("going on from step")
    _assert_same_runs(whole, killed)


def test_a_signal_saves_and_puts_the_job_in_the_queue_again(toy: Path, tmp_path: Path) -> None:
    tools, told, run = tmp_path / "tools", tmp_path / "told", tmp_path / "run"
    tools.mkdir()
    (tools / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {told}\n')
    (tools / "scontrol").chmod(0o755)
    process = _fork(
        *(toy, run, "steps=5000", "validate_every=3", "checkpoint_minutes=60"),
        SLURM_JOB_ID="17",
        SLURM_ARRAY_JOB_ID="15",
        SLURM_ARRAY_TASK_ID="2",
        PATH=f"{tools}:{os.environ['PATH']}",
    )
    _wait_for(run / "best.ckpt", tmp_path / "run.log")
    assert not (run / "last.ckpt").exists()
    os.kill(process, signal.SIGUSR1)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert code == 128 + signal.SIGUSR1, (tmp_path / "run.log").read_text()
    assert told.read_text() == "requeue 15_2\n"
    assert torch.load(run / "last.ckpt", weights_only=True)["step"] >= 3


@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGINT, 1)]
)
def test_a_signal_without_a_job_only_saves(
    toy: Path, tmp_path: Path, number: int, workers: int
) -> None:
    lines: list[str] = []
    before = signal.getsignal(number)

    def report(line: str) -> None:
        lines.append(line)
        if "validation\n" in line:  # a terminal sends Ctrl-C to all processes of a command
            for process in (*(child.pid for child in active_children()), os.getpid()):
                assert process is not None
                os.kill(process, number)

    with pytest.raises(SystemExit) as ended:
        fit(load_recipe(toy, [f"workers={workers}"]), tmp_path / "run", report=report)
    assert ended.value.code == 128 + number
    assert lines[-1] == f"signal {int(number)}: saved at step 3; the same command goes on"
    assert torch.load(tmp_path / "run/last.ckpt", weights_only=True)["step"] == 3
    assert signal.getsignal(number) == before


def test_a_second_interrupt_ends_at_once(
    toy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def report(line: str) -> None:
        if "validation\n" in line:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    changes = ["steps=2", "validate_every=1", "checkpoint_minutes=60"]
    with pytest.raises(KeyboardInterrupt):
        fit(load_recipe(toy, changes), tmp_path / "run", report=report)
    assert not (tmp_path / "run/last.ckpt").exists()
    assert capfd.readouterr().err.count("Ctrl-C again ends the run at once") == 1


def test_an_interrupt_that_the_shell_ignores_is_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with catch_signals() as caught:
            os.kill(os.getpid(), signal.SIGINT)
        assert caught.number == 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_that_also_ended_the_reader_of_the_words_counts() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    own = os.dup(2)
    os.dup2(writer, 2)
    try:
        with catch_signals() as caught:
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        os.dup2(own, 2)
        os.close(own)
        os.close(writer)
    assert caught.number == signal.SIGINT


def test_two_processes_give_what_one_does(toy: Path, tmp_path: Path) -> None:
    # Two passes of one process give batch norm the same chips that two processes give it. Running
    # statistics go another way: one after the other, and the mean. So weights are compared, which
    # differ by the order of sums alone.
    plain = ("batch=4", "steps=4", "optim={name: sgd, lr: 0.05, ema: 0, clip: 0.5}")
    together, apart = tmp_path / "together", tmp_path / "apart"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "NODE_RANK": "0"}
    processes = [
        _fork(toy, apart, *plain, "devices=2", **shared, LOCAL_RANK=str(rank)) for rank in (0, 1)
    ]
    for process in processes:
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        assert code == 0, (tmp_path / "apart.log").read_text()
    _fit(toy, together, *plain, "optim.accumulate=2")
    one, two = (torch.load(run / "last.ckpt", weights_only=True) for run in (together, apart))
    start = State.start(load_recipe(toy)).network
    for name, before in start.named_parameters():
        torch.testing.assert_close(two["network"][name], one["network"][name], rtol=1e-5, atol=1e-6)
        assert not torch.equal(one["network"][name], before), name
    scores = [(run / "metrics.csv").read_text().count("iou/cloud") for run in (together, apart)]
    assert scores[0] == scores[1] > 0


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


def test_a_run_of_other_labels_is_not_gone_on_with(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    _fit(toy, run, "steps=2")
    before = _weights(run / "best.ckpt")
    manifest = toy.parent / "toy.csv"
    manifest.write_text(manifest.read_text().replace("0=clear|water;1=cloud", "0=cloud;1=clear"))
    with pytest.raises(RecipeError, match=r"to train and to validation.*--no-resume"):
        _fit(toy, run, "steps=2")
    _fit(toy, run, "steps=2", resume=False)
    after = _weights(run / "best.ckpt")
    assert not all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize(
    ("key", "loss"),
    [("start_from", "cross_entropy"), ("teacher", "[cross_entropy, {name: distillation}]")],
)
def test_a_run_on_a_checkpoint_that_was_trained_anew_is_not_gone_on_with(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, loss: str
) -> None:
    monkeypatch.setattr("nubila.train.record.draw_curves", lambda *_: None)  # takes most of it
    run, first = tmp_path / "run", tmp_path / "first"
    first.mkdir()
    changes = ["steps=1", f"loss={loss}", f"finetune.{key}={first}"]
    State.start(load_recipe(toy, ["seed=5"])).save(first / "best.ckpt")
    _fit(toy, run, *changes)
    assert "going on from step 1 of 1" in _fit(toy, run, *changes)
    State.start(load_recipe(toy, ["seed=7"])).save(first / "best.ckpt")
    with pytest.raises(RecipeError, match=rf"another checkpoint.*finetune.{key}.*--no-resume"):
        _fit(toy, run, *changes)
    data = json.loads((run / "data.json").read_text())
    del data[f"finetune.{key}"]
    (run / "data.json").write_text(json.dumps(data))
    assert "going on from step 1 of 1" in _fit(toy, run, *changes)  # an older run does not tell


def test_a_run_of_other_synthetic_chips_is_not_gone_on_with(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nubila.train.record.draw_curves", lambda *_: None)  # takes most of it
    run = tmp_path / "run"
    changes = ["steps=2", "validate_every=1", f"synth={{chips: 2, share: 0.5, cache: {tmp_path}}}"]

    def killed(line: str) -> None:
        if line.startswith("step 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(load_recipe(toy, changes), run, report=killed)
    told = json.loads((run / "data.json").read_text())
    assert told["synthetic"]["chips"] == 2 and "views" not in told
    monkeypatch.setattr("nubila.train.pool._PRESETS", ("ocean",))
    with pytest.raises(RecipeError, match=r"other chips .*\(synthetic\).*--no-resume"):
        _fit(toy, run, *changes)
    del told["synthetic"]
    (run / "data.json").write_text(json.dumps(told))
    assert "going on from step 1 of 2" in _fit(toy, run, *changes)  # an older run does not tell
    assert json.loads((run / "data.json").read_text()) == told


def test_a_run_of_another_recipe_is_not_gone_on_with(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    _fit(toy, run, "steps=2")
    with pytest.raises(RecipeError, match=r"steps differ.*--no-resume"):
        _fit(toy, run, "steps=3")
    assert _fit(toy, run, "steps=2", "workers=1") == ["going on from step 2 of 2"]
    _fit(toy, run, "steps=3", resume=False)


def test_a_new_run_that_is_killed_at_once_does_not_go_on_from_the_old_one(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    _fit(toy, run, "steps=2")
    old = _weights(run / "last.ckpt")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(State, "follow", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        _fit(toy, run, "steps=2", "seed=6", resume=False)
    _fit(toy, run, "steps=2", "seed=6")
    new = _weights(run / "last.ckpt")
    assert not all(torch.equal(old[key], new[key]) for key in old)


def test_a_run_that_was_killed_at_the_very_end_is_concluded(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    _fit(toy, run, "steps=2")
    result = (run / "result.json").read_text()
    (run / "result.json").unlink()
    before = _weights(run / "last.ckpt")
    _fit(toy, run, "steps=2")
    assert (run / "result.json").read_text() == result
    after = _weights(run / "last.ckpt")
    assert all(torch.equal(before[key], after[key]) for key in before)


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


def test_a_run_that_cannot_start_leaves_nothing(toy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs/toy"
    with pytest.raises(NubilaError, match="training pixels say 'clear'"):
        _fit(toy, folder, "loss={name: bce, pos_weight: auto}")
    assert not folder.parent.exists()


def test_epochs_stand_for_steps(toy: Path) -> None:
    epochs = ["epochs=3", "steps_per_epoch=7"]
    with pytest.raises(RecipeError, match="epochs x steps_per_epoch is 21"):
        load_recipe(toy, epochs)
    recipe = load_recipe(_without(toy, "steps: 6", "validate_every: 3"), epochs)
    assert (recipe.steps, recipe.validate_every) == (21, 7)
    assert Recipe.model_validate(recipe.model_dump()) == recipe
    with pytest.raises(RecipeError, match="cannot be dealt out"):
        load_recipe(toy, [*epochs, "batch=5", "optim.accumulate=2"])


def _without(recipe: Path, *lines: str) -> Path:
    text = "\n".join(x for x in recipe.read_text().splitlines() if x not in lines)
    recipe.write_text(text)
    return recipe
