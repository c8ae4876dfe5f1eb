from __future__ import annotations

import numpy as np
import pytest

from nubila.recipe.augment import Augment
from nubila.train.augment import BandRoles, paste_clouds
from nubila.train.augment.clouds import cirrus, cloud_of

_BANDS = ("blue", "green", "red", "nir", "swir16", "cirrus", "elevation")
_ROLES = BandRoles.of(_BANDS, ("blue", "green", "red"))
_GROUND = np.array([0.08, 0.1, 0.12, 0.3, 0.25, 0.002, 1.4], np.float32)
_CLOUD = np.array([0.8, 0.8, 0.8, 0.8, 0.5, 0.1, 1.4], np.float32)
_CLEAR, _THICK, _THIN, _SHADOW, _SNOW = 1, 2, 4, 8, 16
_ALWAYS = Augment(cirrus=1, paste_clouds=1)


def _random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _over(opacity: np.ndarray) -> np.ndarray:
    """A cloud of some opacity over even ground, by the mixture that is to be found again."""
    cloud, ground = _CLOUD[:, None, None], _GROUND[:, None, None]
    image = opacity * cloud + (1 - opacity) * ground
    image[6] = 1.4
    return image.astype(np.float32)


def _sky() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, label and opacity of a cloud that thins out from left to right."""
    opacity = np.zeros((32, 40), np.float32)
    opacity[4:28, 5:35] = np.clip(np.linspace(1.4, 0, 30), 0, 1)
    label = np.full(opacity.shape, _CLEAR, np.uint8)
    label[4:28, 5:35] = np.where(opacity[4:28, 5:35] > 0.6, _THICK, _THIN)
    return _over(opacity), label, opacity


def test_the_opacity_of_a_real_cloud_is_found_again() -> None:
    image, label, opacity = _sky()
    cloud = cloud_of((image, label), _ROLES)
    assert cloud is not None
    np.testing.assert_allclose(cloud.opacity, opacity, atol=0.01)
    np.testing.assert_allclose(cloud.light[:6], opacity * _CLOUD[:6, None, None], atol=0.01)
    np.testing.assert_array_equal(cloud.label, np.where(label == _CLEAR, 0, label))


def test_a_scene_of_thin_clouds_alone_has_none_that_is_opaque() -> None:
    _, label, opacity = _sky()
    cloud = cloud_of((_over(0.3 * opacity), np.where(label == _THICK, _THIN, label)), _ROLES)
    assert cloud is not None
    # Its brightest cloud, 0.3 of the way from ground to 0.8, is measured against 0.5.
    expected = 0.3 * (0.8 - 0.1) / (0.5 - 0.1)
    assert cloud.opacity.max() == pytest.approx(expected, rel=0.01)


def test_a_pasted_cloud_is_that_cloud_over_the_other_ground() -> None:
    donor, marks, opacity = _sky()
    image = np.repeat(np.linspace(0.02, 0.4, 40, dtype=np.float32)[None], 32, 0)[None] * np.ones(
        (7, 1, 1), np.float32
    )
    label = np.full((32, 40), _SNOW, np.uint8)
    label[:6], label[6:8], image[:, 10:12, 3:30], label[10:12, 3:30] = 0, _THICK, np.nan, 0
    before = image.copy(), label.copy()
    found, code = paste_clouds((image, label), lambda _: (donor, marks), _ALWAYS, _ROLES, _random())
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(label, before[1])
    expected = opacity * _CLOUD[:, None, None] + (1 - opacity) * image
    expected[6] = image[6]
    np.testing.assert_allclose(found, expected, atol=0.012)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(image))
    assert (code[label == 0] == 0).all()
    thick = (marks == _THICK) & (label == _SNOW)
    assert thick.any() and (code[thick] == _THICK).all()
    over = (marks == _THIN) & (label == _THICK)
    assert over.any() and (code[over] == _THICK | _THIN).all()
    faint = (marks == _THIN) & (opacity < 0.04) & (label == _SNOW)
    assert faint.any() and (code[faint] == 0).all()
    untouched = (marks == _CLEAR) & (label != 0)
    assert (code[untouched] == label[untouched]).all()


def test_thin_cloud_over_what_may_be_cloud_does_not_teach_that_it_is_thin() -> None:
    donor, marks, opacity = _sky()
    label = np.full(marks.shape, _CLEAR | _THICK | _THIN | _SNOW, np.uint8)
    image = np.full_like(donor, 0.1)
    _, code = paste_clouds((image, label), lambda _: (donor, marks), _ALWAYS, _ROLES, _random())
    pasted = (marks == _THIN) & (opacity > 0.06)
    assert pasted.any() and (code[pasted] == _THICK | _THIN).all()


def test_clouds_that_cannot_be_taken_out_are_left_out() -> None:
    image, label, opacity = _sky()
    assert cloud_of((image, np.full_like(label, _THICK)), _ROLES) is None
    assert cloud_of((image, np.full_like(label, _CLEAR)), _ROLES) is None
    bright = _over(opacity)
    bright[:3] = 0.8  # snow as bright as the cloud
    assert cloud_of((bright, label), _ROLES) is None
    lacking = image.copy()
    lacking[3] = np.nan
    pair = image.copy(), np.full_like(label, _CLEAR)
    asked = []
    bank = lambda random: asked.append(random) or (lacking, label)  # noqa: E731 (one expression)
    assert paste_clouds(pair, bank, _ALWAYS, _ROLES, _random()) is pair
    assert len(asked) == 3
    poorer = pair[0].copy()
    poorer[3] = np.nan
    found, _ = paste_clouds((poorer, pair[1]), bank, _ALWAYS, _ROLES, _random())
    assert np.isnan(found[3]).all() and not np.array_equal(found, poorer, equal_nan=True)


def _ground(shape: tuple[int, int] = (48, 48)) -> tuple[np.ndarray, np.ndarray]:
    image = np.broadcast_to(_GROUND[:, None, None], (7, *shape)).copy()
    label = np.resize(np.array([_CLEAR, _THICK, _THIN, 6, 0, _CLEAR | 6, _SNOW], np.uint8), shape)
    image[:, :8, :8], label[:8, :8] = np.nan, 0
    return image, label


@pytest.mark.parametrize("seed", range(6))
def test_cirrus_brightens_what_it_is_said_to_cover(seed: int) -> None:
    image, label = _ground()
    before, codes = image.copy(), label.copy()
    cirrus(image, label, _ALWAYS, _ROLES, _random(seed))
    np.testing.assert_array_equal(np.isnan(image), np.isnan(before))
    np.testing.assert_array_equal(image[6], before[6])
    # The opacity again, from the band where the ground is dark (its factor for ice is 0.8).
    opacity = (image[5] - before[5]) / 0.8
    seen, unseen = opacity > 0.052, opacity < 0.009
    for kept in (_THICK, _THIN, 6, 0):
        assert (label[codes == kept] == kept).all()
    for other, covered in ((_CLEAR, _THIN), (_SNOW, _THIN), (_CLEAR | 6, _THICK | _THIN)):
        assert (label[(codes == other) & seen] == covered).all()
        assert (label[(codes == other) & unseen] == other).all()
        assert (label[(codes == other) & (opacity > 0.012) & (opacity < 0.048)] == 0).all()
    assert (image[:4][:, seen] > before[:4][:, seen]).all()
    again, others = _ground()
    cirrus(again, others, _ALWAYS, _ROLES, _random(seed))
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(label, others)


def test_cirrus_is_often_there_and_never_without_a_chance() -> None:
    thin = 0
    for seed in range(20):
        image, label = _ground()
        cirrus(image, label, _ALWAYS, _ROLES, _random(seed))
        thin += int((label == _THIN).mean() > 0.35)
    assert thin > 5
    image, label = _ground()
    before = image.copy()
    cirrus(image, label, Augment(), _ROLES, _random())
    np.testing.assert_array_equal(image, before)
