from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from nubila.recipe.augment import Augment
from nubila.train.augment.mixing import chessmix, cutmix, mix, mosaic


def _random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _chip(value: int, lacking: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """A chip whose image and label tell where it is from, with a gap in its middle."""
    label = np.full((40, 36), value, np.uint8)
    image = np.full((4, 40, 36), value, np.float32)
    image[:, 18:22, 16:20], label[18:22, 16:20] = np.nan, 0
    image[list(lacking)] = np.nan
    return image, label


def _check(image: np.ndarray, label: np.ndarray) -> set[int]:
    assert (image.dtype, label.dtype) == (np.float32, np.uint8)
    assert image.shape == (4, 40, 36) and label.shape == (40, 36)
    np.testing.assert_array_equal(np.isnan(image[0]), label == 0)
    np.testing.assert_array_equal(image[0][label != 0], label[label != 0])
    assert (label[18:22, 16:20] == 0).all()
    return set(np.unique(label[label != 0]).tolist())


@pytest.mark.parametrize("name", ["cutmix", "chessmix", "mosaic"])
def test_labels_go_with_their_pixels_and_a_seed_makes_one_mixture(name: str) -> None:
    spec, seen = Augment(**{name: 1.0}), set()
    for seed in range(8):
        first, second = (
            mix(_chip(1), lambda random: _chip(int(random.integers(2, 30))), spec, _random(seed))
            for _ in range(2)
        )
        seen |= _check(*first)
        np.testing.assert_array_equal(first[0], second[0])
        np.testing.assert_array_equal(first[1], second[1])
    assert 1 in seen and len(seen) > 5


def test_a_band_that_one_lacks_is_missing_in_all() -> None:
    image, _ = mosaic(_chip(1), [_chip(2, (3,)), _chip(3), _chip(4, (2,))], _random())
    np.testing.assert_array_equal(np.isnan(image).all(axis=(1, 2)), [False, False, True, True])
    empty = np.full((4, 40, 36), np.nan, np.float32), np.zeros((40, 36), np.uint8)
    image, label = cutmix(_chip(1), empty, _random(1))
    assert not np.isnan(image).all(axis=(1, 2)).any()
    np.testing.assert_array_equal(np.isnan(image[0]), label == 0)


def test_cutmix_takes_one_rectangle_of_any_size() -> None:
    shares = []
    for seed in range(60):
        _, label = cutmix(_chip(1), _chip(2), _random(seed))
        other = label == 2
        other[18:22, 16:20] = False
        shares.append(other.mean())
    assert min(shares) < 0.1 and max(shares) > 0.85


def test_half_of_a_chessboard_is_empty_and_its_squares_do_not_touch() -> None:
    for seed in range(10):
        _, label = chessmix(_chip(1), [_chip(2), _chip(4), _chip(8)], _random(seed))
        assert 0.35 < (label == 0).mean() < 0.65
        filled = label != 0
        across = label[:, 1:] != label[:, :-1]
        assert not (across & filled[:, 1:] & filled[:, :-1]).any()
        down = label[1:] != label[:-1]
        assert not (down & filled[1:] & filled[:-1]).any()


def test_a_chessboard_favours_what_is_rare() -> None:
    rare = 0
    for seed in range(40):
        _, label = chessmix(_chip(1), [_chip(1), _chip(1), _chip(16)], _random(seed))
        rare += int((label == 16).sum() > 0.25 * (label != 0).sum())
    assert rare > 28  # without favour, a quarter on average


def test_without_any_chance_a_chip_is_itself() -> None:
    pair = _chip(1)
    assert mix(pair, lambda _: pytest.fail("asked for another"), Augment(), _random()) is pair


def test_chances_of_one_or_another_do_not_exceed_one() -> None:
    with pytest.raises(ValidationError, match="sum up to 1"):
        Augment(cutmix=0.5, mosaic=0.6)
