from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nubila.recipe.augment import Augment
from nubila.train.augment import cut_chip
from nubila.train.augment.warp import draw_grid, follow

_WARPS = {"rotate": 1.0, "scale": 0.1, "elastic": 6.0, "grid": 0.3, "optical": 0.1}


def _random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _steps(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Three bands of the label's value, which is constant over blocks of 12 pixels."""
    coarse = _random(9).integers(1, 60, (rows // 12 + 1, columns // 12 + 1))
    label = np.kron(coarse, np.ones((12, 12), int))[:rows, :columns].astype(np.uint8)
    return np.repeat(label[None].astype(np.float32), 3, axis=0), label


@pytest.mark.parametrize("names", [*[(n,) for n in _WARPS], tuple(_WARPS)])
def test_image_and_label_stay_together_and_gaps_do_not_spread(names: tuple[str, ...]) -> None:
    spec = Augment(zoom=1.2, **{name: _WARPS[name] for name in names})
    image, label = _steps(150, 130)
    image[:, 50:70, 40:90], label[50:70, 40:90] = np.nan, 0
    image[2] = np.nan
    kept = 0
    for seed in range(6):
        chip, cut = cut_chip(image, label, 64, spec, _random(seed), _random(seed + 50))
        assert (chip.dtype, cut.dtype) == (np.float32, np.uint8)
        assert chip.shape == (3, 64, 64) and cut.shape == (64, 64)
        assert np.isnan(chip[2]).all()
        np.testing.assert_array_equal(np.isnan(chip[0]), np.isnan(chip[1]))
        assert (cut[np.isnan(chip[0])] == 0).all()
        # A pixel among its like holds just their value: 0 for no data would pull it down.
        padded = np.pad(cut, 3)
        views = np.lib.stride_tricks.sliding_window_view(padded, (7, 7))
        inner = (views == cut[..., None, None]).all(axis=(2, 3)) & (cut != 0)
        np.testing.assert_allclose(chip[0][inner], cut[inner], rtol=1e-4)
        judged = chip[0][~np.isnan(chip[0])]
        assert judged.min() >= 1 - 1e-3 and judged.max() <= 60
        kept += int(inner.sum())
    assert kept > 1000


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_a_warp_never_folds(seed: int) -> None:
    """Where neighbours keep their order and turn the same way round, nothing shows twice."""
    grid = draw_grid(64, Augment(grid=0.5, optical=0.1, scale=0.3, rotate=1), _random(seed))
    down, right = np.diff(grid, axis=1)[:, :, :-1], np.diff(grid, axis=2)[:, :-1]
    turned = down[0] * right[1] - down[1] * right[0]
    assert (turned > 0).all()


def test_a_rotation_is_the_rotation_that_was_drawn() -> None:
    grid = draw_grid(32, Augment(rotate=1), _random(3))
    random = _random(3)
    random.random()
    angle = random.uniform(0, 2 * math.pi)
    rows, columns = 4 + 0.5 - 16, 20 + 0.5 - 16
    expected = (
        math.cos(angle) * rows - math.sin(angle) * columns,
        math.sin(angle) * rows + math.cos(angle) * columns,
    )
    np.testing.assert_allclose(grid[:, 4, 20], expected)


def test_sampling_agrees_with_a_plain_formula_and_with_any_threads() -> None:
    random = _random(4)
    image = random.uniform(0, 1, (2, 20, 30)).astype(np.float32)
    image[0, 6:12, 8:20] = np.nan  # each band has gaps of its own
    image[1, 15:, :5] = np.nan
    label = random.integers(1, 64, (20, 30)).astype(np.uint8)
    grid = draw_grid(24, Augment(rotate=1, scale=0.2), random)
    chip, cut = follow(image, label, grid)
    for row, column in random.integers(0, 24, (60, 2)):
        y, x = grid[0, row, column] + 9.5, grid[1, row, column] + 14.5
        for band in range(2):
            expected = _weighed(image[band], y, x)
            assert chip[band, row, column] == pytest.approx(expected, rel=1e-3, nan_ok=True)
        i, j = math.floor(y + 0.5), math.floor(x + 0.5)
        inside = 0 <= i < 20 and 0 <= j < 30 and not np.isnan(chip[:, row, column]).all()
        assert cut[row, column] == (label[i, j] if inside else 0)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        np.testing.assert_array_equal(chip, follow(image, label, grid)[0])
    finally:
        torch.set_num_threads(before)


def _weighed(band: np.ndarray, y: float, x: float) -> float:
    total = weight = 0.0
    for i in (math.floor(y), math.floor(y) + 1):
        for j in (math.floor(x), math.floor(x) + 1):
            part = (1 - abs(y - i)) * (1 - abs(x - j))
            if 0 <= i < band.shape[0] and 0 <= j < band.shape[1] and not np.isnan(band[i, j]):
                total += part * float(band[i, j])
                weight += part
    return total / weight if weight >= 0.5 else math.nan


def test_no_warp_draws_nothing() -> None:
    random = _random(1)
    assert draw_grid(32, Augment(), random) is None
    assert random.random() == _random(1).random()


def test_a_warped_chip_of_a_large_sample_is_full() -> None:
    """What is cut reaches as far as the grid does."""
    image, label = np.ones((1, 400, 400), np.float32), np.ones((400, 400), np.uint8)
    spec = Augment(**_WARPS)
    for seed in range(5):
        chip, cut = cut_chip(image, label, 48, spec, _random(seed), _random(seed + 9))
        assert not np.isnan(chip).any() and (cut == 1).all()
