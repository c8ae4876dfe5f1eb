"""Hard cases from `nubila.synth`, whose truth is exact."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from nubila.classes import NO_DATA
from nubila.datasets.sample import Sample, SampleMeta
from nubila.evaluate.hard.case import HardImage
from nubila.raster.grid import Window
from nubila.synth.describe import describe_scene
from nubila.synth.scene import render

__all__ = ["synthetic_images"]

_SIDE: Final = 384
# Training draws seeds below 2 ** 31, so these scenes are in no training set of ours.
_FIRST_SEED: Final = 2**31
_SENSOR: Final = "sentinel-2-msi"


@dataclass(frozen=True)
class _Scene:
    """One synthetic scene.

    Attributes:
        case, note: as of `HardImage`.
        biome, sky: as of `nubila.synth.make_scene`.
        number: added to the first seed.
        preset: as of `nubila.synth.make_scene`; ``snow`` makes sure of snow.
        level: ``L1C`` or ``L2A``.
        resolution: metres a pixel.
        sun: elevation and azimuth in degrees; drawn where None.
        glint: reflectance that the sun adds to open water; drawn where None.
        swath: cut at the edge of the swath.
        limit: reflectance at which the sensor ends, in all bands; None for its own.
    """

    case: str
    note: str
    biome: str
    sky: str
    number: int
    preset: str = "mixed"
    level: str = "L1C"
    resolution: float = 20.0
    sun: tuple[float, float] | None = None
    glint: float | None = None
    swath: bool = False
    limit: float | None = None

    @property
    def name(self) -> str:
        place = f"{self.biome}-{self.sky}".replace(" ", "-")
        return f"synth/{place}-{self.number}-{self.level}"


_LOW_SUN: Final = (16.0, 160.0)

_SCENES: Final = (
    _Scene("clear snow", "mountains", "alpine", "clear", 6, "snow"),
    _Scene("clear snow", "mountains", "alpine", "clear", 23, "snow", level="L2A"),
    _Scene("clear snow", "tundra, low sun", "tundra", "clear", 24, "snow", sun=_LOW_SUN),
    _Scene("clear snow", "boreal forest", "boreal", "clear", 25, "snow", level="L2A"),
    _Scene("clear snow", "ice sheet", "ice sheet", "clear", 28, "snow"),
    _Scene("snow under cloud", "mountains, broken cloud", "alpine", "broken", 49, "snow"),
    _Scene("snow under cloud", "tundra, cumulus", "tundra", "cumulus", 50, "snow", level="L2A"),
    _Scene("snow under cloud", "ice sheet, cirrus", "ice sheet", "cirrus", 53, "snow"),
    _Scene(
        "snow under cloud", "ice sheet, stratocumulus", "ice sheet", "stratocumulus", 56, "snow"
    ),
    _Scene("ice", "glaciers and rock", "ice sheet", "clear", 60, level="L2A"),
    _Scene("bright sand", "dunes", "dunes", "clear", 61),
    _Scene("bright sand", "dunes", "dunes", "clear", 62, level="L2A"),
    _Scene("bright sand", "gravel and sand", "desert", "clear", 63),
    _Scene("salt", "salt flat", "salt flat", "clear", 64),
    _Scene("salt", "salt flat", "salt flat", "clear", 65, level="L2A"),
    _Scene("beach and glint", "coast, strong glint", "coast", "clear", 66, glint=0.08),
    _Scene("beach and glint", "coast, glint", "coast", "clear", 67, level="L2A", glint=0.04),
    _Scene("beach and glint", "open sea, strong glint", "ocean", "clear", 68, glint=0.1),
    _Scene("city", "city", "city", "clear", 69, resolution=10.0),
    _Scene("city", "city", "city", "clear", 70, level="L2A"),
    _Scene("city", "city, 30 m", "city", "clear", 71, resolution=30.0),
    _Scene("overcast", "over farmland", "temperate", "overcast", 72),
    _Scene("overcast", "over sea", "ocean", "overcast", 75, level="L2A"),
    _Scene("overcast", "over snow", "tundra", "overcast", 77, "snow"),
    _Scene("overcast", "over forest", "tropical", "overcast", 78, level="L2A"),
    _Scene("saturated", "all bands end at 0.4", "temperate", "overcast", 79, limit=0.4),
    _Scene("saturated", "all bands end at 0.65", "tropical", "broken", 84, limit=0.65),
    _Scene("thin cloud over water", "cirrus", "ocean", "cirrus", 85),
    _Scene("thin cloud over water", "cirrus", "ocean", "cirrus", 93, level="L2A"),
    _Scene("thin cloud over land", "cirrus", "temperate", "cirrus", 99),
    _Scene("thin cloud over land", "cirrus", "savanna", "cirrus", 105, level="L2A"),
    _Scene("thin cloud over land", "cirrus", "desert", "cirrus", 107),
    _Scene("small cumulus", "over farmland", "steppe", "cumulus", 108),
    _Scene("small cumulus", "over forest", "tropical", "cumulus", 109, level="L2A"),
    _Scene("fog", "over farmland", "temperate", "fog", 110),
    _Scene("fog", "over a coast", "green coast", "fog", 120, level="L2A"),
    _Scene("shadow on water", "cumulus over sea", "ocean", "cumulus", 121),
    _Scene("shadow on water", "broken cloud over a coast", "coast", "broken", 130, level="L2A"),
    _Scene("no data", "clear, edge of the swath", "temperate", "clear", 131, swath=True),
    _Scene("no data", "snow, edge of the swath", "alpine", "clear", 142, "snow", swath=True),
    _Scene("no data", "broken cloud, edge of the swath", "savanna", "broken", 146, swath=True),
    _Scene("dark terrain", "mountains, low sun", "mediterranean", "clear", 147, sun=_LOW_SUN),
    _Scene("dark terrain", "mountains, low sun", "desert", "clear", 148, level="L2A", sun=_LOW_SUN),
    _Scene(
        "dark terrain", "snowy mountains, low sun", "alpine", "clear", 149, "snow", sun=_LOW_SUN
    ),
)


def synthetic_images(side: int = _SIDE) -> tuple[HardImage, ...]:
    """Return the hard cases that are built in; each is made when it is read.

    Args:
        side: rows and columns.
    """
    return tuple(
        HardImage(scene.case, scene.name, "synthetic", scene.note, partial(_sample, scene, side))
        for scene in _SCENES
    )


def _sample(scene: _Scene, side: int) -> Sample:
    extent = side * scene.resolution
    description = describe_scene(
        (extent, extent),
        seed=_FIRST_SEED + scene.number,
        preset=scene.preset,
        biome=scene.biome,
        sky=scene.sky,
        sun=scene.sun,
        swath=scene.swath,
        sensor=_SENSOR,
    )
    if scene.glint is not None:
        description = replace(description, ground=replace(description.ground, glint=scene.glint))
    made = render(
        description,
        Window.whole((side, side)),
        resolution=scene.resolution,
        sensor=_SENSOR,
        level=scene.level,
    )
    image = made.reflectance
    if scene.limit is not None:
        image = np.minimum(image, np.float32(scene.limit))
    known = made.truth != NO_DATA
    label = np.where(known, np.left_shift(1, np.where(known, made.truth, 0)), 0).astype(np.uint8)
    meta = SampleMeta(
        id=scene.name,
        folder="synth",
        group=scene.name,
        split="",
        sensor=_SENSOR,
        level=scene.level,
        resolution=scene.resolution,
        tags={},
    )
    return Sample(image, label, made.bands, meta)
