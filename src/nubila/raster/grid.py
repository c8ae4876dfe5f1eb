"""Where pixels lie: windows, grids, and how one grid's pixels weigh into another's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from numbers import Real

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.transform import array_bounds
from rasterio.warp import transform, transform_bounds

from nubila.errors import GridError

__all__ = ["Grid", "Window"]

Bounds = tuple[float, float, float, float]

# Length of a degree on the WGS 84 ellipsoid at latitude 45 (National Geospatial-Intelligence
# Agency, TR8350.2); within 1 % everywhere, enough to choose a resolution by.
METRES_PER_DEGREE = 111_132.0


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels: first row, first column, and how many of each.

    >>> Window(10, 20, 5, 5).expand(100, within=(50, 50))
    Window(row=0, column=0, height=50, width=50)
    """

    row: int
    column: int
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    @property
    def stop_row(self) -> int:
        """First row below the window."""
        return self.row + self.height

    @property
    def stop_column(self) -> int:
        """First column right of the window."""
        return self.column + self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices, for indexing the last two axes of an array."""
        return slice(self.row, self.stop_row), slice(self.column, self.stop_column)

    @classmethod
    def between(cls, row: int, column: int, stop_row: int, stop_column: int) -> Window:
        """Return the window that starts at one corner and ends before the other."""
        return cls(row, column, max(0, stop_row - row), max(0, stop_column - column))

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Window:
        """Return the window over a whole array of `shape` (rows, columns)."""
        return cls(0, 0, *shape)

    def intersect(self, other: Window) -> Window:
        """Return the part that both windows share; its shape has a zero where they share none."""
        return Window.between(
            max(self.row, other.row),
            max(self.column, other.column),
            min(self.stop_row, other.stop_row),
            min(self.stop_column, other.stop_column),
        )

    def expand(self, margin: int, *, within: tuple[int, int]) -> Window:
        """Return the window grown by `margin` pixels on each side, cut to an array's shape."""
        grown = Window(
            self.row - margin,
            self.column - margin,
            self.height + 2 * margin,
            self.width + 2 * margin,
        )
        return grown.intersect(Window.whole(within))

    def shift(self, rows: int, columns: int) -> Window:
        """Return the window moved by so many rows and columns."""
        return Window(self.row + rows, self.column + columns, self.height, self.width)


@lru_cache(maxsize=64)
def _is_mercator(wkt: str) -> bool:
    """Tell whether a CRS is in a normal Mercator projection, which is far from true to scale."""
    conversion = CRS.from_wkt(wkt).to_dict(projjson=True).get("conversion", {})
    method = str(conversion.get("method", {}).get("name", ""))
    return "Mercator" in method and "Transverse" not in method and "Oblique" not in method


@dataclass(frozen=True)
class Grid:
    """A CRS, an affine transform (pixel corner to CRS) and a shape (rows, columns).

    `crs` is None for arrays without a georeference; one pixel is then one metre unless the
    transform says otherwise.
    """

    crs: CRS | None
    transform: Affine
    shape: tuple[int, int]

    @property
    def bounds(self) -> Bounds:
        """Left, bottom, right, top in the grid's CRS, whichever way the grid is turned."""
        rows, columns = self.shape
        if self.transform.is_rectilinear:
            west, south, east, north = array_bounds(rows, columns, self.transform)
            return min(west, east), min(south, north), max(west, east), max(south, north)
        corners = [self.transform * c for c in ((0, 0), (columns, 0), (0, rows), (columns, rows))]
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    @property
    def is_turned(self) -> bool:
        """Whether rows or columns run askew to the axes of the CRS, by a pixel over the grid."""
        a, b, _, d, e, _ = (abs(v) for v in self.transform[:6])
        rows, columns = self.shape
        upright = b * rows < a and d * columns < e
        on_its_side = a * columns < b and e * rows < d
        return not (upright or on_its_side)

    @cached_property
    def pixel_size(self) -> tuple[float, float]:
        """Height and width of a pixel in metres on the ground, at the grid's middle.

        Degrees, feet, and Mercator's scale of 1 / cos(latitude) (Snyder 1987, USGS Professional
        Paper 1395, p. 44) are allowed for; other projections are taken as true to scale.
        """
        a, b, _, d, e, _ = self.transform[:6]
        height, width = math.hypot(b, e), math.hypot(a, d)
        if self.crs is None:
            return height, width
        if self.crs.is_geographic:
            middle = (self.bounds[1] + self.bounds[3]) / 2
            east = METRES_PER_DEGREE * max(math.cos(math.radians(middle)), 1e-6)
            return height * METRES_PER_DEGREE, width * east
        try:
            factor = float(self.crs.linear_units_factor[1])
        except CRSError:  # a local CRS, of a building site or of nothing: as without one
            factor = 1.0
        if _is_mercator(self.crs.to_wkt()):
            west, south, east, north = self.bounds
            middle = transform(self.crs, "EPSG:4326", [(west + east) / 2], [(south + north) / 2])
            factor *= math.cos(math.radians(middle[1][0]))
        return height * factor, width * factor

    @property
    def resolution(self) -> float:
        """Ground resolution in metres: the geometric mean of a pixel's two sides."""
        height, width = self.pixel_size
        return math.sqrt(height * width)

    def at(self, resolution: float) -> Grid:
        """Return the grid over the same ground, from the same corner, at another resolution.

        Args:
            resolution: metres a pixel, for both axes.

        Raises:
            GridError: the resolution is not a positive number.
        """
        known = isinstance(resolution, Real) and math.isfinite(resolution)
        if not (known and resolution > 0):
            raise GridError(f"resolution must be a positive number of metres, got {resolution!r}")
        if math.isclose(resolution, self.resolution, rel_tol=1e-6):
            return self  # also where pixels are not square: its own resolution leaves it as it is
        factors = [resolution / side for side in self.pixel_size]
        # A metre pixel seen from degrees or feet is never exactly 1: snap what is meant to be 1.
        rows_factor, columns_factor = (1.0 if abs(f - 1) < 1e-6 else f for f in factors)
        shape = (
            max(1, math.ceil(self.shape[0] / rows_factor - 1e-6)),
            max(1, math.ceil(self.shape[1] / columns_factor - 1e-6)),
        )
        return Grid(self.crs, self.transform * Affine.scale(columns_factor, rows_factor), shape)

    def crop(self, window: Window) -> Grid:
        """Return the grid of a window of this one."""
        corner = self.transform * Affine.translation(window.column, window.row)
        return Grid(self.crs, corner, window.shape)

    def window_of(self, bounds: Bounds, crs: CRS | None = None) -> Window:
        """Return the window that covers `bounds`, given in `crs` (default: the grid's own).

        Raises:
            GridError: nothing of the bounds lies on the grid, or they cannot be transformed.
        """
        wanted = bounds
        if crs is not None and self.crs is not None and crs != self.crs:
            try:
                wanted = transform_bounds(crs, self.crs, *bounds)
            except RasterioError as error:
                raise GridError(f"bounds {bounds} in {crs} do not transform: {error}") from error
        west, south, east, north = wanted
        inverse = ~self.transform
        corners = [
            inverse * c for c in ((west, north), (east, north), (west, south), (east, south))
        ]
        columns, rows = zip(*corners, strict=True)
        if not np.isfinite([*columns, *rows]).all():
            raise GridError(f"bounds {bounds} have no place on the grid of {self.crs}")
        window = Window.between(
            math.floor(min(rows) + 1e-6),
            math.floor(min(columns) + 1e-6),
            math.ceil(max(rows) - 1e-6),
            math.ceil(max(columns) - 1e-6),
        ).intersect(Window.whole(self.shape))
        if 0 in window.shape:
            raise GridError(
                f"the area {tuple(round(b, 6) for b in bounds)} lies outside the scene, whose "
                f"bounds are {tuple(round(b, 6) for b in self.bounds)} in {self.crs}"
            )
        return window

    def matches(self, other: Grid, *, tolerance: float = 0.5) -> bool:
        """Tell whether two grids lie on the same ground: same CRS, corners within a tolerance.

        Args:
            other: a grid of any resolution.
            tolerance: of the first pixel's corner, in pixels of the coarser grid. The far edges
                may differ by not quite one such pixel, for sizes are rounded up.
        """
        if self.crs != other.crs:
            return False
        coarse = max(self, other, key=lambda g: abs(g.transform.a)).transform
        pixel = max(abs(coarse.a), abs(coarse.e))
        corner, other_corner = ((g.transform.c, g.transform.f) for g in (self, other))
        return bool(
            np.allclose(corner, other_corner, rtol=0, atol=tolerance * pixel)
            and np.allclose(self.bounds, other.bounds, rtol=0, atol=0.999 * pixel)
        )
