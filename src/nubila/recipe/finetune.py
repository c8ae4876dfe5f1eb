"""Training that starts from other weights, with parts of the network kept as they are."""

from __future__ import annotations

from pathlib import Path

from nubila.recipe.section import Section

__all__ = ["FineTune"]


class FineTune(Section):
    """Where a run starts from.

    Attributes:
        start_from: checkpoint of ``nubila train``, or a run folder for its best one; relative to
            the recipe. Weights of the same name and shape are taken.
        frozen: patterns of parameter names, as of a shell (``body.encoder*``), that stay as they
            are, batch-norm statistics included.
    """

    start_from: Path | None = None
    frozen: tuple[str, ...] = ()
