"""Drawing what a scene is like: everything random about it apart from the fields themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from nubila.errors import InputError, nearest
from nubila.synth.atmosphere import Atmosphere
from nubila.synth.biomes import BIOMES, PRESETS, SKIES, Biome, Preset
from nubila.synth.clouds import CloudLayer, draw_sky
from nubila.synth.instrument import Swath, draw_swath
from nubila.synth.noise import exceeded_by
from nubila.synth.surface import Ground

__all__ = ["SceneDescription", "describe_scene"]

# "mixed" more often; without what came later: a seed keeps the scene that it gave before.
_LATER: Final = ("storm", "thin stratus")
_BY_CHANCE: Final = (*(name for name in PRESETS if name not in _LATER), "mixed", "mixed", "mixed")

_T = TypeVar("_T")


@dataclass(frozen=True)
class SceneDescription:
    """All that is drawn for a scene; the pixels of any window follow from it.

    Attributes:
        seed: of the scene.
        preset: name of the preset it was drawn from.
        extent: size in metres, north to south and west to east.
        ground: surface.
        sky: name of the kind of sky.
        layers: clouds, lowest first.
        atmosphere: clear air.
        haze: greatest optical thickness at 550 nm of patches of haze, on top of the aerosol.
        sun: elevation and azimuth (clockwise from north) in degrees.
        swath: what the sensor saw of the scene, or None for all of it.
    """

    seed: int
    preset: str
    extent: tuple[float, float]
    ground: Ground
    sky: str
    layers: tuple[CloudLayer, ...]
    atmosphere: Atmosphere
    haze: float
    sun: tuple[float, float]
    swath: Swath | None


def describe_scene(
    extent: tuple[float, float],
    *,
    seed: int = 0,
    preset: str | None = None,
    biome: str | None = None,
    sky: str | None = None,
    sun: tuple[float, float] | None = None,
    swath: bool = False,
    gaps: bool = False,
    sensor: str = "sentinel-2-msi",
) -> SceneDescription:
    """Draw a scene.

    Args:
        extent: metres, north to south and west to east.
        seed: same seed, same scene.
        preset: a key of `PRESETS`; drawn from the seed where None.
        biome: a key of `BIOMES`; drawn from the preset where None.
        sky: a key of `SKIES`; drawn from the preset where None.
        sun: elevation and azimuth in degrees; drawn where None.
        swath: leave what lies outside the sensor's swath without data.
        gaps: the swath has the gaps of Landsat 7 since 2003.
        sensor: whose swath.

    Raises:
        InputError: preset, biome or sky is unknown.
    """
    generator = np.random.default_rng(seed)
    preset = preset or str(generator.choice(_BY_CHANCE))
    chosen: Preset = _lookup("preset", preset, PRESETS)
    land = _lookup("biome", biome or _draw(generator, chosen.biomes), BIOMES)
    sky = sky or _draw(generator, chosen.skies)
    _lookup("sky", sky, dict.fromkeys(SKIES))
    size = max(extent)
    ground = _draw_ground(generator, land, chosen.snow, size)
    layers = draw_sky(sky, generator, extent=size, warm=land.snow < 0.3)
    hazy = float(generator.uniform(0.1, 0.7)) if generator.uniform() < 0.25 else 0.0
    atmosphere = Atmosphere(
        aerosol=float(generator.uniform(*land.aerosol)),
        vapour=float(generator.uniform(*land.vapour)),
        elevation=float(generator.uniform(*land.ground)),
    )
    drawn_sun = _draw_sun(generator, winter=ground.snow_line is not None)
    seen = draw_swath(sensor, extent, generator, gaps=gaps)
    return SceneDescription(
        seed=seed,
        preset=preset,
        extent=extent,
        ground=ground,
        sky=sky,
        layers=layers,
        atmosphere=atmosphere,
        haze=hazy,
        sun=sun or drawn_sun,
        swath=seen if swath or gaps else None,
    )


def _lookup(kind: str, name: str, table: Mapping[str, _T]) -> _T:
    if name not in table:
        known = ", ".join(table)
        raise InputError(f"unknown {kind} {name!r}{nearest(name, table)} (known: {known})")
    return table[name]


def _draw(generator: np.random.Generator, weights: Mapping[str, float]) -> str:
    shares = np.asarray(list(weights.values()))
    return str(generator.choice(list(weights), p=shares / shares.sum()))


def _draw_sun(generator: np.random.Generator, *, winter: bool) -> tuple[float, float]:
    """Mid-morning sun, east of south or (one scene in three) east of north."""
    elevation = float(generator.uniform(15, 50) if winter else generator.uniform(22, 70))
    azimuth = float(generator.uniform(110, 175))
    if generator.uniform() < 1 / 3:
        azimuth = 180 - azimuth
    return elevation, azimuth % 360


def _draw_ground(
    generator: np.random.Generator, biome: Biome, least_snow: float, size: float
) -> Ground:
    uniform = generator.uniform
    relief = float(uniform(*biome.relief))
    rugged = float(uniform(*biome.rugged))
    scale = float(np.clip(size / 2.5, 3000, 24000) * uniform(0.7, 1.3))
    relief *= min(1.0, scale / 9000) ** 0.8  # small scenes: hills of the same steepness
    snowy = uniform() < biome.snow or least_snow > 0
    share = float(uniform(max(least_snow, 0.1), 1.15))
    return Ground(
        biome=biome,
        seed=int(generator.integers(2**31)),
        scale=scale,
        relief=relief,
        rugged=rugged,
        farmland=float(uniform(*biome.farmland)),
        parcel=float(np.exp(uniform(math.log(biome.parcel[0]), math.log(biome.parcel[1])))),
        city=float(uniform(*biome.city)),
        water_level=-exceeded_by(float(uniform(*biome.water))),
        river=float(np.exp(uniform(math.log(25), math.log(400))))
        if uniform() < biome.river
        else 0.0,
        glint=float(generator.exponential(0.02)) if uniform() < 0.4 else 0.0,
        snow_line=relief * exceeded_by(share) - 0.15 * relief if snowy else None,
        frozen=bool(uniform() < 0.6),
        dry=float(uniform(0, 1)),
    )
