"""Curves of runs: what was measured, over the steps."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nubila.raster.atomic import atomic_path

__all__ = ["draw_comparison", "draw_curves"]

Series = Mapping[str, Sequence[tuple[int, float]]]

_PANELS: Final = {
    "loss": ("loss", "validation_loss"),
    "IoU": ("cloud_iou", "mean_iou"),
    "IoU of classes": ("iou/",),
    "learning rate": ("lr",),
}


def draw_curves(series: Series, path: Path) -> None:
    """Draw a run's loss, scores and learning rate, one panel each, as PNG."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    for axes, (title, names) in zip(figure.subplots(2, 2).ravel(), _PANELS.items(), strict=True):
        for name, points in series.items():
            if name in names or any(n.endswith("/") and name.startswith(n) for n in names):
                axes.plot(*zip(*points, strict=True), label=name, marker=_marker(points))
        axes.set(title=title, xlabel="step")
        if axes.lines:
            axes.legend(fontsize="small")
    _save(figure, path)


def draw_comparison(name: str, runs: Mapping[str, Series], folder: Path) -> Path:
    """Draw one curve of several runs as PNG; runs that did not measure it are left out.

    Returns:
        The file, ``curve-<name>.png`` in the folder.
    """
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    for run, series in runs.items():
        if points := series.get(name):
            axes.plot(*zip(*points, strict=True), label=run, marker=_marker(points))
    axes.set(title=name, xlabel="step")
    if axes.lines:
        axes.legend(fontsize="small")
    path = folder / f"curve-{re.sub(r'[^A-Za-z0-9_]+', '-', name)}.png"
    _save(figure, path)
    return path


def _marker(points: Sequence[object]) -> str | None:
    return "o" if len(points) < 20 else None


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
