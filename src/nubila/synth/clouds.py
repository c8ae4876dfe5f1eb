"""Clouds as layers of fractal optical thickness with a height.

Optical thickness follows a power law over scales: its spectrum falls as about k**(-5/3) (Davis et
al. 1996, doi:10.1029/95JD03166); the outlines that thresholds cut out of it are fractal, as
observed (Lovejoy 1982, doi:10.1126/science.216.4542.185). Light spreads sideways inside clouds,
which smooths their look below some 200 m (Marshak et al. 1995, doi:10.1029/95JD02895), so small
scales are weaker here. Heights and optical thicknesses are typical ones of each cloud type
(Rossow and Schiffer 1999, doi:10.1175/1520-0477(1999)080<2261:AIUCFI>2.0.CO;2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.synth.noise import Axes, cells, exceeded_by, fbm, turned_fbm

__all__ = ["CloudLayer", "cloud_shade", "draw_sky", "layer_thickness", "shadow_thickness"]

Floats = NDArray[np.float32]

_LOWEST_SUN = 0.12  # sine; bounds the length of shadows


@dataclass(frozen=True)
class CloudLayer:
    """One layer of cloud.

    Attributes:
        kind: ``heaps``, ``sheet``, ``veil``, ``cells``, ``fibres`` or ``trail``.
        seed: of its fields.
        cell: size of its largest single features, in metres.
        threshold: in standard deviations; higher means fewer clouds.
        thickness: optical thickness where the cloud stands one standard deviation high.
        base: height of the base above the ground in metres.
        depth: from base to top in metres, where it is thick.
        phase: ``liquid``, ``ice`` or ``coarse ice``.
        angle: direction of fibres, radians from east towards south.
    """

    kind: str
    seed: int
    cell: float
    threshold: float
    thickness: float
    base: float
    depth: float
    phase: str = "liquid"
    angle: float = 0.0

    @property
    def top(self) -> float:
        """Height of the top above the ground in kilometres."""
        return (self.base + self.depth) / 1000


def layer_thickness(layer: CloudLayer, axes: Axes) -> Floats:
    """Return a layer's vertical optical thickness, (rows, columns) float32, 0 where it is open."""
    thickness = _KINDS[layer.kind](layer, axes)
    np.maximum(thickness, 0, out=thickness)
    return thickness


def _heaps(layer: CloudLayer, axes: Axes) -> Floats:
    """Cumulus and broken cloud: clumps of rounded puffs with thin, frayed edges."""
    seed, cell = layer.seed, layer.cell
    field = np.float32(0.75) * fbm(axes, seed, cell, hurst=1.0)
    field += np.float32(0.57) * fbm(axes, seed + 7, 8 * cell, hurst=0.9, finest=2 * cell)
    puffs = np.abs(fbm(axes, seed + 13, cell / 2.5, hurst=0.9))  # domes that meet in creases
    puffs -= np.float32(0.8)
    field += np.float32(0.4) * puffs
    field -= np.float32(layer.threshold)
    fray = fbm(axes, seed + 23, 160.0, hurst=0.5)
    fray *= np.maximum(np.float32(0.08) - np.float32(0.3) * np.abs(field), 0)
    field += fray
    field = _soft_edge(field, min(0.6 * axes.step / cell, 0.5))
    thickness: Floats = np.exp(np.float32(0.5) * puffs)
    thickness *= np.float32(layer.thickness) * field * field
    return thickness


def _soft_edge(field: Floats, width: float) -> Floats:
    """Return the positive part, rounded off over a width for pixels that straddle an edge."""
    rounded: Floats = np.clip(field + np.float32(width), 0, 2 * width)
    rounded *= rounded
    rounded *= np.float32(0.25 / width)
    rounded += np.maximum(field - np.float32(width), 0)
    return rounded


def _sheet(layer: CloudLayer, axes: Axes) -> Floats:
    """Stratus: smooth, of log-normal thickness, with ragged gaps."""
    field = fbm(axes, layer.seed, layer.cell, hurst=0.7)
    lumps = fbm(axes, layer.seed + 13, layer.cell / 6, hurst=1.0)
    gap = (field - np.float32(layer.threshold)) * np.float32(1.2) + np.float32(0.2) * lumps
    gap = np.clip(gap, 0, 1)
    thickness: Floats = np.exp(np.float32(0.5) * field + np.float32(0.25) * lumps)
    thickness *= np.float32(layer.thickness) * gap * gap
    return thickness


def _veil(layer: CloudLayer, axes: Axes) -> Floats:
    """Fog: smooth, thinning out towards its edges."""
    field = fbm(axes, layer.seed, layer.cell, hurst=0.85)
    field += np.float32(0.06) * fbm(axes, layer.seed + 13, layer.cell / 8, hurst=0.7)
    body = np.clip((field - np.float32(layer.threshold)) * np.float32(0.8), 0, 1)
    thickness: Floats = np.float32(layer.thickness) * body * body * (np.float32(1.5) - body)
    return thickness


def _cellular(layer: CloudLayer, axes: Axes) -> Floats:
    """Stratocumulus and altocumulus: closed cells parted by thin seams."""
    step = layer.cell / 12
    bend = np.float32(0.2) * fbm(axes, layer.seed + 3, layer.cell / 2, hurst=0.8)
    nearest, second = cells(axes, layer.seed, layer.cell, step=step)
    seam = np.minimum((second - nearest) * np.float32(1.5), np.float32(0.6))
    body = np.float32(0.75) - np.float32(0.8) * nearest + seam + bend
    field = fbm(axes, layer.seed + 7, 6 * layer.cell, hurst=0.7)
    cover = np.clip((field - np.float32(layer.threshold)) * np.float32(1.5), -1, 1)
    body = body + cover - np.float32(0.35)
    lumps = fbm(axes, layer.seed + 13, layer.cell / 3, hurst=0.9)
    np.maximum(body, 0, out=body)
    thickness: Floats = np.exp(np.float32(0.3) * lumps)
    thickness *= np.float32(layer.thickness) * body * body
    return thickness


def _fibres(layer: CloudLayer, axes: Axes) -> Floats:
    """Cirrus: bent fibres within patches."""
    patches = turned_fbm(
        axes, layer.seed, 5 * layer.cell, angle=layer.angle, stretch=2.0, warp=layer.cell, step=80
    )
    fibres = turned_fbm(
        axes, layer.seed + 5, layer.cell, angle=layer.angle, stretch=7.0, warp=layer.cell / 2
    )
    field = patches + np.float32(0.45) * fibres - np.float32(layer.threshold)
    np.maximum(field, 0, out=field)
    thickness: Floats = np.exp(np.float32(0.35) * fibres)
    thickness *= np.float32(layer.thickness) * field
    return thickness


def _trail(layer: CloudLayer, axes: Axes) -> Floats:
    """A contrail: a straight band, `threshold` metres from the corner, that spreads unevenly."""
    across = (
        -math.sin(layer.angle) * axes.x[None, :] + math.cos(layer.angle) * axes.y[:, None]
    ).astype(np.float32) - np.float32(layer.threshold)
    ragged = fbm(axes, layer.seed, 4 * layer.cell, hurst=0.6)
    across += np.float32(0.35 * layer.cell) * ragged
    band = np.exp(-((across / np.float32(layer.cell)) ** 2))
    band[band < 0.02] = 0
    thickness: Floats = np.exp(np.float32(0.6) * ragged)
    thickness *= np.float32(layer.thickness) * band
    return thickness


_KINDS: Final = {
    "heaps": _heaps,
    "sheet": _sheet,
    "veil": _veil,
    "cells": _cellular,
    "fibres": _fibres,
    "trail": _trail,
}


def cloud_shade(
    layer: CloudLayer, thickness: Floats, step: float, sun: tuple[float, float]
) -> Floats | None:
    """Return how brightly the sun lights the cloud's own relief, 1 on level tops.

    Args:
        layer: the layer; flat kinds give None.
        thickness: (rows + 2, columns + 2), with a margin of one pixel for slopes.
        step: pixel size in metres.
        sun: elevation and azimuth in degrees.
    """
    if layer.kind not in ("heaps", "cells", "sheet"):
        return None
    height = np.sqrt(thickness * np.float32(1 / layer.thickness))
    height *= np.float32(0.5 * layer.depth / (2 * step))
    east = height[1:-1, 2:] - height[1:-1, :-2]
    south = height[2:, 1:-1] - height[:-2, 1:-1]
    elevation, azimuth = (math.radians(a) for a in sun)
    low = max(math.sin(elevation), 0.35)  # scattering inside evens the contrast out
    east_sun, north_sun = math.sin(azimuth), math.cos(azimuth)
    slope = np.float32(-east_sun) * east + np.float32(north_sun) * south
    slope *= np.float32(math.cos(elevation) / low)
    light = slope / np.sqrt(1 + east * east + south * south)
    shade: Floats = np.clip(np.float32(1) + np.float32(0.35) * light, 0.5, 1.5)
    return shade


def shadow_thickness(layer: CloudLayer, axes: Axes, sun: tuple[float, float]) -> Floats:
    """Return the optical thickness of a layer on the way from the ground to the sun.

    The ground at a place is shaded by the cloud that stands ``height / tan(elevation)`` from it
    towards the sun. `sun` is elevation and azimuth (clockwise from north) in degrees.
    """
    elevation, azimuth = (math.radians(a) for a in sun)
    tangent = max(math.tan(elevation), _LOWEST_SUN)
    distance = (layer.base + 0.3 * layer.depth) / tangent
    east, south = math.sin(azimuth) * distance, -math.cos(azimuth) * distance
    return layer_thickness(layer, axes.shift(east, south))


def draw_sky(
    sky: str, generator: np.random.Generator, *, extent: float, warm: bool
) -> tuple[CloudLayer, ...]:
    """Draw the cloud layers of a kind of sky.

    Args:
        sky: one of `nubila.synth.biomes.SKIES`.
        generator: source of chance.
        extent: of the scene in metres; a contrail must cross it.
        warm: higher bases and deeper clouds, as over warm ground.
    """
    uniform = generator.uniform
    seed = int(generator.integers(2**31))
    angle = float(uniform(0, math.pi))
    lift = 1.5 if warm else 1.0

    def between(low: float, high: float) -> float:
        return float(np.exp(uniform(math.log(low), math.log(high))))

    def heaps(cover: float, cell: float, thickness: float, depth: float) -> CloudLayer:
        base = lift * float(uniform(500, 1800))
        # Tops that reach well above the freezing level turn to ice.
        phase = "ice" if depth > 1200 and uniform() < 0.5 else "liquid"
        return CloudLayer("heaps", seed, cell, exceeded_by(cover), thickness, base, depth, phase)

    def fibres() -> CloudLayer:
        thickness = between(0.3, 3.0)
        cover = float(uniform(0.35, 0.98))
        cell = float(uniform(500, 1800))
        base = lift * float(uniform(6500, 9000))
        return CloudLayer(
            "fibres", seed + 101, cell, exceeded_by(cover), thickness, base, 600, "ice", angle
        )

    def trail() -> CloudLayer:
        thickness = float(uniform(0.3, 2.0))
        reach = math.cos(angle) * float(uniform(0, extent)) - math.sin(angle) * float(
            uniform(0, extent)
        )
        width = float(uniform(60, 400))
        return CloudLayer("trail", seed + 202, width, reach, thickness, 9500, 200, "ice", angle)

    if sky == "cumulus":
        cell = between(250, 1500)
        return (heaps(uniform(0.06, 0.45), cell, between(6, 60), 0.5 * cell + 150),)
    if sky == "broken":
        return (heaps(uniform(0.3, 0.85), between(1200, 7000), between(6, 40), between(300, 2500)),)
    if sky == "stratocumulus":
        cover, base = exceeded_by(uniform(0.5, 0.95)), float(uniform(500, 1800))
        return (CloudLayer("cells", seed, between(500, 2000), cover, between(3, 13), base, 300),)
    if sky == "altocumulus":
        cover, base = exceeded_by(uniform(0.3, 0.8)), float(uniform(2500, 5000))
        return (CloudLayer("cells", seed, between(200, 600), cover, between(1, 7), base, 200),)
    if sky == "overcast":
        base, cover = between(300, 6000), float(uniform(-4.0, -0.9))
        phase = "ice" if base > 3000 else "liquid"
        layer = CloudLayer("sheet", seed, between(3000, 15000), cover, between(4, 45), base, 350)
        return (replace(layer, phase=phase),)
    if sky == "storm":
        # Low relief: light spreads so far in deep clouds that their tops look even from above.
        phase = "coarse ice" if uniform() < 0.6 else "ice"
        cell, thickness = between(3000, 15000), between(8, 80)
        base, depth = float(uniform(3000, 8000)), between(100, 600)
        kind, cover = "sheet", float(uniform(-4.0, -0.7))
        if uniform() < 0.4:
            kind, cover = "heaps", exceeded_by(uniform(0.5, 0.97))
        return (CloudLayer(kind, seed, cell, cover, thickness, base, depth, phase),)
    if sky == "thin stratus":
        # Stratus, stratocumulus or altostratus through which the ground shows (translucidus: WMO,
        # International Cloud Atlas, 2017); low enough not to be seen at 1.375 um, but for some.
        base, cell = between(100, 5000), between(800, 8000)
        kind = str(generator.choice(["veil", "sheet", "cells", "fibres"]))
        phase = "ice" if base > 3500 else "liquid"
        cover = exceeded_by(uniform(0.2, 0.98))
        # What a veil's own shape makes of its thickness is half of it at most.
        thickness = between(0.8, 5) * (2.0 if kind == "veil" else 1.0)
        return (CloudLayer(kind, seed, cell, cover, thickness, base, 200, phase, angle),)
    if sky == "fog":
        cover = float(uniform(-1.5, 1.0))
        return (CloudLayer("veil", seed, between(3000, 9000), cover, between(3, 15), 20.0, 120),)
    if sky == "cirrus":
        return (fibres(), trail()) if uniform() < 0.35 else (fibres(),)
    if sky == "cumulus and cirrus":
        cell = between(250, 2500)
        return heaps(uniform(0.06, 0.5), cell, between(6, 60), 0.5 * cell + 150), fibres()
    return ()
