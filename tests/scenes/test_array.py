"""Arrays as scenes: what is given with them."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from nubila.classes import Validity
from nubila.errors import InputError
from nubila.scenes.array import scene_from_array

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [float, np.float64, np.array, str, Decimal])
def test_nodata_is_found_whatever_type_the_number_has(dtype, kind):
    values = RNG.uniform(0, 9000, (2, 20, 30)).astype(dtype)
    values[:, 3:5] = -9999.9
    scene = scene_from_array(
        values,
        "blue,red",
        scale=1e-4,
        nodata=kind("-9999.9" if kind in (str, Decimal) else -9999.9),
    )
    validity = scene.read(["blue", "red"]).validity
    np.testing.assert_array_equal(validity == Validity.NO_DATA, values[0] < 0)


@pytest.mark.parametrize("name", ["scale", "offset", "nodata", "saturated"])
@pytest.mark.parametrize("value", ["none", [1, 2], 1j, True, b"x"])
def test_what_is_no_number_is_told(name, value):
    values = RNG.integers(1, 9000, (2, 20, 30))
    given = {"scale": 1e-4} | {name: value}
    with pytest.raises(InputError, match=f"{name} is .*, expected a number"):
        scene_from_array(values, "blue,red", **given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"scale": 0}, "scale of band 'blue' is 0"),
        ({"scale": {"blue": 1e-4, "red": -1e-4}}, "scale of band 'red' is -0.0001"),
        ({"scale": 1e300}, "scale of band 'blue' is 1e"),
        ({"scale": np.nan}, "scale of band 'blue' is nan"),
        ({"scale": 1e-4, "offset": -1e300}, "offset of band 'blue' is -1e"),
        ({"scale": 1e-4, "offset": np.inf}, "offset of band 'blue' is inf"),
        ({"scale": {"blue": 1e-4}}, "no scale is given for band 'red'"),
    ],
)
def test_a_scale_or_offset_that_no_reflectance_has_is_refused(given, said):
    with pytest.raises(InputError, match=said):
        scene_from_array(RNG.integers(1, 9000, (2, 20, 30)), "blue,red", **given)


def test_percent_is_told_to_be_percent():
    values = RNG.uniform(0, 60, (2, 20, 30))
    with pytest.raises(InputError, match=r"values to [56]\d.*give scale=0\.01 for percent"):
        scene_from_array(values, "blue,red")
