import numpy as np
import pytest

from nubila.classes import CLASS_NAMES, COLOURS
from nubila.codes import SCHEMES, to_codes
from nubila.errors import InputError
from nubila.infer.decide import binary, keep_classes
from nubila.infer.legend import make_legend

OURS = np.array([[*CLASS_NAMES, 255]], np.uint8)


def test_the_plain_legend_changes_nothing():
    legend = make_legend()
    np.testing.assert_array_equal(legend.apply(OURS), OURS)
    assert legend.names == CLASS_NAMES
    assert legend.colours == COLOURS


@pytest.mark.parametrize("name", SCHEMES)
def test_codes_are_those_of_the_scheme(name):
    legend = make_legend(codes=name)
    found = legend.apply(OURS)
    np.testing.assert_array_equal(found, to_codes(OURS, name))
    assert found.dtype == SCHEMES[name].dtype
    assert set(found.ravel().tolist()) <= {*legend.names, legend.nodata}


def test_a_subset_calls_the_others_clear():
    names = ["cloud", "shadow"]
    np.testing.assert_array_equal(make_legend(classes=names).apply(OURS), keep_classes(OURS, names))


@pytest.mark.parametrize("names", [["cloud"], ["snow", "water"], ["clear"]])
def test_a_binary_mask(names):
    legend = make_legend(classes=names, binary=True)
    np.testing.assert_array_equal(legend.apply(OURS), binary(OURS, names))


def test_a_binary_mask_marks_what_hides_the_ground_when_not_told():
    assert make_legend(binary=True).apply(OURS).tolist() == [[0, 1, 1, 1, 0, 0, 255]]


def test_a_subset_in_other_codes():
    legend = make_legend(classes=["cloud"], codes="scl")
    assert legend.apply(OURS).tolist() == [[5, 9, 5, 5, 5, 5, 0]]


def test_binary_and_codes_exclude_each_other():
    with pytest.raises(InputError, match="binary"):
        make_legend(binary=True, codes="scl")


def test_an_unknown_class_is_told():
    with pytest.raises(InputError, match="did you mean 'cloud'"):
        make_legend(classes=["clod"])
