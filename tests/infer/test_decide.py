from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nubila.classes import NO_DATA, Validity
from nubila.errors import InputError
from nubila.infer.decide import (
    PROBABILITY_NO_DATA,
    PROBABILITY_SCALE,
    binary,
    decide,
    judged,
    keep_classes,
    postprocess,
    scale_probabilities,
    threshold_list,
)
from nubila.models_io import BandUse, ModelCard

CLASSES = ("cloud shadow", "clear", "cloud", "water")
CARD = ModelCard(
    name="toy",
    version="0",
    summary="",
    bands=(BandUse(name="red", required=True),),
    classes=CLASSES,
    resolution=(10, 60),
    receptive_field=0,
    stride=1,
)
CODES = (3, 0, 1, 5)

CLASS_RASTERS = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=14),
    elements=st.sampled_from([0, 1, 2, 3, 4, 5, NO_DATA]),
)


def pixel(*probabilities: float) -> np.ndarray:
    return np.array(probabilities, np.float32)[:, None, None]


# Each line: probabilities in the order of CLASSES, thresholds, code.
TABLE = [
    ((0.1, 0.6, 0.2, 0.1), {}, 0),
    ((0.4, 0.1, 0.4, 0.1), {}, 3),  # of equals the first
    ((0.0, 0.6, 0.35, 0.05), {"cloud": 0.3}, 1),  # found though clear is more probable
    ((0.0, 0.6, 0.35, 0.05), {"cloud": 0.36}, 0),
    ((0.0, 0.3, 0.6, 0.1), {"cloud": 0.7}, 0),  # refused though most probable
    ((0.0, 0.7, 0.3, 0.0), {"cloud": 0.3}, 1),  # 0.3 reaches 0.3, in float32 too
    ((0.4, 0.2, 0.3, 0.1), {"cloud": 0.2, "cloud shadow": 0.2}, 3),  # the more probable of two
    ((0.0, 0.0, 0.1, 0.9), {"cloud": 0.0}, 1),
    ((0.1, 0.6, 0.2, 0.1), {"shadow": 0.05}, 3),  # by an alias
    ((0.2, np.nan, 0.4, 0.4), {}, NO_DATA),
    ((0.2, np.inf, 0.4, 0.4), {"cloud": 0.1}, NO_DATA),
    ((0.2, -np.inf, 0.4, 0.4), {}, NO_DATA),
]


@pytest.mark.parametrize(("probabilities", "thresholds", "code"), TABLE)
def test_decide_table(probabilities, thresholds, code):
    assert decide(pixel(*probabilities), CARD, thresholds)[0, 0] == code


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(1, 150),
    columns=st.integers(1, 9),
    seed=st.integers(0, 1000),
    limits=st.dictionaries(st.sampled_from(CLASSES[1:]), st.floats(0, 1), max_size=3),
)
def test_decide_agrees_with_the_rule_pixel_by_pixel(rows, columns, seed, limits):
    rng = np.random.default_rng(seed)
    found = rng.dirichlet(np.ones(4), (rows, columns)).astype(np.float32).transpose(2, 0, 1)
    classes = decide(found, CARD, limits)
    for place in np.ndindex(rows, columns):
        values = dict(zip(CLASSES, found[:, *place], strict=True))
        reaching = [n for n in limits if values[n] >= np.float32(limits[n])]
        among = reaching or [n for n in CLASSES if n not in limits]
        assert classes[place] == CODES[CLASSES.index(max(among, key=values.__getitem__))]


@pytest.mark.parametrize(
    ("thresholds", "told"),
    [
        ({"snow": 0.5}, "does not tell"),
        ({"clod": 0.5}, "did you mean 'cloud'"),
        ({"cloud": 1.5}, "between 0 and 1, got 1.5"),
        ({"cloud": math.nan}, "between 0 and 1"),
        (dict.fromkeys(CLASSES, 0.5), "leave at least one"),
    ],
)
def test_wrong_thresholds_are_told(thresholds, told):
    with pytest.raises(InputError, match=told):
        threshold_list(CARD, thresholds)


def test_probabilities_as_bytes():
    values = np.array([[[0, 1, 0.5, 0.0021, np.nan, np.inf]]], np.float32)
    scaled = scale_probabilities(values)
    assert scaled.dtype == np.uint8
    assert scaled.tolist() == [[[0, 250, 125, 1, PROBABILITY_NO_DATA, PROBABILITY_NO_DATA]]]


@given(hnp.arrays(np.float32, (2, 3, 4), elements=st.floats(0, 1, width=32)))
def test_bytes_are_within_half_a_step(values):
    back = scale_probabilities(values) * PROBABILITY_SCALE
    assert np.abs(back - values).max() <= PROBABILITY_SCALE / 2 + 1e-6


def test_judged_are_the_valid_and_the_saturated():
    assert judged(np.array([list(Validity)], np.uint8)).tolist() == [
        [v in (Validity.VALID, Validity.SATURATED) for v in Validity]
    ]


@given(CLASS_RASTERS)
def test_subset_and_binary(classes):
    names = ["cloud", "snow"]
    kept, marked = keep_classes(classes, names), binary(classes, names)
    wanted = np.isin(classes, [1, 4])
    empty = classes == NO_DATA
    assert (kept[wanted | empty] == classes[wanted | empty]).all()
    assert (kept[~wanted & ~empty] == 0).all()
    assert (marked[empty] == NO_DATA).all()
    assert (marked[~empty] == wanted[~empty]).all()


def test_unknown_class_names_are_told():
    for function in (keep_classes, binary):
        with pytest.raises(InputError, match="unknown class 'fog'"):
            function(np.zeros((1, 1), np.uint8), ["fog"])


def dilated_by_definition(classes: np.ndarray, radius: float, size: tuple[float, float]):
    """Every pixel looks at every other one: slow, and obviously right."""
    result = classes.copy()
    rows, columns = np.indices(classes.shape)
    for r, c in np.ndindex(classes.shape):
        if classes[r, c] not in (0, 4, 5):
            continue
        away = np.hypot((rows - r) * size[0], (columns - c) * size[1])
        near = set(classes[away <= radius + 1e-9].tolist())
        result[r, c] = next((code for code in (1, 2, 3) if code in near), classes[r, c])
    return result


@settings(deadline=None, max_examples=60)
@given(
    classes=CLASS_RASTERS,
    radius=st.sampled_from([0.0, 5.0, 10.0, 14.2, 20.0, 22.4, 35.0, 400.0]),
    size=st.sampled_from([(10.0, 10.0), (10.0, 20.0), (15.0, 7.0)]),
)
def test_dilation_against_its_definition(classes, radius, size):
    found = postprocess(classes, pixel_size=size, dilate_m=radius)
    assert np.array_equal(found, dilated_by_definition(classes, radius, size))


def test_dilation_leaves_no_trace_of_the_bands_it_works_in(monkeypatch):
    rng = np.random.default_rng(0)
    classes = rng.choice(np.array([0, 0, 0, 0, 0, 0, 1, 2, 3, 255], np.uint8), (97, 61))
    whole = postprocess(classes, pixel_size=(10, 10), dilate_m=45)
    monkeypatch.setattr("nubila.infer.decide._GROWN_ROWS", 7)
    assert np.array_equal(postprocess(classes, pixel_size=(10, 10), dilate_m=45), whole)


def test_small_objects_and_small_holes_are_filled():
    classes = np.zeros((12, 12), np.uint8)
    classes[1:3, 1:3] = 1  # 4 pixels: stays
    classes[5, 5:8] = 1  # 3 pixels: goes
    classes[8:12, 8:12] = 1
    classes[9, 9] = 0  # a hole of one pixel: filled
    classes[0, 11] = 3  # alone
    found = postprocess(classes, pixel_size=(10, 10), min_area_m2=400)
    wanted = np.zeros((12, 12), np.uint8)
    wanted[1:3, 1:3] = 1
    wanted[8:12, 8:12] = 1
    assert np.array_equal(found, wanted)


def test_no_data_is_neither_filled_nor_fills():
    classes = np.full((6, 6), NO_DATA, np.uint8)
    classes[2:4, 2:4] = 1
    classes[2, 2] = NO_DATA
    assert np.array_equal(postprocess(classes, pixel_size=(10, 10), min_area_m2=1000), classes)


def test_small_objects_go_before_clouds_grow():
    classes = np.zeros((9, 9), np.uint8)
    classes[4, 4] = 1
    found = postprocess(classes, pixel_size=(10, 10), dilate_m=20, min_area_m2=200)
    assert not found.any()


@pytest.mark.parametrize("wrong", [{"dilate_m": -1.0}, {"min_area_m2": math.inf}])
def test_lengths_and_areas_must_make_sense(wrong):
    with pytest.raises(InputError, match="must be a number from 0 up"):
        postprocess(np.zeros((2, 2), np.uint8), pixel_size=(10, 10), **wrong)
