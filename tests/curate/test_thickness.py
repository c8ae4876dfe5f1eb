from pathlib import Path

import numpy as np
import pytest

from nubila.classes import CLASS_NAMES, class_set
from nubila.curate.automatic import automatic_label
from nubila.curate.thickness import _CIRRUS, thickness_sets, under_cirrus
from nubila.datasets import load_sample, read_manifest
from nubila.detect import Detection, Output, View, view_of

_BANDS = ("blue", "green", "red", "nir", "swir16")
_ALL = set(CLASS_NAMES.values())
_GROUND = class_set(["clear", "water"])
_SNOW = class_set(["clear", "snow", "water"])
_UNKNOWN = class_set(CLASS_NAMES.values())


def _one(bits):
    return np.array([[bits]], np.uint8)


def _view(pixel, bands=_BANDS):
    return View(np.array(pixel, np.float32)[:, None, None], bands)


@pytest.mark.parametrize(
    ("pixel", "ground", "ruled_out"),
    [
        ((0.62, 0.60, 0.61, 0.64, 0.45), _GROUND, {"thin cloud"}),
        ((0.62, 0.60, 0.61, 0.64, 0.45), _SNOW, set()),  # thin cloud over snow is as bright
        ((0.20, 0.16, 0.14, 0.25, 0.18), _GROUND, {"cloud"}),
        ((0.20, 0.16, 0.14, 0.25, 0.18), _SNOW, {"cloud"}),
        ((0.27, 0.26, 0.25, 0.32, 0.25), _GROUND, set()),
        ((0.62, 0.60, 0.15, 0.64, 0.45), _GROUND, {"cloud"}),  # the darkest band counts
        ((np.nan,) * 5, _GROUND, set()),
    ],
)
def test_brightness_tells_thick_from_thin(pixel, ground, ruled_out):
    sets = thickness_sets(_view(pixel), _one(_UNKNOWN), _one(ground))
    assert sets[0, 0] == class_set(_ALL - ruled_out)


def test_without_short_wave_infrared_bright_cloud_is_thick():
    view = _view((0.62, 0.60, 0.61, 0.64), _BANDS[:4])
    assert thickness_sets(view, _one(_UNKNOWN), _one(_SNOW))[0, 0] == class_set(
        _ALL - {"thin cloud"}
    )


@pytest.mark.parametrize(
    ("snowy", "ruled_out"), [(0, {"thin cloud"}), (1, {"thin cloud"}), (2, set()), (99, set())]
)
def test_ice_in_clouds_is_doubted_only_where_the_image_shows_snow(snowy, ruled_out):
    view = View(np.full((5, 1, 200), 0.6, np.float32), _BANDS)
    sky = np.full((1, 200), class_set(["cloud", "thin cloud"]), np.uint8)
    surface = np.full((1, 200), _SNOW, np.uint8)
    ground = slice(0, 2 * snowy)
    sky[:, ground] = class_set(["clear", "snow", "water"])
    surface[:, ground] = class_set(["snow"])
    assert thickness_sets(view, sky, surface)[0, -1] == class_set(_ALL - ruled_out)


@pytest.mark.parametrize("bands", [("blue", "green", "red"), ("green", "red", "nir")])
def test_without_near_infrared_or_blue_it_stays_open(bands):
    sets = thickness_sets(_view((0.62, 0.60, 0.61), bands), _one(_UNKNOWN), _one(_GROUND))
    assert sets[0, 0] == class_set(_ALL)


def test_a_drawn_cloud_is_told_and_a_drawn_thin_cloud_stays():
    view = View(np.full((5, 1, 3), 0.6, np.float32), _BANDS)
    drawn = np.array([[6, 4, 1]], np.uint8)  # either kind, thin, clear
    label = automatic_label(view, None, drawn)
    assert label.tolist() == [[class_set(["cloud"]), 4, 1]]


@pytest.mark.parametrize(
    ("split", "thin", "thick"), [("train", 0.99, 0.98), ("validation", 0.97, 0.88)]
)
def test_the_limits_hold_for_the_cloud_that_people_drew(shared_data, split, thin, thick):
    recipes = Path(__file__).resolve().parents[2] / "recipes"
    specs = read_manifest(recipes / "default.csv", root=shared_data, split=split)
    counts = np.zeros((2, 2), int)  # (dark, bright), (thick, thin)
    for spec in specs:
        if spec.folder != "l8_biome":
            continue
        sample = load_sample(spec)
        view = view_of(sample)
        darkest = np.min([view.band(name) for name in ("blue", "green", "red")], axis=0)
        for place, inside in enumerate((darkest < 0.18, (darkest > 0.35) & (darkest < 0.45))):
            counts[place] += [(inside & (sample.label == bits)).sum() for bits in (2, 4)]
    shares = counts / counts.sum(axis=1, keepdims=True)
    assert shares[0, 1] > thin
    assert shares[1, 0] > thick


_BEFORE = [{"clear"}, {"cloud"}, {"cloud shadow"}, {"clear", "cloud shadow"}, {"snow", "water"}]


@pytest.mark.parametrize(
    ("reflectance", "after"),
    [
        (0.012, _BEFORE),
        (
            0.02,
            [
                *({"clear", "thin cloud"}, {"cloud"}, {"cloud shadow"}),
                {"clear", "thin cloud", "cloud shadow"},
                {"snow", "water", "thin cloud"},
            ],
        ),
    ],
)
def test_ground_seen_through_cirrus_may_be_under_thin_cloud(reflectance, after):
    view = View(np.full((1, 1, 5), reflectance, np.float32), ("cirrus",))
    told = np.array([[class_set(names) for names in _BEFORE]], np.uint8)
    ground = np.full((1, 5), _GROUND, np.uint8)
    found = under_cirrus(view, told, told, ground)
    assert found.tolist() == [[class_set(names) for names in after]]
    other = View(view.image, ("coastal",))
    assert under_cirrus(other, told, told, ground).tolist() == told.tolist()


def test_cirrus_does_not_thin_a_cloud_that_a_person_drew():
    image = np.array([0.6, 0.6, 0.6, 0.6, 0.5, 0.05], np.float32)[:, None, None]
    view = View(image, (*_BANDS, "cirrus"))
    outputs = (Output(0, ("clear", "snow", "water")), Output(1, ("cloud", "thin cloud")))
    clear = Detection(np.array([[[1.0]], [[0.0]]], np.float32), outputs)
    assert automatic_label(view, clear, None)[0, 0] == class_set(["clear", "thin cloud"])
    assert automatic_label(view, clear, None, cirrus=False)[0, 0] == class_set(["clear"])
    drawn = _one(class_set(["cloud", "thin cloud"]))
    assert automatic_label(view, clear, drawn)[0, 0] == drawn[0, 0]


@pytest.mark.parametrize("told", [class_set(["clear", "snow"]), _UNKNOWN])
def test_the_cirrus_band_is_not_believed_over_snow_or_where_nothing_is_known(told):
    view = View(np.full((1, 1, 4), 0.2, np.float32), ("cirrus",))
    sets = np.full((1, 4), told, np.uint8)
    surface = np.full((1, 4), class_set(["snow"]), np.uint8)
    assert under_cirrus(view, sets, sets, surface).tolist() == sets.tolist()


def test_the_cirrus_band_agrees_with_the_cloud_that_people_drew(shared_data):
    recipes = Path(__file__).resolve().parents[2] / "recipes"
    drawn = np.zeros((2, 2), int)  # (possible, certain), (cloud, not)
    for spec in read_manifest(recipes / "default.csv", root=shared_data):
        if spec.folder != "l8_biome" or "SnowIce" in spec.id:
            continue
        sample = load_sample(spec)
        cirrus = view_of(sample).band("cirrus")
        cloud = np.isin(sample.label, [2, 4, 6])
        for place, inside in enumerate(((cirrus > _CIRRUS) & (cirrus < 0.02), cirrus > 0.03)):
            drawn[place] += [(inside & cloud).sum(), (inside & ~cloud & (sample.label > 0)).sum()]
    assert drawn[0, 0] / drawn[0].sum() > 0.85
    assert drawn[1].tolist() == [375696, 8]
