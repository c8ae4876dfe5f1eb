"""A run laid out before anything is read: bands, tiles, and the counts that they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from nubila.errors import BandError, GridError, MissingFileError
from nubila.infer.layout import Tile, lay_tiles
from nubila.infer.needs import Need, needs_of
from nubila.models_io import ModelCard
from nubila.raster import Grid, Window
from nubila.scenes import Scene
from nubila.scenes.auxiliary import auxiliary_advice

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True)
class Plan:
    """A run, laid out before anything is read.

    Attributes:
        scene: the scene.
        card: the model's card.
        resolution: metres.
        area: what is wanted, in pixels of the scene's grid at this resolution.
        grid: where the pixels of the area lie.
        required, optional: bands to read; those of the second kind that the scene has.
        rows: tiles by row, top to bottom; all tiles have the same shape.
    """

    scene: Scene
    card: ModelCard
    resolution: float
    area: Window
    grid: Grid
    required: tuple[str, ...]
    optional: tuple[str, ...]
    rows: tuple[tuple[Tile, ...], ...]

    @cached_property
    def scene_grid(self) -> Grid:
        """Grid of the whole scene at this resolution."""
        return self.scene.grid_at(self.resolution)

    @property
    def scene_shape(self) -> tuple[int, int]:
        """Rows and columns of the whole scene at this resolution."""
        return self.scene_grid.shape

    def batches(self, size: int) -> list[Sequence[Tile]]:
        """Return the tiles that go through the model together, left to right, top to bottom."""
        return [row[n : n + size] for row in self.rows for n in range(0, len(row), size)]

    def needs(self, batches: Sequence[Sequence[Tile]]) -> list[list[Need]]:
        """Return, for each batch of tiles, the counts that the scene will read for it."""
        return needs_of(self.scene, (*self.required, *self.optional), self.resolution, batches)


def make_plan(
    scene: Scene,
    card: ModelCard,
    *,
    resolution: float | None,
    window: Window | None,
    threads: int,
    tile: int | None,
) -> Plan:
    """Lay out a run; arguments as for `run_scene`.

    Raises:
        BandError: the scene lacks a band that the model needs.
        MissingFileError: the product has the band, but its file is not there.
        GridError: the resolution does not fit the scene, or the window is empty or outside of it.
        InputError: the tile is not larger than two halos.
    """
    size = (scene.default_resolution or scene.resolution) if resolution is None else resolution
    grid = scene.grid_at(size)
    area = Window.whole(grid.shape) if window is None else window
    if 0 in area.shape or area.intersect(Window.whole(grid.shape)) != area:
        raise GridError(
            f"{scene.path}: the area {area} is empty or reaches beyond the scene, which has "
            f"{grid.shape[0]} x {grid.shape[1]} pixels at {size:g} m"
        )
    required, optional = _bands(scene, card, size)
    rows = lay_tiles(grid.shape, area, card, threads=threads, tile=tile)
    return Plan(scene, card, size, area, grid.crop(area), required, optional, rows)


def _bands(
    scene: Scene, card: ModelCard, resolution: float
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the bands to read: those needed, and the optional ones that the scene has."""
    lacking = [name for name in card.required_bands if not scene.has_band(name)]
    # Bands that the product has, but whose files are not there: the error names the files.
    scene.levels([name for name in lacking if _is_missing(scene, name)], resolution)
    if lacking:
        raise BandError(
            f"{scene.path}: model {card.name} needs the band{'s'[: len(lacking) > 1]} "
            f"{', '.join(lacking)} (the scene has: {', '.join(scene.bands) or 'none'})"
            + auxiliary_advice(lacking)
        )
    if not any(scene.has_band(use.name) for use in card.bands):
        raise BandError(
            f"{scene.path}: none of the bands that model {card.name} takes is there "
            f"({', '.join(use.name for use in card.bands)}; the scene has: "
            f"{', '.join(scene.bands) or 'none'})"
        )
    names = [use.name for use in card.bands]
    optional = []
    for use in card.bands:
        if use.required or not scene.has_band(use.name):
            continue
        # The narrow near infrared stands in for the wide one, unless the model takes both.
        found = scene.band(use.name).name
        if found == use.name or found not in names:
            optional.append(use.name)
    return card.required_bands, tuple(optional)


def _is_missing(scene: Scene, name: str) -> bool:
    """Tell whether the product has a band, or the one that stands in for it, without its files."""
    try:
        scene.band(name)
    except MissingFileError:
        return True
    except BandError:
        return False
    return False
