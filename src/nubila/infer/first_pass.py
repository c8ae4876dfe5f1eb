"""Statistics of whole scenes, for the models whose normalisation needs them.

They are taken from a coarse reading of the scene, as those that the model was trained with are
(`scenes.statistics.coarsening`), that depends on nothing but the scene: not on the resolution, the
area or the tiles asked for. So tiling leaves no trace in such models either.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.models_io import ModelCard
from nubila.raster import Window
from nubila.scenes import Scene

__all__ = ["first_pass"]

# Rows read at a time, so that a file without overviews is not held in memory whole.
_ROWS: Final = 64


def first_pass(scene: Scene, card: ModelCard) -> NDArray[np.float32] | None:
    """Return the statistics that a model needs, (S, B) in the card's order, or None if it does not.

    Bands that the scene does not have are NaN.

    Raises:
        MissingFileError: a file of a band is not there.
        DamagedFileError: a file cannot be decoded.
    """
    if not card.statistics:
        return None
    from nubila.scenes.statistics import scene_statistics

    names = [use.name for use in card.bands]
    there = [name for name in names if scene.has_band(name)]
    image = _coarse(scene, there)
    found = np.full((len(card.statistics), len(names)), np.nan, np.float32)
    found[:, [names.index(name) for name in there]] = scene_statistics(image, card.statistics)
    return found


def _coarse(scene: Scene, names: list[str]) -> NDArray[np.float32]:
    """Return reflectance (bands, rows, columns) of the whole scene, the longest side about 1024."""
    from nubila.scenes.statistics import coarsening

    grid = scene.grid_at(scene.resolution * coarsening(scene.shape))
    image = np.empty((len(names), *grid.shape), np.float32)
    for row in range(0, grid.shape[0], _ROWS):
        rows = min(_ROWS, grid.shape[0] - row)
        window = Window(row, 0, rows, grid.shape[1])
        image[:, row : row + rows] = scene.read(names, window, grid.resolution).reflectance
    return image
