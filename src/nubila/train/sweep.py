"""Many runs of one recipe: a grid of values, or a search by Optuna; what is finished stays so."""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nubila.errors import InputError, MissingExtraError, NubilaError, OutputError, RecipeError
from nubila.raster.atomic import atomic_path
from nubila.recipe import Recipe, load_recipe
from nubila.train import fit
from nubila.train.folder import read_json, read_metrics, write_json

__all__ = ["Trial", "grid_trials", "read_space", "sweep_grid", "sweep_optuna", "write_summary"]

_SCALES: Final = ("log", "lin", "int")


@dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
        name: of its folder.
        changes: what it sets, ``key=value`` each.
        best: best score or loss by the recipe's `monitor`; None where the run failed.
        steps: optimiser steps done.
        failure: why it failed, or empty.
    """

    name: str
    changes: tuple[str, ...]
    best: float | None = None
    steps: int = 0
    failure: str = ""


def grid_trials(grid: Sequence[str]) -> list[Trial]:
    """Return every combination of ``key=value,value`` entries, in the order given.

    Raises:
        RecipeError: an entry is not of this form, or a key stands twice.
    """
    axes = [[f"{key}={value}" for value in text.split(",")] for key, text in _entries(grid)]
    return [Trial(_folder_name(chosen), chosen) for chosen in itertools.product(*axes)]


def read_space(space: Sequence[str]) -> dict[str, Any]:
    """Return Optuna's distributions of ``key=log:low:high``, ``lin``, ``int``, or ``key=a,b``.

    Raises:
        RecipeError: an entry is not of this form.
        MissingExtraError: Optuna is not installed.
    """
    try:
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )
    except ModuleNotFoundError as error:
        raise MissingExtraError("optuna", extra="train") from error
    found: dict[str, Any] = {}
    for key, text in _entries(space):
        scale, *ends = text.split(":")
        try:
            match scale, len(ends):
                case "int", 2:
                    found[key] = IntDistribution(int(ends[0]), int(ends[1]))
                case (("log" | "lin"), 2):
                    low, high = (float(end) for end in ends)
                    found[key] = FloatDistribution(low, high, log=scale == "log")
                case _ if scale not in _SCALES:
                    found[key] = CategoricalDistribution(text.split(","))
                case _:
                    raise ValueError("expected two ends")
        except ValueError as error:
            raise RecipeError(
                f"--space {key}={text}: {error}; expected log:1e-4:1e-1, lin:0:1, int:1:8, or "
                f"values joined by commas"
            ) from error
    return found


def sweep_grid(
    recipe: Path,
    folder: Path,
    trials: Sequence[Trial],
    *,
    changes: Sequence[str],
    report: Callable[[str], None],
) -> list[Trial]:
    """Train every trial that is not finished, one after the other.

    Args:
        recipe: YAML file.
        folder: gets a run folder for each trial.
        trials: what each one sets.
        changes: ``key=value`` each, for all of them.
        report: called with each line for people.

    Returns:
        The trials with what came out.

    Raises:
        RecipeError: a value is wrong; all are checked before the first is trained.
    """
    checked = [_checked(recipe, (*changes, *trial.changes)) for trial in trials]
    done = []
    for number, (trial, values) in enumerate(zip(trials, checked, strict=True), start=1):
        report(f"trial {number} of {len(trials)}: {' '.join(trial.changes)}")
        done.append(_run(trial, values, folder / trial.name, report))
    return done


def sweep_optuna(
    recipe: Path,
    folder: Path,
    space: Mapping[str, Any],
    trials: int,
    *,
    changes: Sequence[str],
    report: Callable[[str], None],
) -> list[Trial]:
    """Train trials whose values Optuna's TPE sampler chooses from what came out before.

    The study is ``optuna.db`` in the folder: a sweep that was broken off goes on with the trial
    that was running, and more trials than before continue it.

    Args:
        recipe: YAML file.
        folder: gets a run folder for each trial.
        space: from `read_space`.
        trials: how many in all.
        changes: ``key=value`` each, for all of them.
        report: called with each line for people.

    Returns:
        The trials with what came out.

    Raises:
        RecipeError: a value is wrong.
    """
    import optuna
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plain = _checked(recipe, changes)
    folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=f"sqlite:///{folder.resolve() / 'optuna.db'}",
        study_name="sweep",
        load_if_exists=True,
        direction="minimize" if plain.monitor == "loss" else "maximize",
    )
    for known in study.trials:
        if known.distributions != dict(space):
            raise RecipeError(
                f"{folder / 'optuna.db'}: trial {known.number} is of another --space "
                f"({', '.join(known.distributions) or 'broken off'}); use another folder with -o"
            )
    done: list[Trial] = []
    for number in range(trials):
        if number == len(study.trials):
            # A seed for each trial, so that a sweep goes on as it would have.
            study.sampler = optuna.samplers.TPESampler(seed=plain.seed + number)
            study.ask(dict(space))
        known = study.trials[number]
        settings = tuple(f"{key}={value}" for key, value in known.params.items())
        trial = Trial(f"trial-{number:04d}", settings)
        report(f"trial {number + 1} of {trials}: {' '.join(settings)}")
        values = _checked(recipe, (*changes, *settings))
        done.append(_run(trial, values, folder / trial.name, report))
        if known.state == TrialState.RUNNING:
            failed = done[-1].best is None
            state = TrialState.FAIL if failed else TrialState.COMPLETE
            study.tell(number, done[-1].best, state=state)
    return done


def write_summary(trials: Sequence[Trial], folder: Path, monitor: str) -> list[str]:
    """Write ``table.csv`` and one plot a curve over all runs; return the table as lines.

    Args:
        trials: with what came out.
        folder: of the sweep.
        monitor: the recipe's, which says whether greater is better.
    """
    from nubila.train.curves import draw_comparison

    sign = 1 if monitor == "loss" else -1
    ranked = sorted(trials, key=lambda t: math.inf if t.best is None else sign * t.best)
    rows = [
        (t.name, "" if t.best is None else f"{t.best:.4f}", str(t.steps), t.failure) for t in ranked
    ]
    with (
        atomic_path(folder / "table.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        csv.writer(stream).writerows([("trial", monitor, "steps", "failure"), *rows])
    files = {trial.name: folder / trial.name / "metrics.csv" for trial in trials}
    series = {name: read_metrics(path) for name, path in files.items() if path.is_file()}
    for name in sorted({curve for run in series.values() for curve in run}):
        draw_comparison(name, series, folder)
    width = max(len(row[0]) for row in rows)
    return [
        f"{name:{width}s}  {best or 'failed':>8s}  {why}".rstrip() for name, best, _, why in rows
    ]


def _run(trial: Trial, recipe: Recipe, folder: Path, report: Callable[[str], None]) -> Trial:
    """Train a trial, or take what came out where it is finished; a failure is written down."""
    failure, own = folder / "failure.json", recipe.to_yaml()
    if failure.is_file():
        known = read_json(failure, "delete it, and the trial is done again")
        if known.get("recipe") == own:
            report(f"{trial.name} has failed before; delete {failure} to try it again")
            return Trial(trial.name, trial.changes, failure=known["failure"])
        failure.unlink()
    try:
        fit(recipe, folder, report=report)
    except (InputError, OutputError, MissingExtraError):  # of all trials alike
        raise
    except NubilaError as error:  # a learning rate too high, say; the others are still worth it
        folder.mkdir(parents=True, exist_ok=True)
        write_json(failure, {"failure": str(error), "recipe": own})
        report(f"{trial.name} failed: {error}")
        return Trial(trial.name, trial.changes, failure=str(error))
    result = read_json(folder / "result.json", f"delete {folder}, and the trial is done again")
    return Trial(trial.name, trial.changes, result["best"], result["step"])


def _checked(recipe: Path, changes: Sequence[str]) -> Recipe:
    values = load_recipe(recipe, changes)
    if values.devices * values.nodes > 1:
        raise RecipeError(
            "a sweep trains on one device; for more, write a Slurm script for each trial"
        )
    return values


def _entries(given: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield key and text of each ``key=text``."""
    seen = set()
    for entry in given:
        key, sign, text = (part.strip() for part in entry.partition("="))
        if not (key and sign and text):
            raise RecipeError(f"{entry!r}: expected key=value,value, such as optim.lr=0.1,0.01")
        if key in seen:
            raise RecipeError(f"{key} is given twice; join its values by commas")
        seen.add(key)
        yield key, text


def _folder_name(changes: Sequence[str]) -> str:
    return re.sub(r"[^A-Za-z0-9_.=,+-]", "-", ",".join(changes))
