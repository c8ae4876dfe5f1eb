from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nubila.datasets.sample import unseen
from nubila.recipe.augment import Augment
from nubila.train.augment import BandRoles, crop, cut_chip, turn, vary
from nubila.train.augment.occlusion import drop_band, drop_bands, erase, tear
from nubila.train.augment.radiometry import focus, gamma, radiometry

_SEVEN = ("blue", "green", "red", "nir", "swir16", "swir22", "cirrus")
_VISIBLE = _SEVEN[:3]
_ROLES = BandRoles.of(_SEVEN, _VISIBLE)
_OFF = dict.fromkeys(("gain", "band_gain", "band_offset", "haze", "saturate", "noise", "tear"), 0.0)


def _random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _pair(rows: int, columns: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An image whose every band is the label's value: wherever they come apart, it shows."""
    coarse = _random(seed).integers(1, 60, (rows // 8 + 1, columns // 8 + 1))
    label = np.kron(coarse, np.ones((8, 8), int))[:rows, :columns].astype(np.uint8)
    return np.repeat(label[None].astype(np.float32), 7, axis=0), label


@given(rows=st.integers(20, 150), columns=st.integers(20, 150), seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_crop_and_turn_move_image_and_label_alike(rows: int, columns: int, seed: int) -> None:
    image, label = _pair(rows, columns)
    random = _random(seed)
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
    chip, cut = crop(image, label, size=64, zoom=1.0, random=_random())
    assert np.isnan(chip[:, 30:]).all() and (cut[30:] == 0).all()
    np.testing.assert_array_equal(chip[0, :30, :60], image[0])


def test_missing_bands_stay_missing_through_a_crop() -> None:
    image, label = _pair(64, 64)
    image[3:] = np.nan
    for seed in range(5):
        chip, _ = crop(image, label, size=32, zoom=1.5, random=_random(seed))
        assert np.isnan(chip[3:]).all() and not np.isnan(chip[:3]).any()


_WHOLE = Augment(
    **_OFF | {"full_bands": 1}, rotate=0.5, scale=0.1, elastic=4, grid=0.3, optical=0.1,
    drop_band=0.5, gamma=0.2, cirrus=0.5, blur=2, sharpen=1, erase=0.5,
)  # fmt: skip


def test_a_chip_is_what_its_seed_makes_it_whatever_else_is_going_on() -> None:
    def made(seed: int) -> tuple[np.ndarray, np.ndarray]:
        image, label = _pair(90, 80)
        pair = cut_chip(image / 60, label, 48, _WHOLE, _random(seed), _random(seed + 100))
        return vary(pair, _WHOLE, _ROLES, _random(seed), _random(seed + 200))

    one, two, other = made(1), made(1), made(2)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one[0], other[0], equal_nan=True)
    assert (one[0].dtype, one[1].dtype) == (np.float32, np.uint8)
    assert (one[0].shape, one[1].shape) == ((7, 48, 48), (48, 48))


@pytest.mark.parametrize("bands", [(*_SEVEN, "elevation"), ("elevation", *_SEVEN)])
def test_what_no_reflective_band_saw_has_no_label(bands: tuple[str, ...]) -> None:
    image = np.full((8, 6, 6), 0.3, np.float32)
    label = np.ones((6, 6), np.uint8)
    reflective = [i for i, name in enumerate(bands) if name != "elevation"]
    image[reflective, 0] = np.nan  # beyond the edge of the swath
    image[bands.index("elevation"), 1] = np.nan
    image[bands.index("blue"), 2] = np.nan
    spec = Augment(**_OFF | {"full_bands": 1})
    roles = BandRoles.of(bands, bands)
    _, found = vary((image, label), spec, roles, _random(), _random(1))
    assert found[:, 0].tolist() == [0, 1, 1, 1, 1, 1]


def test_roles_and_names_tell_the_same_pixels_unseen() -> None:
    bands = ("elevation", "lwir11", "blue", "red")
    image = np.where(_random().random((4, 16, 16)) < 0.6, np.nan, 0.5).astype(np.float32)
    for some in (bands, bands[::-1], bands[:2], bands[2:]):
        part = image[[bands.index(name) for name in some]]
        np.testing.assert_array_equal(BandRoles.of(some, some).unseen(part), unseen(part, some))


def test_an_augmentation_more_leaves_the_others_as_they_are() -> None:
    image, label = _pair(90, 80)
    image = image / 60
    few, more = Augment(), Augment(drop_band=1)
    plain, lost = (
        vary(
            cut_chip(image, label, 48, s, _random(3), _random(4)), s, _ROLES, _random(5), _random(6)
        )
        for s in (few, more)
    )
    gone = np.isnan(lost[0]).all(axis=(1, 2))
    assert gone.any() and not gone.all()
    np.testing.assert_array_equal(plain[0][~gone], lost[0][~gone])


def test_dropping_leaves_the_visible_and_every_usual_set_of_bands() -> None:
    spec, seen = Augment(full_bands=0.2), set()
    for seed in range(200):
        image = np.zeros((7, 2, 2), np.float32)
        drop_bands(image, spec, _ROLES, _random(seed))
        assert not np.isnan(image[:3]).any()
        seen.add(tuple(np.isnan(image[3:, 0, 0]).tolist()))
    no, yes = True, False
    assert {(no,) * 4, (yes, no, no, no), (yes, yes, yes, no), (yes,) * 4} <= seen


def test_full_bands_of_one_drops_nothing() -> None:
    image = np.zeros((7, 2, 2), np.float32)
    for seed in range(20):
        drop_bands(image, Augment(full_bands=1), _ROLES, _random(seed))
    assert not np.isnan(image).any()


def test_near_infrared_stays_alone_as_often_as_its_odds_say() -> None:
    counts = dict.fromkeys(("alone", "else"), 0)
    for seed in range(1000):
        image = np.zeros((7, 1, 1), np.float32)
        drop_bands(image, Augment(full_bands=0, nir_odds=5), _ROLES, _random(seed))
        left = np.isnan(image[3:, 0, 0]).tolist() == [False, True, True, True]
        counts["alone" if left else "else"] += 1
    # Five of nine of the usual sets, which are four of five; of any sets, one of sixteen.
    assert counts["alone"] / 1000 == pytest.approx(0.8 * 5 / 9 + 0.2 / 16, abs=0.05)


def test_what_dropping_leaves_in_the_visible_alone_is_shown_at_one_of_the_brightnesses() -> None:
    spec, seen = Augment(full_bands=0.2, rgb_gains=(0.5, 0.75)), set()
    for seed in range(200):
        image, plain = (np.full((7, 2, 2), 0.4, np.float32) for _ in range(2))
        drop_bands(image, spec, _ROLES, _random(seed))
        drop_bands(plain, Augment(full_bands=0.2), _ROLES, _random(seed))
        np.testing.assert_array_equal(np.isnan(image), np.isnan(plain))
        alone = bool(np.isnan(image[3:]).all())
        seen.add((alone, float(np.float32(image[0, 0, 0]))))
    dark, middling, bright = (float(np.float32(0.4) * np.float32(g)) for g in (0.5, 0.75, 1))
    assert seen == {(True, dark), (True, middling), (False, bright)}


def test_required_infrared_keeps_the_brightness_and_elevation_is_none() -> None:
    spec = Augment(full_bands=0, rgb_gains=(0.5,))
    for bands, required, dark in (
        ((*_SEVEN, "elevation"), (*_VISIBLE, "nir"), False),
        ((*_SEVEN, "elevation"), _VISIBLE, True),
    ):
        seen = set()
        for seed in range(100):
            image = np.full((8, 2, 2), 0.4, np.float32)
            drop_bands(image, spec, BandRoles.of(bands, required), _random(seed))
            assert image[7, 0, 0] in (np.float32(0.4),) or np.isnan(image[7, 0, 0])
            seen.add(bool(image[0, 0, 0] < 0.3))
        assert (True in seen) == dark


def test_what_came_in_the_visible_alone_keeps_its_brightness() -> None:
    for seed in range(20):
        image = np.full((7, 2, 2), 0.4, np.float32)
        image[3:] = np.nan
        drop_bands(image, Augment(full_bands=0, rgb_gains=(0.5,)), _ROLES, _random(seed))
        assert (image[:3] == np.float32(0.4)).all()


_MANY = (
    "elevation", "coastal", "blue", "green", "red", "rededge071", "rededge075", "rededge078",
    "nir", "nir08", "nir09", "cirrus", "swir16", "swir22", "lwir11",
)  # fmt: skip


def test_bands_go_by_their_names_whatever_their_order() -> None:
    roles, spec = BandRoles.of(_MANY, _VISIBLE), Augment(full_bands=0)
    others = [_MANY.index("elevation"), _MANY.index("lwir11")]
    sets = set()
    for seed in range(100):
        image = np.zeros((15, 1, 1), np.float32)
        drop_bands(image, spec, roles, _random(seed))
        sets.add(frozenset(n for n, v in zip(_MANY, image[:, 0, 0], strict=True) if v == 0))
    near = {"elevation", "lwir11", *_VISIBLE, "nir", "nir08"}
    assert {frozenset(near), frozenset(near | {"swir16", "swir22"})} <= sets
    loud = Augment(gain=0.5, band_gain=0.5, band_offset=0.1, haze=1, saturate=1, noise=0.1)
    image = np.full((15, 8, 8), 0.7, np.float32)
    for seed in range(4):
        radiometry(image, loud, roles, _random(seed))
        gamma(image, Augment(gamma=0.5), roles, _random(seed))
        focus(image, Augment(blur=4, sharpen=2), roles, _random(seed))
    assert (image[others] == np.float32(0.7)).all()
    assert all((image[i] != np.float32(0.7)).any() for i in range(15) if i not in others)


def test_a_band_that_is_not_required_is_lost_alone() -> None:
    lost = set()
    for seed in range(60):
        image = np.zeros((7, 2, 2), np.float32)
        drop_band(image, Augment(drop_band=1), _ROLES, _random(seed))
        (band,) = np.flatnonzero(np.isnan(image).all(axis=(1, 2)))
        lost.add(int(band))
    assert lost == {3, 4, 5, 6}
    image = np.zeros((3, 2, 2), np.float32)
    drop_band(image, Augment(drop_band=1), BandRoles.of(_VISIBLE, _VISIBLE), _random())
    assert not np.isnan(image).any()


def test_radiometry_keeps_brightness_recognisable() -> None:
    dark, bright = [], []
    for seed in range(100):
        for level, found in ((0.05, dark), (0.7, bright)):
            image = np.full((7, 8, 8), level, np.float32)
            radiometry(image, Augment(saturate=0), _ROLES, _random(2 * seed + (level > 0.5)))
            found.append(float(image.mean()))
    assert max(dark) < min(bright)


def test_saturation_is_that_of_an_eight_bit_quicklook() -> None:
    image = np.full((7, 8, 8), 0.7, np.float32)
    radiometry(image, Augment(**_OFF | {"saturate": 1}), _ROLES, _random())
    np.testing.assert_allclose(image[:3], 0.4, atol=1e-6)
    np.testing.assert_allclose(image[3:], 0.7, atol=1e-6)


def test_gamma_is_one_power_that_leaves_nothing_one_and_no_data() -> None:
    image = np.tile(np.array([-0.2, 0, 0.3, 1, np.nan], np.float32), (7, 2, 1))
    before = image.copy()
    gamma(image, Augment(gamma=0.3), _ROLES, _random(1))
    power = np.log(image[0, 0, 2]) / np.log(0.3)
    assert abs(power - 1) > 0.01
    expected = np.sign(before) * np.abs(before) ** power
    np.testing.assert_allclose(image, expected, rtol=1e-5)


def _focused(image: np.ndarray, spec: Augment, low: float, high: float) -> np.ndarray:
    """The image after a seed whose first number, which chooses what is done, is in a range."""
    seed = next(s for s in range(100) if low <= _random(s).random() < high)
    focus(image, spec, _ROLES, _random(seed))
    return image


def test_blur_is_a_weighted_mean_of_what_has_data() -> None:
    image = _random().uniform(0, 1, (7, 30, 20)).astype(np.float32)
    image[:, 4:9, 3:8] = np.nan
    image[5] = np.nan
    before = image.copy()
    spec = Augment(blur=3)
    seed = next(s for s in range(100) if _random(s).random() < 1 / 3)
    width = _random(seed).random(2)[1] * 3
    focus(image, spec, _ROLES, _random(seed))
    np.testing.assert_array_equal(np.isnan(image), np.isnan(before))
    rows, columns = np.mgrid[:30, :20]
    for row, column in ((0, 0), (3, 4), (20, 11)):
        reach = np.ceil(3 * width)
        near = (abs(rows - row) <= reach) & (abs(columns - column) <= reach)
        weight = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2)) * near
        weight *= ~np.isnan(before[0])
        expected = np.nansum(weight * before[0]) / weight.sum()
        assert image[0, row, column] == pytest.approx(expected, rel=1e-4)


def test_sharpening_raises_contrast_and_smears_nothing() -> None:
    image = np.zeros((7, 20, 20), np.float32)
    image[:, :, 10:] = 0.5
    image[:, :, :3] = np.nan
    sharp = _focused(image, Augment(sharpen=1), 2 / 3, 1)
    assert sharp[0, 5, 10] > 0.5 and sharp[0, 5, 9] < 0
    np.testing.assert_allclose(sharp[0, 5, 3:6], 0, atol=1e-6)
    assert np.isnan(sharp[:, :, :3]).all() and not np.isnan(sharp[:, :, 3:]).any()


@pytest.mark.parametrize("chance", [0.0, 1.0])
@pytest.mark.parametrize(("taken", "name"), [(tear, "tear"), (erase, "erase")])
def test_data_and_label_are_taken_together(taken, name: str, chance: float) -> None:
    torn = 0
    for seed in range(20):
        image, label = _pair(64, 48)
        before = image.copy()
        taken(image, label, Augment(**{"tear": 0.0, name: chance}), _random(seed))
        gone = np.isnan(image).all(axis=0)
        np.testing.assert_array_equal(gone, label == 0)
        np.testing.assert_array_equal(image[:, ~gone], before[:, ~gone])
        torn += int(gone.any())
        if name == "erase" and chance:
            assert 0.01 < gone.mean() < 0.25
            rows, columns = gone.any(axis=1).sum(), gone.any(axis=0).sum()
            assert gone.sum() == rows * columns
    assert torn > 10 if chance else torn == 0
