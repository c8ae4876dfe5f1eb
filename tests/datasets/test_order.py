from __future__ import annotations

import numpy as np
import pytest

from nubila.datasets.order import order_bands
from nubila.errors import ManifestError
from nubila.infer.plan import make_plan
from nubila.scenes.array import scene_from_array
from tests.infer.toy import toy_card


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_bands_are_put_in_order_and_absent_ones_are_nan(kind):
    image = np.arange(3 * 4, dtype=kind).reshape(3, 2, 2)
    found = order_bands(image, ("red", "green", "nir08"), ("cirrus", "green", "nir"), ("green",))
    assert found.dtype == kind
    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[1:], image[[1, 2]])


def test_narrow_near_infrared_stands_in_only_where_the_wide_one_is_absent():
    image = np.arange(2, dtype=np.float32).reshape(2, 1, 1)
    assert order_bands(image, ("nir08", "nir"), ("nir", "nir08")).ravel().tolist() == [1, 0]
    both = image[:1], ("nir08",), ("nir", "nir08")
    assert order_bands(*both, required=("nir",)).ravel().tolist() == [0, 0]


def test_narrow_near_infrared_is_not_taken_twice_as_inference_does_not_either():
    image = np.ones((1, 1, 1), np.float32)
    np.testing.assert_array_equal(
        order_bands(image, ("nir08",), ("nir", "nir08")).ravel(), [np.nan, 1]
    )
    scene = scene_from_array(np.ones((2, 8, 8), np.float32), ("red", "nir08"), scale=1.0)
    card = toy_card(("red", "nir", "nir08"), required=1)
    plan = make_plan(scene, card, resolution=None, window=None, threads=1, tile=None)
    assert plan.optional == ("nir08",)


def test_a_required_band_must_be_there():
    with pytest.raises(ManifestError, match=r"band nir is absent \(the image has: red\)"):
        order_bands(np.zeros((1, 1, 1), np.float32), ("red",), ("red", "nir"), ("nir",))
