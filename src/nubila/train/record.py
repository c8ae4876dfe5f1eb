"""What a run leaves to look at: figures, pictures and curves, in its folder and with trackers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from nubila.nn import Segmenter
from nubila.recipe import Recipe
from nubila.train.curves import draw_curves
from nubila.train.data import Labelled
from nubila.train.folder import Log, read_metrics
from nubila.train.pictures import draw_samples
from nubila.train.trackers import Trackers

__all__ = ["Record"]


class Record:
    """Figures and pictures of a run.

    Args:
        recipe: its `track`.
        folder: gets ``metrics.csv``, ``curves.png`` at the end, and ``pictures/``.
        step: from which the run goes on.
        active: False for all processes but the first, which then leave nothing.
        report: called with each line for people.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        step: int,
        *,
        active: bool,
        report: Callable[[str], None],
    ) -> None:
        self._recipe, self._folder, self._active = recipe, folder, active
        if active:
            self._log = Log(folder / "metrics.csv", step)
            self._trackers = Trackers(recipe, folder, step, report)

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._active:
            try:
                draw_curves(read_metrics(self._folder / "metrics.csv"), self._folder / "curves.png")
            finally:
                self._trackers.__exit__(kind, error, traceback)

    def figures(self, step: int, values: dict[str, float]) -> None:
        """Take figures of a step."""
        if self._active:
            self._log.write(step, values)
            self._trackers.log(step, values)

    def pictures(self, step: int, network: Segmenter, samples: Sequence[Labelled]) -> None:
        """Draw samples as the network sees them now."""
        if self._active and samples:
            path = self._folder / "pictures" / f"step-{step:07d}.png"
            draw_samples(network, self._recipe, samples, path)
            self._trackers.picture(step, path)
