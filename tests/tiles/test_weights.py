from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from nubila.classes import class_set
from nubila.errors import InputError
from nubila.tiles import class_counts, class_weights, pos_weight

# Pixels of the training part of 38-Cloud.
CLOUD38 = {"clear": 863_885_830, "cloud": 374_744_570}


def test_pos_weight_is_that_of_38_cloud():
    assert round(pos_weight(tuple(CLOUD38.values())), 4) == 2.3053
    for counts in ((5,), (0, 5), (5, 0), (1, 2, 3)):
        with pytest.raises(InputError, match="pos_weight needs"):
            pos_weight(counts)


@given(st.lists(st.integers(1, 500), min_size=2, max_size=6))
def test_inverse_frequency_is_what_scikit_learn_calls_balanced(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    expected = compute_class_weight("balanced", classes=np.arange(len(counts)), y=labels)
    found = class_weights(dict(zip("abcdef", counts, strict=False)), "inverse_frequency")
    np.testing.assert_allclose(list(found.values()), expected)


@given(st.lists(st.integers(1, 500), min_size=2, max_size=6))
def test_effective_numbers_are_the_sums_of_their_series(counts):
    beta = (sum(counts) - 1) / sum(counts)
    raw = [1 / math.fsum(beta**i for i in range(n)) for n in counts]
    found = class_weights(dict(zip("abcdef", counts, strict=False)), "effective_number")
    np.testing.assert_allclose(list(found.values()), np.array(raw) / np.mean(raw))


def test_median_frequency_by_hand():
    found = class_weights(
        {"a": 10, "b": 40, "c": 2, "none": 0},
        "median_frequency",
        present={"a": 100, "b": 100, "c": 10, "none": 0},
    )
    assert found == pytest.approx({"a": 2.0, "b": 0.5, "c": 1.0, "none": 0.0})
    with pytest.raises(InputError, match="median_frequency needs"):
        class_weights({"a": 1}, "median_frequency")


def test_unknown_rules_and_empty_counts_are_errors():
    with pytest.raises(InputError, match="did you mean 'inverse_frequency'"):
        class_weights(CLOUD38, "inverse")
    with pytest.raises(InputError, match="no pixel is surely of any class"):
        class_weights({"a": 0}, "inverse_frequency")


def test_only_pixels_that_are_surely_of_one_output_count():
    sets = np.zeros(64, np.int64)
    sets[0] = 1000  # ignored
    sets[class_set(["cloud"])] = 1
    sets[class_set(["cloud", "thin cloud"])] = 20
    sets[class_set(["clear", "snow", "water"])] = 300
    sets[class_set(["clear", "cloud"])] = 5000  # either
    classes = {"no": ("clear", "snow", "water"), "yes": ("cloud", "thin cloud")}
    assert class_counts(sets, classes) == {"no": 300, "yes": 21}
    assert class_counts(sets, {"no": ("clear",), "yes": ("cloud",)}) == {"no": 300, "yes": 21}
    assert class_counts(sets, {"a": ("clear",), "b": ("snow",)}) == {"a": 5000, "b": 0}
