"""Where the sun stood over a Landsat scene whose files do not say it."""

from __future__ import annotations

import math
from datetime import date

__all__ = ["sun_elevation"]


def sun_elevation(row: int, day: date) -> float:
    """Return the sun's elevation in degrees at the middle of a Landsat 8 scene; within 0.5 degrees.

    The orbit (inclination 98.2 degrees, 248 rows a turn, the descending node on row 60 at 10:12
    mean local time: USGS, Landsat 8 Data Users Handbook, version 5) gives latitude and local time,
    Spencer (1971), Search 2 (5) the sun's declination and the equation of time.

    Args:
        row: WRS-2 row.
        day: date of the scene.
    """
    inclination, along = math.radians(98.2), math.radians((row - 60) * 360 / 248)
    latitude = math.asin(-math.sin(inclination) * math.sin(along))
    east = math.atan2(math.cos(inclination) * math.sin(along), math.cos(along))
    year = 2 * math.pi * (day.timetuple().tm_yday - 1) / 365
    declination = (
        0.006918
        - 0.399912 * math.cos(year)
        + 0.070257 * math.sin(year)
        - 0.006758 * math.cos(2 * year)
        + 0.000907 * math.sin(2 * year)
        - 0.002697 * math.cos(3 * year)
        + 0.00148 * math.sin(3 * year)
    )
    equation = (
        0.000075
        + 0.001868 * math.cos(year)
        - 0.032077 * math.sin(year)
        - 0.014615 * math.cos(2 * year)
        - 0.040849 * math.sin(2 * year)
    )
    hour_angle = math.radians(15 * (10.2 - 12)) + east + equation
    sine = math.sin(latitude) * math.sin(declination) + math.cos(latitude) * math.cos(
        declination
    ) * math.cos(hour_angle)
    return math.degrees(math.asin(sine))
