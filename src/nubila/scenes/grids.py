"""One grid for the bands of a scene."""

from __future__ import annotations

from collections.abc import Mapping

from nubila.errors import GridError
from nubila.raster.grid import Grid
from nubila.scenes.scene import Band

__all__ = ["common_grid"]


def common_grid(path: str, bands: Mapping[str, Band]) -> Grid:
    """Return the finest grid among the bands, which must all lie on the same ground.

    Args:
        path: what an error calls the scene.
        bands: by name, of any resolutions; those without files are passed over.

    Raises:
        GridError: CRS or extent differ, or a grid is turned against north.
    """
    files = [file for band in bands.values() for file in band.files]
    finest = min(files, key=lambda file: file.grid.resolution)
    for file in files:
        if not file.grid.transform.is_rectilinear or file.grid.transform.b:
            raise GridError(
                f"{file.source.name}: its grid is turned or sheared "
                f"({_text(file.grid)}); bring it to north-up with gdalwarp first"
            )
        if not file.grid.matches(finest.grid):
            raise GridError(
                f"{path}: the bands do not lie on the same ground:\n"
                f"  {finest.source.name}: {_text(finest.grid)}\n"
                f"  {file.source.name}: {_text(file.grid)}\n"
                f"Give files of one CRS and extent (bring them together with gdalwarp -te -t_srs)."
            )
    return finest.grid


def _text(grid: Grid) -> str:
    bounds = ", ".join(f"{b:.10g}" for b in grid.bounds)
    return f"{grid.crs or 'no CRS'}, bounds ({bounds}), {grid.shape[0]} x {grid.shape[1]} pixels"
