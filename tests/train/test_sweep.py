from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from nubila.errors import NubilaError, OutputError, RecipeError
from nubila.recipe import Recipe
from nubila.train import sweep as sweep_module
from nubila.train.sweep import (
    grid_trials,
    read_space,
    sweep_grid,
    sweep_optuna,
    write_summary,
)

_GOAL = 0.02


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Runs that are over at once, the better the nearer their rate is to the goal."""
    folders: list[Path] = []

    def fit(recipe: Recipe, folder: Path, *, report: object) -> Path:
        if (folder / "result.json").is_file():
            return folder
        folders.append(folder)
        if recipe.optim.lr > 0.5:
            raise NubilaError("step 3: the loss is nan")
        folder.mkdir(parents=True)
        best = 1 - abs(recipe.optim.lr - _GOAL)
        (folder / "result.json").write_text(json.dumps({"best": best, "step": recipe.steps}))
        rows = f"step,name,value\n1,cloud_iou,{best}\n2,cloud_iou,{best}\n1,lr,{recipe.optim.lr}\n"
        (folder / "metrics.csv").write_text(rows)
        return folder

    monkeypatch.setattr(sweep_module, "fit", fit)
    return folders


def test_a_grid_is_every_combination() -> None:
    trials = grid_trials(["optim.lr=0.1,0.05", "seed=1,2"])
    assert [trial.changes for trial in trials] == [
        ("optim.lr=0.1", "seed=1"),
        ("optim.lr=0.1", "seed=2"),
        ("optim.lr=0.05", "seed=1"),
        ("optim.lr=0.05", "seed=2"),
    ]
    assert trials[0].name == "optim.lr=0.1,seed=1"
    for wrong in (["optim.lr"], ["seed=1", "seed=2"], ["=3"]):
        with pytest.raises(RecipeError):
            grid_trials(wrong)


def test_a_grid_ends_with_a_table_and_curves_and_is_not_done_again(
    toy: Path, tmp_path: Path, fitted: list[Path]
) -> None:
    folder, trials = tmp_path / "sweep", grid_trials(["optim.lr=0.1,0.9,0.03"])
    for _ in range(2):
        done = sweep_grid(toy, folder, trials, changes=["steps=4"], report=lambda _: None)
        lines = write_summary(done, folder, "cloud_iou")
    assert len(fitted) == 3
    assert [line.split()[0] for line in lines] == ["optim.lr=0.03", "optim.lr=0.1", "optim.lr=0.9"]
    assert "failed" in lines[2] and "loss is nan" in lines[2]
    with (folder / "table.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["cloud_iou"] for row in rows] == ["0.9900", "0.9200", ""]
    assert {path.name for path in folder.glob("*.png")} == {"curve-cloud_iou.png", "curve-lr.png"}


def test_a_wrong_value_is_found_before_anything_is_trained(
    toy: Path, tmp_path: Path, fitted: list[Path]
) -> None:
    trials = grid_trials(["optim.lr=0.1,-1"])
    with pytest.raises(RecipeError, match=r"optim\.lr"):
        sweep_grid(toy, tmp_path / "sweep", trials, changes=[], report=print)
    with pytest.raises(RecipeError, match="one device"):
        sweep_grid(toy, tmp_path / "sweep", trials[:1], changes=["devices=2"], report=print)
    assert fitted == []


def test_a_search_goes_on_where_it_was_broken_off(
    toy: Path, tmp_path: Path, fitted: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    space = read_space(["optim.lr=log:1e-4:1e-1"])

    def search(folder: str, trials: int) -> list[float]:
        done = sweep_optuna(
            toy, tmp_path / folder, space, trials, changes=[], report=lambda _: None
        )
        return [float(trial.changes[0].partition("=")[2]) for trial in done]

    whole = search("whole", 6)
    fit, calls = sweep_module.fit, iter(range(100))

    def broken(*arguments: object, **named: object) -> object:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return fit(*arguments, **named)  # type: ignore[arg-type]  # passed on as it comes

    monkeypatch.setattr(sweep_module, "fit", broken)
    with pytest.raises(KeyboardInterrupt):
        search("broken", 6)
    assert search("broken", 6) == whole
    assert len(set(whole)) == 6 and all(1e-4 <= rate <= 1e-1 for rate in whole)
    assert len(fitted) == 12
    with pytest.raises(RecipeError, match="another --space"):
        sweep_optuna(
            toy,
            tmp_path / "whole",
            read_space(["seed=int:1:3"]),
            6,
            changes=[],
            report=lambda _: None,
        )


def test_spaces_are_read_and_wrong_ones_named() -> None:
    space = read_space(["a=lin:0:1", "b=int:1:8", "c=adam,sgd"])
    assert (space["a"].high, space["b"].high, space["c"].choices) == (1, 8, ("adam", "sgd"))
    with pytest.raises(RecipeError, match="expected log:1e-4:1e-1"):
        read_space(["a=log:1"])


def test_a_failure_of_other_settings_or_of_the_disk_is_not_kept(
    toy: Path, tmp_path: Path, fitted: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, trials = tmp_path / "sweep", grid_trials(["optim.lr=0.9"])

    def sweep(*changes: str) -> object:
        return sweep_grid(toy, folder, trials, changes=changes, report=lambda _: None)

    sweep("steps=4")
    sweep("steps=4")
    assert len(fitted) == 1
    sweep("steps=5")
    assert len(fitted) == 2

    def full(*_: object, **__: object) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr(sweep_module, "fit", full)
    with pytest.raises(OutputError):
        sweep("steps=6")
    assert not list(folder.rglob("failure.json"))


def test_a_search_among_other_choices_is_told(
    toy: Path, tmp_path: Path, fitted: list[Path]
) -> None:
    for trials, choices in enumerate(("0.1,0.2", "0.1,0.2,0.3"), start=1):
        space = read_space([f"optim.lr={choices}"])
        given = (toy, tmp_path / "s", space, trials)
        if trials == 1:
            sweep_optuna(*given, changes=[], report=lambda _: None)
            continue
        with pytest.raises(RecipeError, match="another --space"):
            sweep_optuna(*given, changes=[], report=lambda _: None)
