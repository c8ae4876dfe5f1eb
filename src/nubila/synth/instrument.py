"""What the sensor does to reflectance: noise, saturation, and the edge of its swath."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.synth.noise import Axes, white

__all__ = [
    "SENSOR_BANDS",
    "Swath",
    "draw_swath",
    "outside_swath",
    "saturation_limit",
    "sensor_noise",
]

Floats = NDArray[np.float32]

_OLI = ("coastal", "blue", "green", "red", "nir08", "swir16", "swir22", "cirrus")
_TM = ("blue", "green", "red", "nir08", "swir16", "swir22")
# Bands that scenes are made in, without the thermal and panchromatic ones.
SENSOR_BANDS: Final[dict[str, tuple[str, ...]]] = {
    "sentinel-2-msi": (
        "coastal", "blue", "green", "red", "rededge071", "rededge075", "rededge078", "nir",
        "nir08", "nir09", "cirrus", "swir16", "swir22",
    ),
    "landsat-oli": _OLI,
    "landsat-etm+": _TM,
    "landsat-tm": _TM,
}  # fmt: skip

# Sentinel-2: greatest radiance of the 12-bit range (W m-2 sr-1 um-1; Drusch et al. 2012,
# doi:10.1016/j.rse.2011.11.026, table 1) and solar irradiance (W m-2 um-1, as in the products'
# metadata of Sentinel-2A).
_MSI: Final = {
    "coastal": (588.0, 1884.69),
    "blue": (615.5, 1959.72),
    "green": (559.0, 1823.24),
    "red": (484.0, 1512.06),
    "rededge071": (449.5, 1424.64),
    "rededge075": (413.0, 1287.61),
    "rededge078": (387.0, 1162.08),
    "nir": (308.0, 1041.63),
    "nir08": (308.0, 955.32),
    "nir09": (233.0, 812.92),
    "cirrus": (45.0, 367.15),
    "swir16": (70.0, 245.59),
    "swir22": (24.5, 85.25),
}
# Landsat 8 OLI's REFLECTANCE_MAXIMUM before the sun's correction; for TM and ETM+ (bands 1 to 3
# and 5, 7 in high gain, 4 in low gain) pi * LMAX / ESUN after Chander et al. (2009),
# doi:10.1016/j.rse.2009.01.007.
_LANDSAT: Final = {
    "landsat-oli": dict.fromkeys(_OLI, 1.2107),
    "landsat-etm+": dict(zip(_TM, (0.306, 0.335, 0.310, 0.726, 0.432, 0.414), strict=True)),
    "landsat-tm": dict(zip(_TM, (0.306, 0.638, 0.540, 0.673, 0.431, 0.621), strict=True)),
}
# Noise at zero reflectance, and its square's growth with reflectance: about the signal-to-noise
# ratios of MSI at its reference radiances (89 to 174; Drusch et al. 2012).
_NOISE_FLOOR = 4e-4
_NOISE_GROWTH = 4e-6


def saturation_limit(sensor: str, band: str, sun_elevation: float) -> float:
    """Return the top-of-atmosphere reflectance above which a band saturates."""
    mu = math.sin(math.radians(sun_elevation))
    if sensor == "sentinel-2-msi":
        radiance, irradiance = _MSI[band]
        return math.pi * radiance / (irradiance * mu)
    return _LANDSAT[sensor][band] / mu


def sensor_noise(reflectance: Floats, seed: int, origin: tuple[int, int]) -> Floats:
    """Return the noise to add to reflectance of a window at `origin` (row, column)."""
    noise = white(seed, *origin, *reflectance.shape)
    spread = np.maximum(reflectance, 0) * np.float32(_NOISE_GROWTH)
    spread += np.float32(_NOISE_FLOOR**2)
    np.sqrt(spread, out=spread)
    spread *= noise
    return spread


@dataclass(frozen=True)
class Swath:
    """Where the sensor looked: on one side of each border, and between the gaps.

    Attributes:
        borders: (east, south, limit); ground is seen where
            ``east * x + south * y <= limit`` in metres.
        gaps: Landsat 7's wedge-shaped gaps after its scan line corrector failed, as (tangent of
            the track's angle to north, x and y of the middle of the scene, half its width), or
            None.
    """

    borders: tuple[tuple[float, float, float], ...]
    gaps: tuple[float, float, float, float] | None = None


def draw_swath(
    sensor: str, extent: tuple[float, float], generator: np.random.Generator, *, gaps: bool
) -> Swath:
    """Draw the part of a scene that the sensor saw.

    Sentinel-2's tiles lose one side to the slanted edge of the swath; Landsat's scenes are turned
    squares that touch all sides of their grid.

    Args:
        sensor: see `SENSOR_BANDS`.
        extent: metres, north to south and west to east.
        generator: source of chance.
        gaps: with Landsat 7's gaps.
    """
    height, width = extent
    if sensor == "sentinel-2-msi":
        slant = float(generator.uniform(0.18, 0.25))
        crossing = float(generator.uniform(0.55, 0.85)) * width
        return Swath(((1.0, slant, crossing + slant * height / 2),))
    tilt = math.radians(float(generator.uniform(9, 14)))
    sine, cosine = math.sin(tilt), math.cos(tilt)
    half = min(height, width) / (2 * (sine + cosine))
    x, y = width / 2, height / 2
    sides = ((cosine, sine), (-cosine, -sine), (-sine, cosine), (sine, -cosine))
    borders = tuple((a, b, half + a * x + b * y) for a, b in sides)
    return Swath(borders, (math.tan(tilt), x, y, half) if gaps else None)


def outside_swath(axes: Axes, swath: Swath) -> NDArray[np.bool_]:
    """Return where there is no data, (rows, columns)."""
    x, y = axes.x[None, :], axes.y[:, None]
    outside = np.zeros(axes.shape, bool)
    for east, south, limit in swath.borders:
        outside |= east * x + south * y > limit
    if swath.gaps is not None:
        outside |= _scan_gaps(x, y, swath.gaps)
    return outside


def _scan_gaps(
    x: NDArray[np.float64], y: NDArray[np.float64], gaps: tuple[float, float, float, float]
) -> NDArray[np.bool_]:
    """Return Landsat 7's gaps: none in the middle, 14 lines wide at the sides.

    A pair of scans is 32 lines of 30 m; the gaps of the two sides alternate (U.S. Geological
    Survey, SLC-off products: background, 2004).
    """
    slope, middle_x, middle_y, half = gaps
    across = ((x - middle_x) + slope * (y - middle_y)) / half
    along = (y - middle_y) - slope * (x - middle_x)
    phase = (along / (32 * 30.0) + 0.5 * (across > 0)) % 1.0
    return phase * 32 < 14 * np.abs(across)
