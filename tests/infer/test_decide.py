from collections import deque
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nubila.classes import Validity
from nubila.errors import InputError
from nubila.infer import postprocess as module
from nubila.infer.decide import (
    PROBABILITY_SCALE,
    binary,
    check_told,
    decide,
    judged,
    keep_classes,
    scale_probabilities,
    threshold_list,
)
from nubila.infer.postprocess import growth_notes, postprocess, postprocess_margin, sieve_notes
from nubila.raster import Window
from tests.infer.toy import CLASSES, toy_card

# In an order of its own, so that a place in the card is no class code.
CARD = toy_card().model_copy(update={"classes": ("water", "cloud", "clear", "cloud shadow")})
CODES = (5, 1, 0, 3)


def pixel(*values):
    return np.float32(values)[:, None, None]


def one(*values, card=CARD, **thresholds):
    """Return the class of one pixel."""
    named = {name.replace("_", " "): value for name, value in thresholds.items()}
    return int(decide(pixel(*values), card, named or None)[0, 0])


# From probabilities to classes


KINDS = toy_card().model_copy(
    update={
        "classes": ("clear", "cloud", "thin cloud", "cloud shadow", "snow", "water"),
        "decision": "kind",
    }
)


def test_what_is_cloud_of_either_thickness_is_decided_before_which():
    by_class = KINDS.model_copy(update={"decision": "class"})
    doubtful = (0.4, 0.3, 0.25, 0.05, 0.0, 0.0)
    assert one(*doubtful, card=KINDS) == 1 and one(*doubtful, card=by_class) == 0
    # And ground before which ground.
    bright = (0.15, 0.4, 0.0, 0.0, 0.25, 0.2)
    assert one(*bright, card=KINDS) == 4 and one(*bright, card=by_class) == 1
    # A threshold decides of its class alone; the rest is decided by kind.
    assert one(*doubtful, card=KINDS, thin_cloud=0.3) == 1
    assert one(*doubtful, card=KINDS, cloud=0.35) == 2
    assert one(*doubtful, card=KINDS, cloud=0.35, thin_cloud=0.3) == 0
    assert one(*doubtful, card=KINDS, cloud=0.35, thin_cloud=0.2) == 2
    assert one(0.4, 0.3, np.nan, 0.05, 0.0, 0.0, card=KINDS) == 255


@given(hnp.arrays(np.float32, (6, 70, 3), elements=st.floats(0, 1, width=16)))
def test_the_most_probable_class_of_the_most_probable_kind(shares):
    found = decide(shares, KINDS)
    for place in product(range(70), range(3)):
        p = [float(v) for v in shares[:, *place]]
        totals = {(0, 4, 5): p[0] + p[4] + p[5], (1, 2): p[1] + p[2], (3,): p[3]}
        code = int(found[place])
        kind = next(kind for kind in totals if code in kind)
        assert totals[kind] >= max(totals.values()) - 1e-6
        assert p[code] == max(p[n] for n in kind)


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.just(4), st.integers(1, 200), st.integers(1, 9)),
        elements=st.sampled_from(np.float32([0, 0.1, 0.25, 0.5, 1, np.nan])),
    )
)
def test_without_thresholds_it_is_the_most_probable_class_and_the_first_of_equals(values):
    found = decide(values, CARD)
    assert found.dtype == np.uint8
    for row, column in np.ndindex(found.shape):
        pixel = values[:, row, column].tolist()
        missing = any(v != v for v in pixel)
        assert found[row, column] == (255 if missing else CODES[pixel.index(max(pixel))])


def by_hand(pixel, thresholds):
    """The rule in words: the best that reaches its threshold, else the best that has none."""
    named = dict(zip(CARD.classes, pixel, strict=True))
    reaching = [n for n in named if n in thresholds and named[n] >= np.float32(thresholds[n])]
    among = reaching or [n for n in named if n not in thresholds]
    best = max(among, key=lambda n: named[n])  # the first of equals
    return CODES[CARD.classes.index(best)]


@given(
    hnp.arrays(np.float32, (4, 5, 3), elements=st.floats(0, 1, width=32)),
    st.dictionaries(st.sampled_from(CARD.classes), st.floats(0, 1), max_size=3),
)
def test_thresholds(values, thresholds):
    found = decide(values, CARD, thresholds)
    for row, column in np.ndindex(found.shape):
        assert found[row, column] == by_hand(values[:, row, column], thresholds)


def test_a_low_threshold_finds_more_and_a_high_one_less():
    assert one(0.1, 0.35, 0.45, 0.1) == 0
    assert one(0.1, 0.35, 0.45, 0.1, cloud=0.3) == 1
    assert one(0.1, 0.6, 0.2, 0.1) == 1
    assert one(0.1, 0.6, 0.2, 0.1, cloud=0.7) == 0


def test_a_probability_reaches_its_own_threshold():
    assert one(0.2, 0.3, 0.4, 0.1, cloud=0.3) == 1
    assert one(0.2, np.nextafter(np.float32(0.3), np.float32(0)), 0.4, 0.1, cloud=0.3) == 0


def test_the_more_probable_of_two_that_reach_theirs():
    assert one(0.0, 0.3, 0.35, 0.35, cloud=0.2, cloud_shadow=0.2) == 3
    assert one(0.0, 0.3, 0.4, 0.3, cloud=0.2, cloud_shadow=0.2) == 1


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("thresholds", [{}, {"cloud": 0.2}, {"cloud": 0.2, "water": 0.0}])
def test_what_is_no_number_is_no_data(odd, place, thresholds):
    values = [0.25] * 4
    values[place] = odd
    assert one(*values, **thresholds) == 255


def test_thresholds_go_by_the_order_of_the_card():
    assert threshold_list(CARD, {"shadow": 0.4, "Cloud": 1}) == [None, 1.0, None, 0.4]
    assert threshold_list(CARD, None) == [None] * 4


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ({"clowd": 0.4}, "did you mean 'cloud'"),
        ({"snow": 0.4}, "does not tell this class .*water, cloud"),
        ({"cloud": 1.01}, "between 0 and 1, got 1.01"),
        ({"cloud": -0.1}, "between 0 and 1"),
        ({"cloud": float("nan")}, "between 0 and 1"),
        (dict.fromkeys(CARD.classes, 0.5), "leave at least one"),
    ],
)
def test_wrong_thresholds_are_refused(thresholds, message):
    with pytest.raises(InputError, match=message):
        decide(pixel(0, 0, 0, 1), CARD, thresholds)


def test_classes_that_a_model_does_not_tell_are_refused():
    check_told(CARD, ["Cloud", "shadow", "clear"])
    check_told(CARD, [])
    with pytest.raises(
        InputError, match=r"'thin cloud': model toy does not tell it .*cloud, clear"
    ):
        check_told(CARD, ["cloud", "thin cloud"])
    with pytest.raises(InputError, match="did you mean 'cloud'"):
        check_told(CARD, ["clowd"])
    merged = CARD.model_copy(update={"stands_for": {"cloud": ("cloud", "thin cloud")}})
    check_told(merged, ["thin cloud", "cloud"])  # found as cloud
    with pytest.raises(InputError, match="its class 'cloud' stands for it too"):
        check_told(merged, ["thin cloud"])


@given(hnp.arrays(np.float32, (2, 3, 4), elements=st.floats(0, 1, width=32)))
def test_probabilities_as_bytes_are_right_to_half_a_step(values):
    found = scale_probabilities(values)
    assert found.dtype == np.uint8 and found.max() <= 250
    assert np.abs(found * PROBABILITY_SCALE - values).max() <= PROBABILITY_SCALE / 2 + 1e-6


def test_what_is_no_probability_as_a_byte():
    values = pixel(np.nan, np.inf, -np.inf, 1.2, -0.1)
    assert scale_probabilities(values).ravel().tolist() == [255, 255, 255, 250, 0]


def test_which_pixels_are_judged():
    kinds = np.uint8([Validity.VALID, Validity.NO_DATA, Validity.SATURATED, Validity.NOT_JUDGED])
    assert judged(kinds).tolist() == [True, False, True, False]


ALL = np.uint8([[0, 1, 2, 3, 4, 5, 255]])


def test_classes_that_are_not_kept_are_clear():
    assert keep_classes(ALL, ["cloud", "snow"]).tolist() == [[0, 1, 0, 0, 4, 0, 255]]
    assert keep_classes(ALL, []).tolist() == [[0, 0, 0, 0, 0, 0, 255]]
    np.testing.assert_array_equal(keep_classes(ALL, CLASSES), ALL)


def test_binary():
    assert binary(ALL, ["cloud", "thin_cloud"]).tolist() == [[0, 1, 1, 0, 0, 0, 255]]
    assert binary(ALL, ["clear"]).tolist() == [[1, 0, 0, 0, 0, 0, 255]]


@pytest.mark.parametrize("function", [keep_classes, binary])
def test_unknown_classes_are_refused(function):
    with pytest.raises(InputError, match="did you mean 'snow'"):
        function(ALL, ["snoww"])


# Growing

CLASS_RASTERS = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 14), st.integers(1, 14)),
    elements=st.sampled_from([0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 255]),
)


def disc(radius, size):
    """Return the offsets whose centres lie within a radius, exactly."""
    height, width = (Fraction(s) for s in size)
    r = Fraction(radius)
    rows, columns = int(r / height), int(r / width)
    return [
        (row, column)
        for row, column in product(range(-rows, rows + 1), range(-columns, columns + 1))
        if (row * height) ** 2 + (column * width) ** 2 <= r**2
    ]


def grown(classes, radius, size):
    """Grow by brute force: each pixel asks the disc around it."""
    result = classes.copy()
    near = disc(radius, size)
    for row, column in np.ndindex(classes.shape):
        if classes[row, column] not in (0, 4, 5):
            continue
        around = {
            int(classes[row + r, column + c])
            for r, c in near
            if 0 <= row + r < classes.shape[0] and 0 <= column + c < classes.shape[1]
        }
        for code in (1, 2, 3):
            if code in around:
                result[row, column] = code
                break
    return result


SIDES = st.sampled_from([0.5, 1.0, 10.0, 12.5, 20.0, 30.0])


@settings(deadline=None)
@given(CLASS_RASTERS, st.integers(0, 240), SIDES, SIDES, st.sampled_from([1, 3, 1024]))
def test_clouds_grow_by_a_disc_in_metres(classes, quarters, height, width, chunk):
    radius = quarters / 4
    assume(radius / min(height, width) <= 25)
    before = classes.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_GROWN_ROWS", chunk)
        found = postprocess(classes, pixel_size=(height, width), dilate_m=radius)
    np.testing.assert_array_equal(found, grown(classes, radius, (height, width)))
    np.testing.assert_array_equal(classes, before)


def test_the_disc_of_a_single_pixel():
    classes = np.zeros((9, 9), np.uint8)
    classes[4, 4] = 1
    found = postprocess(classes, pixel_size=(10, 20), dilate_m=30)
    rows = ["".join("#" if v else "." for v in row) for row in found]
    assert rows == [
        ".........",
        "....#....",
        "...###...",
        "...###...",
        "...###...",
        "...###...",
        "...###...",
        "....#....",
        ".........",
    ]


@pytest.mark.parametrize("metres", [1e5, 1e12, 1e300])
def test_a_disc_greater_than_the_scene_covers_it_at_once(metres):
    classes = np.zeros((90, 70), np.uint8)
    classes[0, 0], classes[50, 60] = 3, 255
    expected = np.full_like(classes, 3)
    expected[50, 60] = 255
    found = postprocess(classes, pixel_size=(10, 10), dilate_m=metres)
    np.testing.assert_array_equal(found, expected)


# Small objects


def objects(classes):
    """Return the objects of one class connected by edges, each a set of pixels, by flooding."""
    left = {p for p in np.ndindex(classes.shape) if classes[p] != 255}
    found = []
    while left:
        start = left.pop()
        members, queue = {start}, deque([start])
        while queue:
            row, column = queue.popleft()
            for p in beside(row, column):
                if p in left and classes[p] == classes[start]:
                    left.remove(p)
                    members.add(p)
                    queue.append(p)
        found.append(members)
    return found


def beside(row, column):
    return ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))


@given(
    hnp.arrays(np.uint8, (12, 13), elements=st.sampled_from([0, 0, 0, 0, 0, 0, 1, 1, 2, 255])),
    st.integers(0, 9),
)
def test_small_objects_are_filled_by_the_largest_around_them(classes, least):
    """From each small object to the largest beside it and on, until one is large enough."""
    found = postprocess(classes, pixel_size=(10, 20), min_area_m2=least * 200)
    np.testing.assert_array_equal(found == 255, classes == 255)
    parts = objects(classes)
    owner = {p: n for n, part in enumerate(parts) for p in part}

    def largest_beside(n):
        """The largest neighbours of an object: none, one, or several that are equal."""
        around = {owner[q] for p in parts[n] for q in beside(*p) if q in owner} - {n}
        most = max((len(parts[m]) for m in around), default=0)
        return [m for m in around if len(parts[m]) == most]

    for n, part in enumerate(parts):
        way = [n]
        while len(parts[way[-1]]) < least:
            following = largest_beside(way[-1])
            if len(following) != 1 or following[0] in way:
                break
            way += following
        else:
            following = way[-1:]
        if len(following) > 1:
            continue  # which of equals is taken is left open
        end = way[-1] if len(parts[way[-1]]) >= least else n
        assert {int(found[p]) for p in part} == {int(classes[min(parts[end])])}


@given(
    hnp.arrays(np.uint8, (30, 34), elements=st.sampled_from([0, 1, 2, 4])),
    st.integers(0, 40),
    st.integers(0, 40),
    st.tuples(st.integers(0, 25), st.integers(0, 28)),
)
def test_with_the_margin_a_part_keeps_what_the_whole_keeps(classes, pixels, metres, corner):
    how = {"pixel_size": (10, 20), "min_area_m2": pixels * 200}
    part = Window(*corner, 5, 6)
    seen = part.expand(postprocess_margin(**how), within=classes.shape)
    found = postprocess(classes[seen.slices], **how)
    inner = part.shift(-seen.row, -seen.column).slices
    for members in objects(classes):
        if len(members) >= pixels:
            there = np.zeros(classes.shape, bool)
            there[tuple(zip(*members, strict=True))] = True
            kept = there[part.slices]
            assert (found[inner][kept] == classes[part.slices][kept]).all()
    how = {"pixel_size": (10, 20), "dilate_m": metres}
    seen = part.expand(postprocess_margin(**how), within=classes.shape)
    inner = part.shift(-seen.row, -seen.column).slices
    np.testing.assert_array_equal(
        postprocess(classes[seen.slices], **how)[inner], postprocess(classes, **how)[part.slices]
    )


def test_an_object_of_just_the_size_stays_and_all_do_where_none_is_large_enough():
    classes = np.zeros((9, 9), np.uint8)
    classes[4, 2:6] = 1
    for area, kept in ((400, True), (400.0001, False), (399, True), (1e12, True)):
        found = postprocess(classes, pixel_size=(10, 10), min_area_m2=area)
        assert (found == 1).any() == kept, area


@pytest.mark.parametrize(("area", "noted"), [(0, 0), (400, 0), (7700, 0), (7701, 1), (1e12, 1)])
def test_that_nothing_is_large_enough_to_fill_with_is_noted(area, noted):
    classes = np.zeros((9, 9), np.uint8)
    classes[4, 2:6] = 1
    how = {"pixel_size": (10, 10), "min_area_m2": area}
    assert len(sieve_notes(classes, **how)) == noted
    if noted:
        np.testing.assert_array_equal(postprocess(classes, **how), classes)


def test_small_objects_and_small_holes_are_filled():
    classes = np.zeros((12, 12), np.uint8)
    classes[1:3, 1:3] = 1  # 4 pixels: stays
    classes[5, 5:8] = 1  # 3 pixels: goes
    classes[8:12, 8:12] = 1
    expected = classes.copy()
    expected[5, 5:8] = 0
    classes[9, 9] = 0  # a hole of one pixel: filled
    classes[0, 11] = 3  # alone
    found = postprocess(classes, pixel_size=(10, 10), min_area_m2=400)
    np.testing.assert_array_equal(found, expected)


def test_no_data_is_neither_filled_nor_fills():
    classes = np.full((6, 6), 255, np.uint8)
    classes[2:4, 2:4] = 1
    classes[2, 2] = 255
    found = postprocess(classes, pixel_size=(10, 10), min_area_m2=1000)
    np.testing.assert_array_equal(found, classes)


def test_objects_that_touch_by_a_corner_are_two():
    classes = np.zeros((6, 6), np.uint8)
    classes[2, 2] = classes[3, 3] = 1
    assert not postprocess(classes, pixel_size=(1, 1), min_area_m2=2).any()


def test_small_objects_go_before_clouds_grow():
    classes = np.zeros((20, 20), np.uint8)
    classes[5, 5] = 1
    assert not postprocess(classes, pixel_size=(1, 1), min_area_m2=2, dilate_m=3).any()


@pytest.mark.parametrize("name", ["dilate_m", "min_area_m2"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_lengths_and_areas_that_make_no_sense_are_refused(name, value):
    with pytest.raises(InputError, match=f"{name} must be a number from 0 up, got {value}"):
        postprocess(np.zeros((2, 2), np.uint8), pixel_size=(1, 1), **{name: value})


def test_nothing_asked_for_is_nothing_done():
    np.testing.assert_array_equal(postprocess(ALL, pixel_size=(10, 10)), ALL)


@given(st.floats(0, 100), st.tuples(st.floats(5, 60), st.floats(5, 60)))
def test_that_nothing_grows_is_noted(dilate, pixel_size):
    classes = np.zeros((41, 41), np.uint8)
    classes[20, 20] = 1
    grown = postprocess(classes, pixel_size=pixel_size, dilate_m=dilate)
    notes = growth_notes(pixel_size=pixel_size, dilate_m=dilate)
    assert bool(notes) == (dilate > 0 and (grown == 1).sum() == 1)


def test_the_note_names_dilation_and_pixel():
    (note,) = growth_notes(pixel_size=(60.0, 60.0), dilate_m=45.0)
    assert note == "dilation of 45 m is less than a pixel of 60 m: nothing grows"
