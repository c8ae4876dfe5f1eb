"""Random fields: functions of the place, whichever window they are asked for in."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nubila.synth.noise import Axes, cells, child_seed, exceeded_by, fbm, turned_fbm, unit_hash
from nubila.synth.noise import spline as spline_at

WHOLE = Axes.of_window(-20, -30, 90, 110, 20.0)
FIELDS = {
    "fbm": lambda axes: fbm(axes, 5, 3000.0, hurst=0.6),
    "turned": lambda axes: turned_fbm(axes, 5, 600.0, angle=0.7, stretch=4, warp=300),
    "cells": lambda axes: cells(axes, 5, 500.0, step=40)[1],
}


@pytest.mark.parametrize("name", FIELDS)
@settings(max_examples=15, deadline=None)
@given(
    row=st.integers(0, 80),
    column=st.integers(0, 100),
    height=st.integers(1, 10),
    width=st.integers(1, 10),
)
def test_window_is_part_of_whole(name: str, row: int, column: int, height: int, width: int) -> None:
    whole = FIELDS[name](WHOLE)
    part = FIELDS[name](Axes.of_window(row - 20, column - 30, height, width, 20.0))
    np.testing.assert_array_equal(part, whole[row : row + height, column : column + width])


@pytest.mark.parametrize("hurst", [0.3, 0.8, 1.2])
def test_unit_variance(hurst: float) -> None:
    axes = Axes.of_window(0, 0, 600, 600, 10.0)
    field = fbm(axes, 3, 160.0, hurst=hurst, finest=20)
    assert abs(float(field.mean())) < 0.05
    assert float(field.std()) == pytest.approx(1, abs=0.06)


def direct_fbm(axes: Axes, seed: int, cell: float, hurst: float, levels: int) -> np.ndarray:
    """The same octaves, each evaluated on its own with the B-spline's textbook formula."""

    def cubic(t: np.ndarray) -> np.ndarray:
        t = np.abs(t)
        near, far = 2 / 3 - t**2 + t**3 / 2, np.maximum(2 - t, 0) ** 3 / 6
        return np.where(t < 1, near, far)

    total = np.zeros(axes.shape)
    for level in range(levels):
        spacing = cell / 2**level
        j = np.arange(math.floor(axes.x[0] / spacing) - 3, math.ceil(axes.x[-1] / spacing) + 4)
        i = np.arange(math.floor(axes.y[0] / spacing) - 3, math.ceil(axes.y[-1] / spacing) + 4)
        numbers = unit_hash(seed + 0x51ED27 * level, i[:, None], j[None, :]) - 0.5
        across = cubic(axes.x[:, None] / spacing - j[None, :])
        down = cubic(axes.y[:, None] / spacing - i[None, :])
        total += 2.0 ** (-hurst * level) * (down @ numbers @ across.T)
    return total


def test_octaves_agree_with_their_direct_sum() -> None:
    axes = Axes.of_window(7, -11, 40, 30, 17.0)
    field = fbm(axes, 9, 640.0, hurst=0.7, finest=20)
    direct = direct_fbm(axes, 9, 640.0, 0.7, 6)
    ratio = float((field * direct).sum() / (direct * direct).sum())
    np.testing.assert_allclose(field, ratio * direct, atol=2e-5)


def test_coarser_pixels_see_the_same_field() -> None:
    fine = fbm(Axes.of_window(0, 0, 240, 240, 10.0), 1, 2560.0, hurst=1.0)
    coarse = fbm(Axes.of_window(0, 0, 40, 40, 60.0), 1, 2560.0, hurst=1.0)
    means = fine.reshape(40, 6, 40, 6).mean(axis=(1, 3))
    assert np.corrcoef(means.ravel(), coarse.ravel())[0, 1] > 0.99


def test_turned_noise_is_longer_along_its_angle() -> None:
    field = turned_fbm(Axes.of_window(0, 0, 200, 200, 20.0), 2, 400.0, angle=0.0, stretch=6)
    along = np.abs(np.diff(field, axis=1)).mean()
    across = np.abs(np.diff(field, axis=0)).mean()
    assert across > 2 * along


def test_cells_agree_with_distances_to_all_points() -> None:
    axes = Axes.of_window(0, 0, 8, 8, 50.0)
    size, seed = 100.0, 4
    nodes, first = axes.lattice(50.0)
    points = []
    for i in range(-5, 12):
        for j in range(-5, 12):
            at = np.array([i]), np.array([j])
            x = (j + unit_hash(seed, *at)[0]) * size
            y = (i + unit_hash(seed + 1, *at)[0]) * size
            points.append((x, y))
    px, py = np.array(points).T
    distance = np.hypot(nodes.x[None, :, None] - px, nodes.y[:, None, None] - py) / size
    expected = spline_at(distance.min(axis=2).astype(np.float32), first, 50.0, axes)
    np.testing.assert_allclose(cells(axes, seed, size, step=50.0)[0], expected, atol=1e-5)


def test_hash_is_uniform_and_seeded() -> None:
    numbers = unit_hash(1, np.arange(300)[:, None], np.arange(300)[None, :])
    assert np.histogram(numbers, 10, (0, 1))[0] == pytest.approx(9000, rel=0.06)
    assert not np.array_equal(numbers, unit_hash(2, np.arange(300)[:, None], np.arange(300)[None]))
    assert abs(np.corrcoef(numbers[:-1].ravel(), numbers[1:].ravel())[0, 1]) < 0.02


def test_child_seeds_differ() -> None:
    assert len({child_seed(3, name) for name in ("relief", "river", "blue", "green")}) == 4


def test_exceeded_share() -> None:
    field = fbm(Axes.of_window(0, 0, 500, 500, 40.0), 8, 320.0, hurst=0.8)
    assert float((field > exceeded_by(0.3)).mean()) == pytest.approx(0.3, abs=0.03)
