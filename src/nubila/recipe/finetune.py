"""Training that builds on other weights: starts from them, keeps some, or learns from them."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from nubila.recipe.section import Section

__all__ = ["FineTune"]


class FineTune(Section):
    """Where a run starts from.

    Attributes:
        start_from: checkpoint of ``nubila train``, or a run folder for its best one; relative to
            the recipe. Weights of the same name and shape are taken.
        teacher: checkpoint or run folder whose probabilities a distillation loss learns from;
            relative to the recipe.
        keep: share of the weights to start from in those that are validated and shipped, the rest
            being the run's own average: what the first run knew of other places is lost less
            (Wortsman et al. 2022, doi:10.1109/CVPR52688.2022.00780). Needs a start of the same
            network.
        frozen: patterns of parameter names, as of a shell (``body.encoder*``), that stay as they
            are, batch-norm statistics included.
    """

    start_from: Path | None = None
    teacher: Path | None = None
    keep: float = Field(default=0.0, ge=0, lt=1)
    frozen: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _keeps_something(self) -> FineTune:
        if self.keep and self.start_from is None:
            raise ValueError("keep is given without start_from; name what to keep weights of")
        return self
