"""Training that builds on other weights: starts from them, keeps some, or learns from them."""

from __future__ import annotations

from pathlib import Path

from nubila.recipe.section import Section

__all__ = ["FineTune"]


class FineTune(Section):
    """Where a run starts from.

    Attributes:
        start_from: checkpoint of ``nubila train``, or a run folder for its best one; relative to
            the recipe. Weights of the same name and shape are taken.
        teacher: checkpoint or run folder whose probabilities a distillation loss learns from;
            relative to the recipe.
        frozen: patterns of parameter names, as of a shell (``body.encoder*``), that stay as they
            are, batch-norm statistics included.
    """

    start_from: Path | None = None
    teacher: Path | None = None
    frozen: tuple[str, ...] = ()
