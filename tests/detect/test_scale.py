from __future__ import annotations

import numpy as np
import pytest

from nubila.detect.scale import at_resolution, back_to, coarser, nearest_to


@pytest.mark.parametrize(
    ("own", "wanted", "shape"),
    [
        (10.0, 30.0, (30, 40)),
        (20.0, 60.0, (30, 40)),
        (10.0, 60.0, (15, 20)),
        (7.0, 30.0, (21, 28)),
        # A little finer is taken as it is, and nothing is ever made finer.
        (25.0, 30.0, (90, 120)),
        (30.0, 30.0, (90, 120)),
        (32.0, 30.0, (90, 120)),
        (60.0, 30.0, (90, 120)),
        # Nobody knows, or nobody asks.
        (None, 30.0, (90, 120)),
        (10.0, None, (90, 120)),
        # Something is always left.
        (0.01, 30.0, (1, 1)),
    ],
)
def test_how_many_pixels_are_left(
    own: float | None, wanted: float | None, shape: tuple[int, int]
) -> None:
    image = np.zeros((2, 90, 120), np.float32)
    assert coarser((90, 120), own, wanted) == shape
    found = at_resolution(image, own, wanted)
    assert found.shape == (2, *shape)
    assert (found is image) == (shape == (90, 120))


def test_coarser_pixels_are_means_of_what_has_data() -> None:
    image = np.random.default_rng(0).uniform(size=(2, 6, 9)).astype(np.float32)
    image[0, 0, :3] = np.nan
    image[1, 3:, :3] = np.nan
    found = at_resolution(image, 10, 30)
    blocks = image.reshape(2, 2, 3, 3, 3)
    with np.errstate(invalid="ignore"):
        there = np.isfinite(blocks)
        sums = np.where(there, blocks, 0).sum(axis=(2, 4))
        expected = sums / there.sum(axis=(2, 4))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.isnan(found[1, 1, 0])


def test_answers_come_back_where_they_belong() -> None:
    share = np.linspace(0, 1, 4, dtype=np.float32)
    found = back_to(np.stack([share[None], 1 - share[None]]), (3, 12))
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-6)
    np.testing.assert_allclose(found[0, :, 1::3], np.tile(share, (3, 1)), atol=1e-6)
    codes = np.array([[1, 2], [3, 4]], np.uint8)
    np.testing.assert_array_equal(nearest_to(codes, (4, 6)), np.kron(codes, np.ones((2, 3))))
