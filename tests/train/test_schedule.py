from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from nubila.recipe import Recipe
from nubila.recipe.optim import Plateau
from nubila.train.schedule import PlateauState, learning_rate

Scheduler = Callable[[torch.optim.Optimizer], Any]


def _recipe(schedule: dict[str, Any], steps: int, warmup: float = 0.0) -> Recipe:
    optim = {"lr": 0.5, "warmup": warmup, "schedule": schedule}
    values = {"steps": steps, "data": {"manifest": "x", "root": "."}, "optim": optim}
    return Recipe.model_validate(values)


def _of_pytorch(make: Scheduler, steps: int) -> list[float]:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler, rates = make(optimiser), []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        ({"name": "constant"}, lambda o: lr_scheduler.ConstantLR(o, factor=1)),
        (
            {"name": "cosine", "floor": 0.1},
            lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=70, eta_min=0.05),
        ),
        (
            {"name": "warm_restarts", "period": 10, "growth": 2},
            lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=10, T_mult=2),
        ),
        (
            {"name": "one_cycle", "rise": 0.25, "start": 10, "end": 100},
            lambda o: lr_scheduler.OneCycleLR(
                o, 0.5, total_steps=70, pct_start=0.25, div_factor=10, final_div_factor=100
            ),
        ),
    ],
    ids=lambda value: value.get("name", "") if isinstance(value, dict) else "",
)
def test_schedules_are_those_of_pytorch(schedule: dict[str, Any], make: Scheduler) -> None:
    recipe = _recipe(schedule, 70)
    found = [learning_rate(recipe, step) for step in range(70)]
    np.testing.assert_allclose(found, _of_pytorch(make, 70), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("patience", "factor"), [(1, 0.5), (3, 0.1)])
def test_the_plateau_is_that_of_pytorch(patience: int, factor: float) -> None:
    merits = np.random.default_rng(2).uniform(0, 1, 60).round(1)
    spec = Plateau(patience=patience, factor=factor)
    recipe = _recipe(spec.model_dump(), 60)
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    # PyTorch counts the validations that it lets pass before one too many.
    wanted = lr_scheduler.ReduceLROnPlateau(
        optimiser, mode="max", factor=factor, patience=patience - 1, threshold=0, eps=0
    )
    state = PlateauState()
    for merit in merits:
        state.see(float(merit), spec)
        wanted.step(float(merit))
        rate = learning_rate(recipe, 30, state.scale)
        assert rate == pytest.approx(optimiser.param_groups[0]["lr"])
    assert state.scale < 1


def test_a_score_that_is_no_number_counts_as_no_better() -> None:
    state, spec = PlateauState(), Plateau(patience=2, factor=0.5, floor=0.4)
    for merit in (float("nan"), 0.2, float("nan"), float("nan")):
        state.see(merit, spec)
    assert (state.best, state.scale, state.waited) == (0.2, 0.5, 0)
    state.see(0.1, spec)
    state.see(0.1, spec)
    assert state.scale == 0.4


@pytest.mark.parametrize("name", ["constant", "cosine", "one_cycle", "plateau"])
def test_the_warm_up_rises_in_a_line_before_any_schedule(name: str) -> None:
    recipe = _recipe({"name": name}, 100, warmup=0.1)
    rates = [learning_rate(recipe, step) for step in range(100)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) * 0.05)
    assert min(rates) > 0 or name == "cosine"


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("name", ["constant", "cosine", "one_cycle", "plateau"])
def test_very_short_runs_have_a_rate(name: str, steps: int) -> None:
    recipe = _recipe({"name": name}, steps, warmup=0.05)
    assert all(0 <= learning_rate(recipe, step) <= 0.5 for step in range(steps))
