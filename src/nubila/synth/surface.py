"""The ground: relief, natural cover, parcels, towns, water and snow.

A surface is a stack of coats, each a spectrum (a material, or one a pixel from a table) and how
much of the pixel it covers; bands are painted from the stack one at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nubila.synth.biomes import Biome
from nubila.synth.noise import Axes, child_seed, exceeded_by, fbm, turned_fbm, unit_hash
from nubila.synth.spectra import material_index, reflectance_table

__all__ = ["Coat", "Ground", "Surface", "make_surface", "surface_reflectance"]

Floats = NDArray[np.float32]

_GLACIERS = 0.8  # chance of snow in a biome above which it has glaciers


@dataclass(frozen=True)
class Ground:
    """What a scene's ground is like, drawn once for a scene; see `Biome` for units.

    Attributes:
        snow_line: elevation in metres (0 is the mean of the ground) above which snow lies, or
            None for no snow.
        water_level: elevation below which there is water, in standard deviations of relief.
        glint: sunglint, added to the reflectance of open water.
        frozen: standing water carries snow.
        dry: 0 to 1, how much of vegetation is replaced by the dry third cover.
        measured: spectra of materials in place of the table's, see `reflectance_table`.
    """

    biome: Biome
    seed: int
    scale: float
    relief: float
    rugged: float
    farmland: float
    parcel: float
    city: float
    water_level: float
    river: float
    glint: float
    snow_line: float | None
    frozen: bool
    dry: float
    measured: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Coat:
    """A spectrum over part of each pixel.

    Attributes:
        weight: (rows, columns) float32 in 0 to 1, or 1.0 for all of it.
        material: index of a material, or (rows, columns) of indices.
        second: another material that is mixed in, or None.
        mix: share of the second, (rows, columns).
        smooth: without the texture of land.
    """

    weight: Floats | float
    material: int | NDArray[np.intp]
    second: int | None = None
    mix: Floats | None = None
    smooth: bool = False


@dataclass(frozen=True)
class Surface:
    """The ground under a window.

    Attributes:
        coats: painted in order, those with the texture of land first.
        texture: (rows, columns), factor on the reflectance of land.
        light: (rows, columns), cosine of the sun's angle to the slope over that to level ground.
        glint: (rows, columns), added to reflectance, or None.
        snow, water: (rows, columns), share of each pixel.
        measured: as of the `Ground`.
    """

    coats: tuple[Coat, ...]
    texture: Floats
    light: Floats
    glint: Floats | None
    snow: Floats
    water: Floats
    measured: Mapping[str, Sequence[float]]


def _ramp(values: Floats, low: float, high: float) -> Floats:
    """Return a linear ramp from 0 at `low` to 1 at `high`, held outside."""
    scaled = values - np.float32(low)
    scaled *= np.float32(1 / (high - low))
    return np.clip(scaled, 0, 1, out=scaled)


def make_surface(ground: Ground, axes: Axes, sun: tuple[float, float]) -> Surface:
    """Return the ground under `axes`, lit by a sun at (elevation, azimuth) in degrees."""
    dem, river = _relief(ground, axes)
    light, steep = _light(dem, axes.step, sun)
    dem = dem[1:-1, 1:-1]
    seed = ground.seed
    scale = ground.scale
    patches = fbm(axes, child_seed(seed, "patches"), scale / 6, hurst=0.45)
    dryness = fbm(axes, child_seed(seed, "dryness"), scale / 3, hurst=0.5)
    texture = fbm(axes, child_seed(seed, "texture"), 160.0, hurst=0.2)
    coats = _natural(ground, patches, dryness, dem, steep, texture)
    forest = _ramp(patches, 0.2, 0.6)
    rough = np.exp((np.float32(0.05) + np.float32(0.07) * forest) * texture)
    if ground.farmland > 0.01:
        coats.append(_farmland(ground, axes, steep))
    if ground.city > 0.005:
        coats += _city(ground, axes, steep)
    water, water_coat, glint = _water(ground, axes, dem, river, dryness)
    if water_coat is not None:
        coats.append(water_coat)
    snow = np.zeros(axes.shape, np.float32)
    if ground.snow_line is not None:
        snow, snow_coats = _snow(ground, axes, dem, steep, forest, texture, water)
        coats += snow_coats
        if ground.frozen:
            water = water * (1 - snow)
            glint = None if glint is None else glint * (1 - snow)
    return Surface(tuple(coats), rough, light, glint, snow, water, ground.measured)


def _relief(ground: Ground, axes: Axes) -> tuple[Floats, Floats | None]:
    """Return elevation in metres with a margin of one pixel, and the distance to a river."""
    step = axes.step
    wide = axes.widen()
    seed = child_seed(ground.seed, "relief")
    dem = fbm(wide, seed, ground.scale, hurst=0.95)
    rugged = ground.rugged
    if rugged > 0:
        folds = fbm(wide, seed + 1, ground.scale / 3, hurst=1.05)
        spurs = fbm(wide, seed + 2, ground.scale / 8, hurst=1.0)
        ridges = np.float32(0.8) - np.abs(folds) - np.float32(0.4) * np.abs(spurs)
        dem *= np.float32(1 - 0.55 * rugged)
        dem += np.float32(1.1 * rugged) * ridges
    if ground.biome.dunes:
        crests = turned_fbm(wide, seed + 3, 450.0, angle=seed % 3, stretch=5, warp=250, hurst=1.2,
                            step=20)  # fmt: skip
        dem += np.float32(ground.biome.dunes / ground.relief) * (1 - np.abs(crests))
    river = None
    if ground.river > 0:
        course = fbm(wide, child_seed(ground.seed, "river"), ground.scale, hurst=1.3)
        east = (course[1:-1, 2:] - course[1:-1, :-2]) * np.float32(0.5 / step)
        south = (course[2:, 1:-1] - course[:-2, 1:-1]) * np.float32(0.5 / step)
        inner = np.abs(course[1:-1, 1:-1])
        river = inner / (np.sqrt(east * east + south * south) + np.float32(1e-5))
        dem -= np.float32(0.8) * np.exp(-np.abs(course) * np.float32(6))
    dem *= np.float32(ground.relief)
    return dem, river


def _light(dem: Floats, step: float, sun: tuple[float, float]) -> tuple[Floats, Floats]:
    """Return the cosine correction (Teillet et al. 1982) and the slope's tangent."""
    east = (dem[1:-1, 2:] - dem[1:-1, :-2]) * np.float32(0.5 / step)
    south = (dem[2:, 1:-1] - dem[:-2, 1:-1]) * np.float32(0.5 / step)
    elevation, azimuth = (math.radians(a) for a in sun)
    cotangent = 1 / max(math.tan(elevation), 0.1)
    facing = 1 - np.float32(math.sin(azimuth) * cotangent) * east
    facing += np.float32(math.cos(azimuth) * cotangent) * south
    steep = np.sqrt(east * east + south * south)
    light = facing / np.sqrt(1 + steep * steep)
    return np.clip(light, 0, 2.5), steep


def _natural(
    ground: Ground, patches: Floats, dryness: Floats, dem: Floats, steep: Floats, texture: Floats
) -> list[Coat]:
    common, patch, dry = (material_index(m) for m in ground.biome.cover)
    bare = dryness * np.float32(0.8) + steep * np.float32(2.2) + texture * np.float32(0.25)
    bare += dem * np.float32(0.5 / max(ground.relief, 1.0))
    level = 2.2 - 2.4 * ground.dry
    edge = patches + np.float32(0.12) * texture
    # Woods have sharp edges; other ground passes into its neighbour gradually.
    wooded = any(word in ground.biome.cover[1] for word in ("forest", "trees", "bog"))
    sharp = (0.25, 0.45) if wooded else (-0.8, 2.2)
    return [
        Coat(1.0, common, dry, _ramp(dryness + 0.5 * texture, -2.0, 3.0) * np.float32(0.5)),
        Coat(_ramp(edge, *sharp), patch),
        Coat(_ramp(bare, level, level + 0.9), dry),
    ]


def _farmland(ground: Ground, axes: Axes, steep: Floats) -> Coat:
    """Parcels in blocks that share a direction, each with a crop in some state of growth."""
    seed = child_seed(ground.seed, "parcels")
    share = fbm(axes, seed, ground.scale / 2, hurst=0.6, finest=60)
    weight = _ramp(share - np.float32(exceeded_by(ground.farmland)), 0.0, 0.08)
    weight *= 1 - _ramp(steep, 0.12, 0.2)
    u, v, block = _turned_blocks(axes, seed, size=14 * ground.parcel)
    iu, iv, edge = _parcels(seed, u, v, block, ground.parcel)
    chance = unit_hash(seed + 3, iu, iv, block)
    growth = unit_hash(seed + 4, iu, iv, block)
    crops = np.asarray([material_index(c) for c in ground.biome.crops], np.intp)
    crop = crops[(chance * np.float32(len(crops))).astype(np.intp)]
    lane = edge < np.float32(3.0 + 0.35 * axes.step)
    growth = np.float32(0.55) * growth * growth
    growth[lane] = 0.7
    return Coat(weight, crop, material_index(ground.biome.soil), growth)


def _turned_blocks(
    axes: Axes, seed: int, *, size: float
) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Return coordinates in metres turned by blocks of ground, and each pixel's block number."""
    bend = fbm(axes, seed + 1, size, hurst=0.7, finest=80) * np.float32(0.25)
    other = fbm(axes, seed + 2, size, hurst=0.7, finest=80) * np.float32(0.25)
    column = np.floor((axes.x / size).astype(np.float32)[None, :] + bend).astype(np.intp)
    row = np.floor((axes.y / size).astype(np.float32)[:, None] + other).astype(np.intp)
    rows = np.arange(row.min(), row.max() + 1)
    columns = np.arange(column.min(), column.max() + 1)
    angles = unit_hash(seed + 5, rows[:, None], columns[None, :])
    angles = angles * np.float32(0.9) + unit_hash(seed, np.zeros((1, 1), int)) * np.float32(math.pi)
    place = (row - rows[0], column - columns[0])
    cosine, sine = np.cos(angles)[place], np.sin(angles)[place]
    x, y = axes.x.astype(np.float32)[None, :], axes.y.astype(np.float32)[:, None]
    return cosine * x + sine * y, cosine * y - sine * x, row * 8191 + column


def _parcels(
    seed: int, u: Floats, v: Floats, block: NDArray[np.intp], width: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Return the numbers of strip and parcel, and the distance to the parcel's edge in metres."""
    across = u * np.float32(1 / width)
    strip = np.floor(across)
    iu = strip.astype(np.intp)
    draw = unit_hash(seed + 6, iu, block)
    length = np.float32(width) * (np.float32(0.7) + np.float32(3) * draw)
    along = v / length + draw * np.float32(7)
    parcel = np.floor(along)
    fu, fv = across - strip, along - parcel
    edge = np.minimum(np.minimum(fu, 1 - fu) * np.float32(width), np.minimum(fv, 1 - fv) * length)
    return iu, parcel.astype(np.intp), edge


def _city(ground: Ground, axes: Axes, steep: Floats) -> list[Coat]:
    """Streets around blocks of roofs and yards, denser towards the middle of a town."""
    seed = child_seed(ground.seed, "city")
    share = fbm(axes, seed, ground.scale / 3, hurst=0.5, finest=80)
    reach = share - np.float32(exceeded_by(ground.city))
    u, v, block = _turned_blocks(axes, seed, size=1500.0)
    iu, iv, edge = _parcels(seed, u, v, block, 90.0)
    plot_u = np.floor(u * np.float32(1 / 28)).astype(np.intp)
    plot_v = np.floor(v * np.float32(1 / 34)).astype(np.intp)
    chance = unit_hash(seed + 8, plot_u, plot_v, block)
    quarter = unit_hash(seed + 9, iu, iv, block)
    names = ("tile roof", "dark roof", "concrete", "dark roof", "tile roof", "concrete",
             "metal roof", "asphalt", "blue roof", "dark roof")  # fmt: skip
    roofs = np.asarray([material_index(n) for n in names], np.intp)
    pick = np.float32(0.55) * chance + np.float32(0.45) * quarter
    roof = roofs[(pick * np.float32(len(roofs))).astype(np.intp)]
    roof[edge < 8] = material_index("asphalt")
    green = np.clip(np.float32(1.1) * chance - np.float32(0.4) * _ramp(reach, 0, 1.5), 0.1, 0.85)
    green[edge < 8] *= np.float32(0.35)
    weight = _ramp(reach + np.float32(0.5) * (quarter - np.float32(0.5)), 0.0, 0.06)
    weight *= 1 - _ramp(steep, 0.15, 0.3)
    # Plots are smaller than most pixels, which see more of the town's mean the larger they are.
    blur = np.float32(1 - math.exp(-((axes.step / 22) ** 1.2)))
    trees = material_index("broadleaf forest")
    mean = Coat(weight * blur, material_index("concrete"), material_index("dark roof"),
                np.full(axes.shape, 0.6, np.float32))  # fmt: skip
    return [Coat(weight, roof, trees, green), mean]


def _water(
    ground: Ground, axes: Axes, dem: Floats, river: Floats | None, murk: Floats
) -> tuple[Floats, Coat | None, Floats | None]:
    """Return the share of water, its coat, and sunglint."""
    level = ground.water_level * ground.relief
    shore = max(ground.relief * 0.0035 * (axes.step / 10) ** 0.9, 0.05)
    depth = np.float32(level) - dem
    share = _ramp(depth, -shore, shore)
    if river is not None:
        bank = np.float32(ground.river) * (1 + np.float32(0.25) * murk)
        share = np.maximum(share, _ramp(bank - river, -0.5 * axes.step, 0.5 * axes.step))
    if not share.any():
        return share, None, None
    open_water, turbid = (material_index(m) for m in ground.biome.waters)
    shelf = np.exp(-np.maximum(depth, 0) * np.float32(12 / max(ground.relief, 1)))
    plume = fbm(axes, child_seed(ground.seed, "plume"), ground.scale / 2, hurst=1.0, finest=300)
    clouded = shelf * (np.float32(0.6) + np.float32(0.4) * plume)
    clouded = np.clip(clouded + np.float32(0.1) * plume, 0, 1)
    waves = fbm(axes, child_seed(ground.seed, "waves"), 320.0, hurst=0.1)
    glint = None
    if ground.glint > 0:
        glint = (
            share
            * np.float32(ground.glint)
            * np.exp(np.float32(0.1) * waves + np.float32(0.25) * plume)
        )
    return share, Coat(share, open_water, turbid, clouded, smooth=True), glint


def _snow(
    ground: Ground,
    axes: Axes,
    dem: Floats,
    steep: Floats,
    forest: Floats,
    texture: Floats,
    water: Floats,
) -> tuple[Floats, list[Coat]]:
    """Snow above a ragged line, less on steep slopes and under trees, older lower down.

    Where snow nearly always lies, bare glacier ice shows along its lower edge.
    """
    assert ground.snow_line is not None
    relief = max(ground.relief, 1.0)
    drift = fbm(axes, child_seed(ground.seed, "drift"), ground.scale / 5, hurst=0.4)
    above = (dem - np.float32(ground.snow_line)) * np.float32(1 / relief)
    above += np.float32(0.22) * drift + np.float32(0.08) * texture
    share = _ramp(above, 0.0, 0.12)
    share *= 1 - _ramp(steep + np.float32(0.06) * drift, 0.75, 1.1)
    if "forest" in " ".join(ground.biome.cover[:2]):
        share *= 1 - np.float32(0.8) * forest
    if not ground.frozen:
        share *= 1 - water
    age = np.clip(np.float32(0.75) - np.float32(0.45) * above + np.float32(0.15) * drift, 0, 1)
    fresh, old = material_index("fresh snow"), material_index("old snow")
    coats = [Coat(share, fresh, old, age, smooth=True)]
    if ground.biome.snow > _GLACIERS:
        bare = share * _ramp(np.float32(0.45) - above + np.float32(0.15) * drift, 0.0, 0.3)
        coats.append(Coat(bare, material_index("glacier ice"), smooth=True))
    return share, coats


def surface_reflectance(surface: Surface, band: str) -> Floats:
    """Return the reflectance of the ground in a band under even light, (rows, columns)."""
    table = reflectance_table(band, surface.measured)
    result = np.empty(surface.texture.shape, np.float32)
    land = True
    for coat in surface.coats:
        colour = table[coat.material]
        if coat.second is not None and coat.mix is not None:
            colour = colour + coat.mix * (table[coat.second] - colour)
        if isinstance(coat.weight, float):
            result[...] = colour
        else:
            if land and coat.smooth:
                result *= surface.texture
                land = False
            result += coat.weight * (colour - result)
    if land:
        result *= surface.texture
    if surface.glint is not None:
        result += surface.glint
    return result
