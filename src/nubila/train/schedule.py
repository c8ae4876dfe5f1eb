"""Learning rates: pure functions of the step, but for the plateau, which has to remember."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nubila.recipe import Recipe
from nubila.recipe.optim import Constant, Cosine, OneCycle, Plateau, WarmRestarts

__all__ = ["PlateauState", "learning_rate"]


@dataclass
class PlateauState:
    """What the plateau schedule remembers.

    Attributes:
        scale: factor of the rate so far.
        best: greatest merit so far; None before the first validation.
        waited: validations since the best one or the last reduction.
    """

    scale: float = 1.0
    best: float | None = None
    waited: int = 0

    def see(self, merit: float, spec: Plateau) -> None:
        """Take the merit of a validation (greater is better; NaN is never better)."""
        merit = -math.inf if math.isnan(merit) else merit
        if self.best is None or merit > self.best:
            self.best, self.waited = merit, 0
            return
        self.waited += 1
        if self.waited >= spec.patience:
            self.scale, self.waited = max(self.scale * spec.factor, spec.floor), 0


def learning_rate(recipe: Recipe, step: int, plateau: float = 1.0) -> float:
    """Return the rate of a step: a line over the warm-up, then the schedule over the rest.

    Args:
        recipe: its `optim` says the schedule, `steps` how long it is.
        step: from 0.
        plateau: `PlateauState.scale`, for that schedule.
    """
    spec = recipe.optim
    # A whole run has at least one warm step where there is a warm-up at all.
    warmup = max(1, round(recipe.steps * spec.warmup)) if spec.warmup else 0
    if step < warmup:
        return spec.lr * (step + 1) / warmup
    return spec.lr * _factor(recipe, step - warmup, recipe.steps - warmup, plateau)


def _factor(recipe: Recipe, step: int, steps: int, plateau: float) -> float:
    match recipe.optim.schedule:
        case Constant():
            return 1.0
        case Plateau():
            return plateau
        case Cosine(floor=floor):
            return _cosine(1.0, floor, step / max(1, steps))
        case WarmRestarts() as spec:
            period = spec.period
            while step >= period:
                step, period = step - period, period * spec.growth
            return _cosine(1.0, spec.floor, step / period)
        case OneCycle() as spec:
            low, last = 1 / spec.start, steps - 1
            top = spec.rise * steps - 1  # as PyTorch places it, between two steps
            if step < top:
                return _cosine(low, 1.0, step / top)
            return _cosine(1.0, low / spec.end, (step - top) / (last - top))


def _cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * part))
