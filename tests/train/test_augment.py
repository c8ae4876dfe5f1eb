from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nubila.recipe.augment import Augment
from nubila.train.augment import crop, drop_bands, radiometry, tear, turn


def _pair(rows: int, columns: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An image whose every band is the label's value: wherever they come apart, it shows."""
    random = np.random.default_rng(seed)
    coarse = random.integers(1, 60, (rows // 8 + 1, columns // 8 + 1))
    label = np.kron(coarse, np.ones((8, 8), int))[:rows, :columns].astype(np.uint8)
    return np.repeat(label[None].astype(np.float32), 7, axis=0), label


@given(rows=st.integers(20, 150), columns=st.integers(20, 150), seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_crop_and_turn_move_image_and_label_alike(rows: int, columns: int, seed: int) -> None:
    image, label = _pair(rows, columns)
    random = np.random.default_rng(seed)
    chip, cut = crop(image, label, size=48, zoom=1.5, random=random)
    chip, cut = turn(chip, cut, random)
    assert chip.shape == (7, 48, 48) and cut.shape == (48, 48)
    judged = cut != 0
    # Blocks are 8 pixels wide, so away from their edges resampling changes nothing.
    same = np.isclose(chip[0], cut.astype(np.float32), atol=1e-3)
    inner = judged & _flat(cut)
    assert same[inner].all()
    assert np.isnan(chip[:, ~judged]).all()


def _flat(label: np.ndarray) -> np.ndarray:
    """Where the 5 x 5 neighbourhood has one value."""
    padded = np.pad(label, 2)
    views = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
    return (views == label[..., None, None]).all(axis=(2, 3))


def test_a_small_sample_is_filled_up_with_no_data() -> None:
    image, label = _pair(30, 60)
    chip, cut = crop(image, label, size=64, zoom=1.0, random=np.random.default_rng(0))
    assert np.isnan(chip[:, 30:]).all() and (cut[30:] == 0).all()
    np.testing.assert_array_equal(chip[0, :30, :60], image[0])


def test_missing_bands_stay_missing_through_a_crop() -> None:
    image, label = _pair(64, 64)
    image[3:] = np.nan
    for seed in range(5):
        chip, _ = crop(image, label, size=32, zoom=1.5, random=np.random.default_rng(seed))
        assert np.isnan(chip[3:]).all() and not np.isnan(chip[:3]).any()


def test_dropping_leaves_the_visible_and_every_usual_set_of_bands() -> None:
    spec, seen = Augment(full_bands=0.2), set()
    for seed in range(200):
        image = np.zeros((7, 2, 2), np.float32)
        drop_bands(image, spec, np.random.default_rng(seed))
        assert not np.isnan(image[:3]).any()
        seen.add(tuple(np.isnan(image[3:, 0, 0]).tolist()))
    no, yes = True, False
    assert {(no,) * 4, (yes, no, no, no), (yes, yes, yes, no), (yes,) * 4} <= seen


def test_full_bands_of_one_drops_nothing() -> None:
    image = np.zeros((7, 2, 2), np.float32)
    for seed in range(20):
        drop_bands(image, Augment(full_bands=1), np.random.default_rng(seed))
    assert not np.isnan(image).any()


def test_radiometry_keeps_brightness_recognisable() -> None:
    dark, bright = [], []
    for seed in range(100):
        random = np.random.default_rng(seed)
        for level, found in ((0.05, dark), (0.7, bright)):
            image = np.full((7, 8, 8), level, np.float32)
            radiometry(image, Augment(saturate=0), random)
            found.append(float(image.mean()))
    assert max(dark) < min(bright)


def test_saturation_is_that_of_an_eight_bit_quicklook() -> None:
    image = np.full((7, 8, 8), 0.7, np.float32)
    spec = Augment(saturate=1, gain=0, band_gain=0, band_offset=0, haze=0, noise=0)
    radiometry(image, spec, np.random.default_rng(0))
    np.testing.assert_allclose(image[:3], 0.4, atol=1e-6)
    np.testing.assert_allclose(image[3:], 0.7, atol=1e-6)


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_a_tear_takes_data_and_label_together(chance: float) -> None:
    image, label = _pair(64, 64)
    tear(image, label, Augment(tear=chance), np.random.default_rng(1))
    gone = np.isnan(image).all(axis=0)
    np.testing.assert_array_equal(gone, label == 0)
    assert gone.any() == bool(chance)
