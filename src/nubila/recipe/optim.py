"""Optimiser, and how its learning rate goes: unions of one section each, told by `name`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from nubila.recipe.section import Section

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "OneCycle",
    "Optimiser",
    "Plateau",
    "RMSprop",
    "Schedule",
    "WarmRestarts",
]


class Constant(Section):
    """The same rate throughout."""

    name: Literal["constant"] = "constant"


class Cosine(Section):
    """Half a cosine from `lr` to `floor` x `lr` (Loshchilov & Hutter 2017)."""

    name: Literal["cosine"] = "cosine"
    floor: float = Field(default=0.0, ge=0, le=1)


class Plateau(Section):
    """Times `factor` whenever `patience` validations in a row bring nothing better.

    What is better says the recipe's `monitor`. The rate stays at least `floor` x `lr`.
    """

    name: Literal["plateau"] = "plateau"
    factor: float = Field(default=0.1, gt=0, lt=1)
    patience: int = Field(default=5, ge=1)
    floor: float = Field(default=0.0, ge=0, le=1)


class WarmRestarts(Section):
    """Cosines one after the other (SGDR, Loshchilov & Hutter 2017).

    The first lasts `period` steps, each further one `growth` times as long.
    """

    name: Literal["warm_restarts"] = "warm_restarts"
    period: int = Field(ge=1)
    growth: int = Field(default=1, ge=1)
    floor: float = Field(default=0.0, ge=0, le=1)


class OneCycle(Section):
    """A cosine from `lr` / `start` up to `lr`, then down to `lr` / `start` / `end`.

    Smith & Topin 2019, "Super-convergence", with cosines in place of lines. `rise` is the part of
    the steps that go up.
    """

    name: Literal["one_cycle"] = "one_cycle"
    rise: float = Field(default=0.3, gt=0, lt=1)
    start: float = Field(default=25.0, ge=1)
    end: float = Field(default=1e4, ge=1)


Schedule = Annotated[
    Constant | Cosine | Plateau | WarmRestarts | OneCycle, Field(discriminator="name")
]


class _Optimiser(Section):
    """What every optimiser has.

    Attributes:
        lr: highest learning rate.
        schedule: how the rate goes after the warm-up.
        warmup: part of the steps over which the rate rises in a line.
        clip: greatest norm of the gradient; 0 = not clipped.
        accumulate: passes that share the chips of a step, so that fewer are in memory at a time;
            the weights follow the same gradient, up to what batch norm sees.
        ema: decay of the exponential moving average of the weights; the average is shipped.
            0 = no average.
    """

    lr: float = Field(default=3e-3, gt=0, le=1)
    schedule: Schedule = Cosine()
    warmup: float = Field(default=0.05, ge=0, lt=1)
    clip: float = Field(default=1.0, ge=0)
    accumulate: int = Field(default=1, ge=1)
    ema: float = Field(default=0.998, ge=0, lt=1)

    @field_validator("schedule", mode="before")
    @classmethod
    def _name_alone(cls, schedule: Any) -> Any:  # noqa: ANN401 (whatever YAML holds)
        return {"name": schedule} if isinstance(schedule, str) else schedule


class AdamW(_Optimiser):
    """Loshchilov & Hutter 2019; `weight_decay` is decoupled from the gradient."""

    name: Literal["adamw"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(default=0.01, ge=0, le=1)


class Adam(_Optimiser):
    """Kingma & Ba 2015; `weight_decay` is added to the gradient."""

    name: Literal["adam"]
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=0.0, ge=0, le=1)


class SGD(_Optimiser):
    """Stochastic gradient descent with momentum, Nesterov's on demand."""

    name: Literal["sgd"]
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _momentum_for_nesterov(self) -> SGD:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class RMSprop(_Optimiser):
    """Tieleman & Hinton 2012; `alpha` is the decay of the mean square."""

    name: Literal["rmsprop"]
    alpha: float = Field(default=0.99, gt=0, lt=1)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0, le=1)


Optimiser = Annotated[AdamW | Adam | SGD | RMSprop, Field(discriminator="name")]
