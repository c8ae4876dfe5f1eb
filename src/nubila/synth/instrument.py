"""What the sensor does to reflectance: noise, saturation, and the edge of its swath."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.synth.noise import Axes, white

__all__ = ["SENSOR_BANDS", "outside_swath", "saturation_limit", "sensor_noise"]

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
# Landsat 8 OLI's REFLECTANCE_MAXIMUM before the sun's correction; the 8-bit TM and ETM+ saturate
# near these planetary reflectances in high and low gain (Chander et al. 2009,
# doi:10.1016/j.rse.2009.01.007, LMAX over irradiance).
_OLI_LIMIT = 1.2107
_TM_LIMIT: Final = {
    "blue": 0.31,
    "green": 0.57,
    "red": 0.52,
    "nir08": 0.68,
    "swir16": 0.44,
    "swir22": 0.64,
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
    if sensor == "landsat-oli":
        return _OLI_LIMIT / mu
    return _TM_LIMIT[band] / mu


def sensor_noise(reflectance: Floats, seed: int, origin: tuple[int, int]) -> Floats:
    """Return the noise to add to reflectance of a window at `origin` (row, column)."""
    noise = white(seed, *origin, *reflectance.shape)
    spread = np.maximum(reflectance, 0) * np.float32(_NOISE_GROWTH)
    spread += np.float32(_NOISE_FLOOR**2)
    np.sqrt(spread, out=spread)
    spread *= noise
    return spread


def outside_swath(
    axes: Axes, extent: tuple[float, float], edge: tuple[float, float]
) -> NDArray[np.bool_]:
    """Return where the swath's slanted edge leaves no data, (rows, columns).

    Args:
        axes: where.
        extent: of the scene in metres, north to south and west to east.
        edge: where the edge crosses the middle row, as a share of the width, and the tangent of
            its angle to north; what lies east of it is cut off.
    """
    share, slant = edge
    border = share * extent[1] + slant * (extent[0] / 2 - axes.y)
    return axes.x[None, :] > border[:, None]
