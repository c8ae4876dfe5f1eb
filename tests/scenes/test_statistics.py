from __future__ import annotations

import numpy as np
import pytest

from nubila.errors import InputError
from nubila.scenes.statistics import SCENE_STATISTICS, scene_statistics


def test_agrees_with_numpy_over_pixels_with_data() -> None:
    random = np.random.default_rng(0)
    image = random.gamma(2, 0.1, (3, 40, 30)).astype(np.float32)
    image[0, random.random((40, 30)) < 0.3] = np.nan
    image[2] = np.nan
    found = dict(zip(SCENE_STATISTICS, scene_statistics(image), strict=True))
    some = image[:2]
    expected = {
        "minimum": np.nanmin(some, axis=(1, 2)),
        "maximum": np.nanmax(some, axis=(1, 2)),
        "p2": np.nanquantile(some, 0.02, axis=(1, 2)),
        "p98": np.nanquantile(some, 0.98, axis=(1, 2)),
        "mean": np.nanmean(some, axis=(1, 2)),
        "standard deviation": np.nanstd(some, axis=(1, 2)),
    }
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name][:2], values, rtol=1e-5)
        assert np.isnan(found[name][2])


def test_gives_what_is_asked_in_that_order() -> None:
    image = np.linspace(0, 1, 101).reshape(1, 101, 1)
    found = scene_statistics(image, ("p98", "minimum"))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0.98], [0]], atol=1e-7)
    with pytest.raises(InputError, match="unknown statistic 'p3'; did you mean 'p2'"):
        scene_statistics(image, ("p3",))
