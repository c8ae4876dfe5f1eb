import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nubila.classes import CLASS_NAMES, class_set
from nubila.curate.automatic import automatic_label
from nubila.curate.shadow import Sun, lit, reach, shadow_sets
from nubila.curate.surface import surface_sets
from nubila.datasets import load_sample, read_manifest
from nubila.detect import Detection, Output, View, view_of
from nubila.errors import InputError

_CLOUD = class_set(["cloud", "thin cloud"])
_SHADOW = class_set(["cloud shadow"])
_ALL = class_set(CLASS_NAMES.values())


@pytest.mark.parametrize(
    ("azimuth", "expected"),
    [
        (180, (slice(30, 40), 40)),  # sun in the south: shadow to the north, in rows above
        (0, (slice(41, 51), 40)),
        (90, (40, slice(30, 40))),  # sun in the east: shadow to the west
        (270, (40, slice(41, 51))),
    ],
)
def test_shadows_lie_away_from_the_sun_as_far_as_clouds_are_high(azimuth, expected):
    mask = np.zeros((81, 81), bool)
    mask[40, 40] = True
    # At 45 degrees a shadow is as far away as its cloud is high: 0.2 to 12 km are 1/6 to 10 pixels.
    found = reach(mask, Sun(45, azimuth), 1200, outside=False)
    found[40, 40] = False  # of the lowest cloud, less than half a pixel away
    wanted = np.zeros_like(mask)
    wanted[expected] = True
    np.testing.assert_array_equal(found, wanted)


@given(
    st.floats(12, 85),
    st.floats(0, 360),
    st.integers(0, 2**32 - 1),
    st.sampled_from([300.0, 700.0, 2000.0]),
)
def test_every_shadow_by_ray_is_within_reach(elevation, azimuth, seed, resolution):
    """From each cloud at many heights, the pixel of its shadow, one by one."""
    random = np.random.default_rng(seed)
    mask = random.uniform(0, 1, (24, 31)) > 0.97
    found = reach(mask, Sun(elevation, azimuth), resolution, outside=False)
    for row, column in np.argwhere(mask):
        for height in random.uniform(200, 12000, 20):
            away = height / math.tan(math.radians(elevation)) / resolution
            place = (
                row + away * math.cos(math.radians(azimuth)),
                column - away * math.sin(math.radians(azimuth)),
            )
            at = tuple(round(p) for p in place)
            if not (0 <= at[0] < 24 and 0 <= at[1] < 31):
                continue
            near = found[max(at[0] - 1, 0) : at[0] + 2, max(at[1] - 1, 0) : at[1] + 2]
            assert near.any()
    wider = reach(mask, Sun(elevation, azimuth), resolution, outside=True)
    assert not (found & ~wider).any()


def _view(nir, size=(60, 60), resolution=300.0):
    image = np.stack([np.full(size, 0.08), np.full(size, 0.06), nir]).astype(np.float32)
    return View(image, ("green", "red", "nir"), resolution=resolution)


def test_shadow_is_ruled_out_where_none_can_fall_and_certain_where_it_is_dark():
    nir = np.full((60, 60), 0.35)
    nir[30, 10] = 0.12  # north of the cloud
    nir[50, 10] = 0.12  # south of it, where no shadow of it falls
    view = _view(nir)
    told = np.full((60, 60), _ALL & ~_CLOUD, np.uint8)
    told[45, 10] = _CLOUD
    sets = shadow_sets(view, told, surface_sets(view), Sun(60, 180))
    assert sets[30, 10] == _SHADOW
    assert sets[31, 10] == _ALL  # within reach, but bright
    # South of the cloud: only one beyond the edge may throw a shadow there.
    assert sets[50, 10] == _ALL
    assert sets[20, 40] == _ALL & ~_SHADOW
    # A cloud beyond the southern edge may throw a shadow this far.
    assert sets[58, 40] == _ALL


def test_dark_water_is_no_shadow():
    view = _view(np.full((60, 60), 0.02))
    told = np.full((60, 60), _ALL & ~_CLOUD, np.uint8)
    told[45, 10] = _CLOUD
    sets = shadow_sets(view, told, surface_sets(view), Sun(60, 180))
    assert not (sets == _SHADOW).any()


def test_missing_pixels_may_hold_clouds():
    nir = np.full((60, 60), 0.35)
    view = _view(nir)
    view.image[:, 45, 10] = np.nan
    told = np.full((60, 60), _ALL & ~_CLOUD, np.uint8)
    sets = shadow_sets(view, told, surface_sets(view), Sun(60, 180))
    assert sets[30, 10] == _ALL
    assert sets[30, 11] == _ALL & ~_SHADOW


def test_pixels_of_which_only_the_height_is_known_may_hold_clouds():
    seen = _view(np.full((60, 60), 0.35))
    height = np.full((1, 60, 60), 0.5, np.float32)
    view = View(np.concatenate([seen.image, height]), (*seen.bands, "elevation"), resolution=300.0)
    view.image[:3, 45, 10] = np.nan
    told = np.full((60, 60), _ALL & ~_CLOUD, np.uint8)
    sets = shadow_sets(view, told, surface_sets(view), Sun(60, 180))
    assert (sets[30, 10], sets[30, 11]) == (_ALL, _ALL & ~_SHADOW)


@pytest.mark.parametrize(("elevation", "azimuth"), [(0, 1), (-3, 1), (91, 1), (30, math.nan)])
def test_a_sun_below_the_horizon_is_refused(elevation, azimuth):
    with pytest.raises(InputError, match="above the horizon"):
        Sun(elevation, azimuth)


_SEEN = ("blue", "green", "red", "nir")


def test_what_is_bright_in_every_band_is_no_shadow():
    pixels = [(0.5, 0.5, 0.5, 0.5), (0.5, 0.5, 0.5, 0.39), (0.39, 0.5, 0.5, 0.5), (np.nan,) * 4]
    view = View(np.array(pixels, np.float32).T[:, None], _SEEN)
    assert lit(view).tolist() == [[True, False, False, False]]
    assert not lit(View(view.image[:3], _SEEN[:3])).any()


def test_a_detector_is_not_believed_that_bright_ground_is_shadow():
    view = View(np.array([[[0.8, 0.1]]] * 4, np.float32), _SEEN)
    outputs = (Output(0, ("clear", "snow", "water")), Output(3, ("cloud shadow",)))
    sure = Detection(np.array([[[0.0, 0.0]], [[1.0, 1.0]]], np.float32), outputs)
    label = automatic_label(view, sure, None)
    assert label[0, 0] & _SHADOW == 0
    assert label[0, 1] == _SHADOW


def test_shadow_that_people_drew_is_not_lit(shared_data):
    recipes = Path(__file__).resolve().parents[2] / "recipes"
    drawn, bright = 0, 0
    for spec in read_manifest(recipes / "default.csv", root=shared_data):
        if _SHADOW not in spec.codes.all_sets:
            continue
        sample = load_sample(spec)
        shadow = sample.label == _SHADOW
        drawn += int(shadow.sum())
        bright += int((lit(view_of(sample)) & shadow).sum())
    assert drawn > 10_000
    assert bright / drawn < 0.001
