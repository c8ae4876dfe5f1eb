"""The picture of a tally: pixels by class, and what each band alone tells of cloud."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nubila.classes import CLASS_NAMES
from nubila.errors import MissingExtraError
from nubila.raster.atomic import atomic_path
from nubila.tiles.statistics import BandTally, Tally

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_tally"]

_CLEAR, _CLOUD, _EITHER = "#00684f", "#d08a1d", "#9a9a9a"
_BINS: Final = 80
_ACROSS: Final = 4


def draw_tally(tally: Tally, path: str | Path, *, title: str) -> None:
    """Draw pixels by class, the separation of each band, and each band's histograms.

    Args:
        tally: of at least one image.
        path: the file to write; its suffix says the format.
        title: stands above.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", extra="train") from error
    bands = {name: tally.bands[name] for name in tally.band_names()}
    rows = -(-len(bands) // _ACROSS)
    figure = Figure(figsize=(13, 4 + 2.3 * rows), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(4, max(2.3 * rows, 0.1)))
    upper, lower = parts
    figure.suptitle(title)
    left, right = upper.subplots(1, 2)
    _draw_classes(left, tally)
    _draw_separation(right, bands)
    if bands:
        axes = lower.subplots(rows, _ACROSS, squeeze=False).ravel()
        for axis, (name, band) in zip(axes, bands.items(), strict=False):
            _draw_band(axis, name, band)
        for axis in axes[len(bands) :]:
            axis.set_axis_off()
        axes[0].legend(fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _draw_classes(axis: Axes, tally: Tally) -> None:
    described: dict[str, Any] = tally.describe()
    surely, possibly = described["surely"], described["possibly"]
    places = np.arange(len(CLASS_NAMES))
    axis.barh(places, [possibly[n] / 1e6 for n in CLASS_NAMES.values()], color="#d8d8d4")
    axis.barh(places, [surely[n] / 1e6 for n in CLASS_NAMES.values()], color=_CLEAR)
    axis.set_yticks(places, list(CLASS_NAMES.values()))
    axis.invert_yaxis()
    axis.set_xlabel("million pixels: dark = surely of the class, light = the label allows it")
    counts = ", ".join(f"{name} {n:,}" for name, n in described["counts"].items())
    weight = described["pos_weight"]
    ratio = "" if weight is None else f"; pos_weight {weight:.4f}"
    axis.set_title(f"{counts}{ratio}", fontsize=9)


def _draw_separation(axis: Axes, bands: dict[str, BandTally]) -> None:
    found = {name: auc for name, band in bands.items() if (auc := band.auc()) is not None}
    if not found:
        axis.set_axis_off()
        axis.text(0.5, 0.5, "no pixels of both cloud and clear", ha="center")
        return
    places = np.arange(len(found))
    height = [max(auc, 1 - auc) for auc in found.values()]
    colours = [_CLOUD if auc >= 0.5 else _EITHER for auc in found.values()]
    bars = axis.barh(places, height, color=colours)
    axis.bar_label(bars, [f"{h:.3f}" for h in height], padding=3, fontsize=8)
    axis.set_yticks(places, list(found))
    axis.invert_yaxis()
    axis.set_xlim(0.5, 1.06)
    axis.set_xlabel("AUC of the band alone, cloud against clear (grey: cloud is darker)")


def _draw_band(axis: Axes, name: str, band: BandTally) -> None:
    low, high = band.percentiles((0.5, 99.5)).values()
    edges = np.linspace(low, max(high, low + 1e-3), _BINS + 1)
    for label, colour, counts in zip(
        ("clear", "cloud"), (_CLEAR, _CLOUD), band.histogram(edges), strict=True
    ):
        share = counts / max(int(counts.sum()), 1)
        axis.stairs(share, edges, color=colour, fill=True, alpha=0.5, label=label)
    axis.set_title(name, fontsize=9)
    axis.set_yticks([])
    axis.tick_params(labelsize=8)
