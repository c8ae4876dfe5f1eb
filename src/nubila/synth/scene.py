"""Synthetic scenes with exact truth.

The truth follows from what the scene was made of, never from its pixels. A pixel is, in this
order:

1. no data (255) outside the swath;
2. cloud (1) where the clouds' summed optical thickness is at least `CLOUD_THICKNESS`;
3. thin cloud (2) where it is at least `THIN_THICKNESS`;
4. cloud shadow (3) where clouds let less than `SHADOW_TRANSMISSION` of the direct sunbeam
   through to the ground (over land, water and snow alike);
5. snow (4), glacier ice and snowed-over lakes included, where it covers more than half;
6. water (5) where it covers more than half;
7. clear (0).

Haze is not cloud, and shade of the terrain is not cloud shadow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import ClassCode
from nubila.errors import BandError, InputError, nearest
from nubila.raster.grid import Window
from nubila.synth.atmosphere import (
    Atmosphere,
    band_optics,
    delta_direct,
    layer_tables,
    table_index,
    table_thickness,
    two_stream,
)
from nubila.synth.clouds import CloudLayer, cloud_shade, layer_thickness, shadow_thickness
from nubila.synth.describe import SceneDescription, describe_scene
from nubila.synth.instrument import SENSOR_BANDS, outside_swath, saturation_limit, sensor_noise
from nubila.synth.noise import Axes, child_seed, fbm
from nubila.synth.surface import Surface, make_surface, surface_reflectance

__all__ = [
    "CLOUD_THICKNESS",
    "SHADOW_TRANSMISSION",
    "THIN_THICKNESS",
    "SyntheticScene",
    "check_bands",
    "make_scene",
    "random_chip",
    "render",
]

Floats = NDArray[np.float32]

CLOUD_THICKNESS: Final = 3.0
THIN_THICKNESS: Final = 0.4
SHADOW_TRANSMISSION: Final = 0.5

_LEVELS: Final = ("L1C", "L2A")
# Of the light that clouds scatter downwards, what reaches the ground in their shadow; the rest
# falls elsewhere or leaves through the sides of broken clouds.
_SPREAD = 0.4


@dataclass(frozen=True)
class SyntheticScene:
    """A window of a synthetic scene.

    Attributes:
        bands: common names, in the order of the first axis.
        reflectance: (bands, rows, columns) float32, 1.0 = 100 %, NaN outside the swath. At the
            top of the atmosphere for level L1C, at the ground for L2A.
        saturated: (bands, rows, columns), where the sensor's range ended.
        truth: (rows, columns) uint8 of `nubila.classes.ClassCode`; see the module for the rule.
        optical_thickness: (rows, columns) float32, of all clouds.
        direct_transmission: (rows, columns) float32, share of the sunbeam that clouds let
            through to the ground.
        window: of the scene, in pixels.
        shape: rows and columns of the whole scene.
        resolution: metres.
        description: what the scene was drawn to be; its sun is (elevation, azimuth) in degrees.
    """

    bands: tuple[str, ...]
    reflectance: Floats
    saturated: NDArray[np.bool_]
    truth: NDArray[np.uint8]
    optical_thickness: Floats
    direct_transmission: Floats
    window: Window
    shape: tuple[int, int]
    resolution: float
    sensor: str
    level: str
    description: SceneDescription

    @property
    def sun(self) -> tuple[float, float]:
        """The sun's elevation, and its azimuth clockwise from north, in degrees."""
        return self.description.sun


def make_scene(
    shape: tuple[int, int],
    *,
    resolution: float = 20.0,
    seed: int = 0,
    sensor: str = "sentinel-2-msi",
    level: str = "L1C",
    preset: str | None = None,
    biome: str | None = None,
    sky: str | None = None,
    sun: tuple[float, float] | None = None,
    swath: bool = False,
    bands: Sequence[str] | None = None,
    window: Window | None = None,
    measured: Mapping[str, Sequence[float]] | None = None,
) -> SyntheticScene:
    """Make a scene, or a window of it.

    The same arguments give the same pixels on the same machine, and a window of a scene has the
    pixels of the whole; so scenes of any size can be made in strips.

    Args:
        shape: rows and columns of the whole scene.
        resolution: metres a pixel; a scene of the same extent is the same at any resolution.
        seed: same seed, same scene.
        sensor: ``sentinel-2-msi``, ``landsat-oli``, ``landsat-etm+`` or ``landsat-tm``.
        level: ``L1C`` for reflectance at the top of the atmosphere, ``L2A`` at the ground.
        preset: a key of `nubila.synth.biomes.PRESETS`; drawn from the seed where None.
        biome: a key of `nubila.synth.biomes.BIOMES`; drawn from the preset where None.
        sky: one of `nubila.synth.biomes.SKIES`; drawn from the preset where None.
        sun: elevation and azimuth in degrees; drawn where None.
        swath: leave what lies outside the sensor's swath without data.
        bands: common names; all of the sensor's where None.
        window: part of the scene to make; all of it where None.
        measured: spectra in place of tabulated ones, as `nubila.synth.measured` draws them.

    Raises:
        InputError: sensor, level, preset, biome or sky is unknown.
        BandError: the sensor has no such band.
    """
    extent = shape[0] * resolution, shape[1] * resolution
    description = describe_scene(
        extent, seed=seed, preset=preset, biome=biome, sky=sky, sun=sun, swath=swath, sensor=sensor
    )
    if measured:
        ground = replace(description.ground, measured=measured)
        description = replace(description, ground=ground)
    return render(
        description,
        window or Window.whole(shape),
        resolution=resolution,
        sensor=sensor,
        level=level,
        bands=bands,
    )


def render(
    description: SceneDescription,
    window: Window,
    *,
    resolution: float,
    sensor: str = "sentinel-2-msi",
    level: str = "L1C",
    bands: Sequence[str] | None = None,
) -> SyntheticScene:
    """Make the pixels of a window of a described scene; see `make_scene` for the arguments."""
    names = check_bands(sensor, level, bands)
    axes = Axes.of_window(*_corner(window), *window.shape, resolution)
    sun = description.sun
    surface = make_surface(description.ground, axes, sun)
    sky = _Sky.over(description, axes)
    reflectance = np.empty((len(names), *window.shape), np.float32)
    saturated = np.zeros(reflectance.shape, bool)
    for number, band in enumerate(names):
        toa = _top_of_atmosphere(description, surface, sky, band)
        noise_seed = child_seed(description.seed, band)
        toa += sensor_noise(toa, noise_seed, _corner(window))
        limit = saturation_limit(sensor, band, sun[0])
        np.greater_equal(toa, limit, out=saturated[number])
        np.minimum(toa, np.float32(limit), out=toa)
        reflectance[number] = _corrected(toa, description, band) if level == "L2A" else toa
    truth = _truth(surface, sky)
    if description.swath is not None:
        outside = outside_swath(axes, description.swath)
        reflectance[:, outside] = np.nan
        saturated[:, outside] = False
        truth[outside] = ClassCode.NO_DATA
    shape = tuple(round(side / resolution) for side in description.extent)
    return SyntheticScene(
        bands=names,
        reflectance=reflectance,
        saturated=saturated,
        truth=truth,
        optical_thickness=sky.thickness,
        direct_transmission=sky.direct,
        window=window,
        shape=(shape[0], shape[1]),
        resolution=resolution,
        sensor=sensor,
        level=level,
        description=description,
    )


def random_chip(
    generator: np.random.Generator,
    shape: tuple[int, int] = (256, 256),
    *,
    resolution: float | None = None,
    bands: Sequence[str] | None = None,
    level: str | None = None,
    sensor: str = "sentinel-2-msi",
    preset: str | None = None,
    measured: Mapping[str, Sequence[float]] | None = None,
) -> tuple[Floats, NDArray[np.uint8]]:
    """Make a chip of a random scene, for training.

    Args:
        generator: source of chance; the same state gives the same chip.
        shape: rows and columns.
        resolution: metres a pixel; drawn from 10 to 60 where None.
        bands: common names; all of the sensor's (without ``cirrus`` at L2A) where None.
        level: ``L1C`` or ``L2A``; drawn where None.
        sensor: see `make_scene`.
        preset: a key of `PRESETS`; drawn, with every biome and sky in it, where None.
        measured: see `make_scene`.

    Returns:
        Reflectance (bands, rows, columns) float32 and truth (rows, columns) uint8.
    """
    size = resolution or float(np.exp(generator.uniform(math.log(10), math.log(60))))
    level = level or str(generator.choice(_LEVELS))
    seed = int(generator.integers(2**31))
    elevation, azimuth = float(generator.uniform(15, 70)), float(generator.uniform(90, 180))
    if generator.uniform() < 1 / 3:
        azimuth = 180 - azimuth
    # The chip is a part of a scene of 20 to 60 km, so that it may lie wholly in a lake or a cloud.
    side = int(generator.uniform(20_000, 60_000) / size)
    whole = max(side, shape[0]), max(side, shape[1])
    corner = [int(generator.integers(w - s + 1)) for w, s in zip(whole, shape, strict=True)]
    scene = make_scene(
        whole,
        resolution=size,
        seed=seed,
        sensor=sensor,
        level=level,
        preset=preset,
        sun=(elevation, azimuth),
        swath=bool(generator.uniform() < 0.05),
        bands=bands,
        window=Window(corner[0], corner[1], shape[0], shape[1]),
        measured=measured,
    )
    return scene.reflectance, scene.truth


def _corner(window: Window) -> tuple[int, int]:
    return window.row, window.column


def check_bands(sensor: str, level: str, bands: Sequence[str] | None) -> tuple[str, ...]:
    """Return the bands to make: `bands`, or all that a sensor has at a level.

    Raises:
        InputError: sensor or level is unknown.
        BandError: the sensor has no such band.
    """
    if sensor not in SENSOR_BANDS:
        known = ", ".join(SENSOR_BANDS)
        raise InputError(f"no synthetic sensor {sensor!r}{nearest(sensor, SENSOR_BANDS)} "
                         f"(known: {known})")  # fmt: skip
    if level not in _LEVELS:
        raise InputError(f"unknown level {level!r} (known: {', '.join(_LEVELS)})")
    there = tuple(b for b in SENSOR_BANDS[sensor] if level == "L1C" or b != "cirrus")
    for band in bands or ():
        if band not in there:
            raise BandError(
                f"{sensor} at level {level} has no band {band!r}{nearest(band, there)} "
                f"(bands: {', '.join(there)})"
            )
    return there if bands is None else tuple(bands)


@dataclass(frozen=True)
class _LayerImage:
    """A cloud layer over a window: where its thickness lies in the tables, and its relief."""

    layer: CloudLayer
    index: NDArray[np.intp]
    shade: Floats | None


@dataclass(frozen=True)
class _Sky:
    """The clouds and haze over a window, and the light that they let through to the ground."""

    images: tuple[_LayerImage, ...]
    thickness: Floats
    direct: Floats
    scattered: Floats | None
    haze: Floats | None

    @classmethod
    def over(cls, description: SceneDescription, axes: Axes) -> _Sky:
        thickness = np.zeros(axes.shape, np.float32)
        shading = np.zeros(axes.shape, np.float32)
        images = []
        for layer in description.layers:
            wide = layer_thickness(layer, axes.widen())
            own = wide[1:-1, 1:-1]
            shading += shadow_thickness(layer, axes, description.sun)
            if own.any():
                thickness += own
                shade = cloud_shade(layer, wide, axes.step, description.sun)
                images.append(_LayerImage(layer, table_index(own), shade))
        direct, scattered = _light_below(shading, description.sun[0])
        haze = None
        if description.haze > 0:
            seed = child_seed(description.seed, "haze")
            haze = np.clip(fbm(axes, seed, 6000.0, hurst=0.9, finest=300), 0, 2)
            haze *= np.float32(0.5 * description.haze)
        return cls(tuple(images), thickness, direct, scattered, haze)


def _light_below(shading: Floats, sun_elevation: float) -> tuple[Floats, Floats | None]:
    """Return direct transmission, and what clouds scatter into their shadows, or None."""
    if not shading.any():
        return np.ones(shading.shape, np.float32), None
    slant = 1 / math.sin(math.radians(sun_elevation))
    thickness = table_thickness()
    direct = delta_direct(thickness, slant)
    _, total = two_stream(thickness, slant, 0.85, 1e-6)
    scattered = _SPREAD * np.maximum(total - direct, 0)
    index = table_index(shading)
    return direct.astype(np.float32)[index], scattered.astype(np.float32)[index]


def _top_of_atmosphere(
    description: SceneDescription, surface: Surface, sky: _Sky, band: str
) -> Floats:
    """Return reflectance of a band at the top of the atmosphere, (rows, columns) float32."""
    air, elevation = description.atmosphere, description.sun[0]
    optics = band_optics(band, air, elevation)
    ground = surface_reflectance(surface, band)
    light = surface.light * sky.direct
    if sky.scattered is not None:
        light += sky.scattered
    light *= np.float32(1 - optics.diffuse)
    light += np.float32(optics.diffuse)
    toa = ground * light
    toa /= 1 - np.float32(optics.sphere) * ground
    toa *= np.float32(optics.transmission * optics.gas)
    toa += np.float32(optics.path * optics.gas)
    if sky.haze is not None:
        hazy = band_optics(band, Atmosphere(air.aerosol + 1, air.vapour, air.elevation), elevation)
        toa *= 1 - np.float32(1 - hazy.transmission / optics.transmission) * sky.haze
        toa += np.float32((hazy.path - optics.path) * optics.gas) * sky.haze
    for image in sky.images:
        top = air.elevation + image.layer.top
        glow, passed = layer_tables(band, air, elevation, image.layer.phase, top)
        toa *= np.take(passed, image.index)
        bright = np.take(glow, image.index)
        if image.shade is not None:
            bright *= image.shade
        toa += bright
    return toa


def _corrected(toa: Floats, description: SceneDescription, band: str) -> Floats:
    """Return reflectance at the ground as an atmospheric correction finds it from `toa`.

    The exact inverse of the clear air's effect: clouds stay, and shadows stay dark.
    """
    optics = band_optics(band, description.atmosphere, description.sun[0])
    level = toa * np.float32(1 / (optics.gas * optics.transmission))
    level -= np.float32(optics.path / optics.transmission)
    level /= 1 + np.float32(optics.sphere) * level
    return level


def _truth(surface: Surface, sky: _Sky) -> NDArray[np.uint8]:
    truth = np.full(sky.thickness.shape, ClassCode.CLEAR, np.uint8)
    truth[surface.water > 0.5] = ClassCode.WATER
    truth[surface.snow > 0.5] = ClassCode.SNOW
    truth[sky.direct < SHADOW_TRANSMISSION] = ClassCode.CLOUD_SHADOW
    truth[sky.thickness >= THIN_THICKNESS] = ClassCode.THIN_CLOUD
    truth[sky.thickness >= CLOUD_THICKNESS] = ClassCode.CLOUD
    return truth
