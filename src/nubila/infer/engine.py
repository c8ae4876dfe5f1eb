"""The engine: decodes, runs the model and hands on results at the same time, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nubila.models_io import Model
from nubila.raster import Grid, Window
from nubila.scenes import Scene

__all__ = ["Progress", "Run", "Sink", "Strip", "run_scene"]


@dataclass(frozen=True)
class Strip:
    """Finished rows over the whole width of the area.

    Attributes:
        row: first row, counted from the top of the area.
        classes: (rows, columns) uint8 class codes, 255 where nothing was judged.
        validity: (rows, columns) uint8 of `nubila.classes.Validity`.
        probabilities: (classes, rows, columns) in the card's order, if asked for: float32 with NaN
            where nothing was judged, or uint8 by `decide.PROBABILITY_SCALE` with 255 there.
    """

    row: int
    classes: NDArray[np.uint8]
    validity: NDArray[np.uint8]
    probabilities: NDArray[Any] | None = None


@dataclass(frozen=True)
class Run:
    """What is known when a run is done.

    Attributes:
        grid: where the pixels of the area lie.
        preview: (3, rows, columns) float32 reflectance in red, green, blue, NaN = no data, if
            asked for and if the model takes these bands.
        notes: what a person should know, such as a resolution the model was not trained on.
    """

    grid: Grid
    preview: NDArray[np.float32] | None
    notes: tuple[str, ...]


Sink = Callable[[Strip], None]
Progress = Callable[[int, int], None]


def run_scene(
    scene: Scene,
    model: Model,
    *,
    sink: Sink,
    resolution: float | None = None,
    window: Window | None = None,
    threads: int | None = None,
    tile: int | None = None,
    batch: int = 1,
    thresholds: Mapping[str, float] | None = None,
    probabilities: Literal["float32", "uint8"] | None = None,
    preview: int = 0,
    progress: Progress | None = None,
) -> Run:
    """Run a model over a scene, or an area of it, and hand the results on from top to bottom.

    Args:
        scene: the scene.
        model: the model.
        sink: called from the calling thread with one `Strip` after the other, without gaps.
        resolution: metres; default the scene's own choice.
        window: area in pixels of ``scene.grid_at(resolution)``; default the whole scene.
        threads: workers; default one a processor.
        tile: longest side of what the model sees at once, halo included; default by memory.
        batch: tiles in one run of the model.
        thresholds: see `decide`; default the most probable class.
        probabilities: hand on probabilities too, as this type.
        preview: longest side in pixels of a true-colour picture made along the way; 0 = none.
        progress: called with pixels done and pixels in all.

    Raises:
        BandError: the scene lacks a band that the model needs; nothing was read.
        GridError: the window is empty or outside the scene.
        InputError: an argument is out of range.
        NubilaError: whatever reading, the model or the sink raise, named with the scene.
    """
    raise NotImplementedError
