"""Where the figures and pictures of a run go besides its folder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nubila.recipe.section import Section

__all__ = ["Track"]


class Track(Section):
    """Trackers; `metrics.csv` and the pictures in the run folder are there in any case.

    Attributes:
        to: ``mlflow`` (a SQLite file ``mlflow.db`` beside the run folder), ``wandb``,
            ``tensorboard``.
        experiment: name under which trackers put runs together.
        pictures: validation samples that are drawn at each validation; always the same ones.
        upload: let Weights & Biases upload; else it keeps the run offline, for ``wandb sync``.
    """

    to: tuple[Literal["mlflow", "wandb", "tensorboard"], ...] = ("mlflow",)
    experiment: str = Field(default="nubila", min_length=1)
    pictures: int = Field(default=4, ge=0, le=32)
    upload: bool = False
