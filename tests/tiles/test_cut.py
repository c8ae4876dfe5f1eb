from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nubila.classes import class_set
from nubila.errors import ManifestError
from nubila.recipe.data import Tiling
from nubila.scenes.statistics import scene_statistics
from nubila.tiles.cut import SETS, allowed_pixels, cut_sample, lattice
from tests.tiles.toy import BANDS, toy_sample


def random_sample(rows: int, columns: int, **meta):
    random = np.random.default_rng(3)
    image = random.random((3, rows, columns), np.float32)
    return toy_sample(image, random.integers(1, SETS, (rows, columns)).astype(np.uint8), **meta)


def cut(sample, **tiling):
    return cut_sample(sample, Tiling(**tiling), bands=BANDS, required=BANDS)


@given(st.integers(1, 700), st.integers(16, 300), st.data())
def test_a_lattice_covers_every_pixel_and_stays_inside(length, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    starts = lattice(length, size, overlap)
    covered = {pixel for start in starts for pixel in range(start, start + size)}
    assert covered >= set(range(length))
    assert starts == sorted(set(starts))
    assert starts[-1] + size <= max(length, size)
    # Only the last tile, shifted inwards, shares more than was asked for.
    assert all(b - a == size - overlap for a, b in itertools.pairwise(starts[:-1]))


@pytest.mark.parametrize("overlap", [0, 5])
def test_tiles_put_back_are_the_sample(overlap):
    sample = random_sample(50, 37)
    found = cut(sample, size=16, overlap=overlap)
    image, label = np.full((3, 50, 37), np.nan, np.float16), np.zeros((50, 37), np.uint8)
    for (row, column), tile, mask in zip(found.corners, found.images, found.labels, strict=True):
        image[:, row : row + 16, column : column + 16] = tile
        label[row : row + 16, column : column + 16] = mask
    np.testing.assert_array_equal(image, sample.image.astype(np.float16))
    np.testing.assert_array_equal(label, sample.label)
    np.testing.assert_array_equal(found.statistics, scene_statistics(sample.image))


def test_a_sample_smaller_than_a_tile_is_filled_up_with_no_data():
    found = cut(random_sample(10, 40), size=32)
    assert found.corners.tolist() == [[0, 0], [0, 8]]
    assert np.isnan(found.images[:, :, 10:]).all() and not found.labels[:, 10:].any()
    assert not np.isnan(found.images[:, :, :10]).any()
    assert found.valid.tolist() == [10 / 32, 10 / 32]


def test_coarser_tiles_hold_means_and_cover_the_whole_sample():
    sample = random_sample(32, 34, resolution=10.0)
    found = cut(sample, size=16, resolution=20.0)
    expected = sample.image.reshape(3, 16, 2, 17, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(found.images[0], expected[:, :, :16], atol=1e-3)
    np.testing.assert_allclose(found.images[1], expected[:, :, 1:], atol=1e-3)
    # Labels cannot be averaged: the pixel at the centre, of four the lower right one.
    np.testing.assert_array_equal(found.labels[0], sample.label[1::2, 1::2][:, :16])


def test_a_resolution_cannot_be_changed_where_it_is_not_known():
    with pytest.raises(ManifestError, match=r"20 m.*column 'resolution'"):
        cut(random_sample(32, 32, resolution=None), size=16, resolution=20.0)


def test_filters_leave_tiles_out():
    sample = random_sample(32, 48)
    sample.label[:] = class_set(["clear"])
    sample.label[:16, :16] = class_set(["cloud", "thin cloud"])
    sample.image[:, 16:, 16:32] = np.nan
    sample.image[:, 16:24, 32:] = np.nan
    everything = cut(sample, size=16)
    assert everything.valid.tolist() == [1, 1, 1, 1, 0, 0.5]
    assert len(cut(sample, size=16, least_valid=0.5).valid) == 5
    assert len(cut(sample, size=16, least_valid=0.6).valid) == 4
    assert cut(sample, size=16, least_share={"cloud": 0.9}).corners.tolist() == [[0, 0]]
    assert cut(sample, size=16, least_share={"snow": 0.1}).corners.tolist() == []


def test_only_reflective_bands_tell_where_a_tile_has_data():
    image = np.full((4, 16, 32), 0.2, np.float32)
    image[:3, :, 16:] = np.nan  # beyond the edge of the swath; its height is known
    sample = replace(toy_sample(image, np.ones((16, 32), np.uint8)), bands=(*BANDS, "elevation"))
    for bands in (sample.bands, sample.bands[::-1]):
        found = cut_sample(sample, Tiling(size=16), bands=bands, required=bands)
        assert found.valid.tolist() == [1, 0]
        kept = cut_sample(sample, Tiling(size=16, least_valid=0.5), bands=bands, required=bands)
        assert kept.corners.tolist() == [[0, 0]]
        coarse = cut_sample(sample, Tiling(size=16, resolution=20.0), bands=bands, required=bands)
        label = coarse.labels[0, :8]
        assert (label[:, :8] == 1).all() and not label[:, 8:].any()


def test_windows_are_as_many_as_asked_for_inside_and_bound_to_the_sample_and_the_seed():
    found = cut(random_sample(40, 60), size=16, windows=30)
    assert found.corners.shape == (30, 2)
    assert (found.corners >= 0).all() and (found.corners.max(axis=0) <= (24, 44)).all()
    again = cut(random_sample(40, 60), size=16, windows=30)
    np.testing.assert_array_equal(found.images, again.images)
    for other in (cut(random_sample(40, 60, id="b"), size=16, windows=30),
                  cut(random_sample(40, 60), size=16, windows=30, seed=1)):  # fmt: skip
        assert not np.array_equal(found.corners, other.corners)


def test_windows_that_a_filter_leaves_out_are_drawn_again():
    sample = random_sample(60, 60)
    sample.image[:, :, :30] = np.nan
    found = cut(sample, size=16, windows=10, least_valid=1.0)
    assert len(found.corners) == 10 and found.corners[:, 1].min() >= 30


def test_an_absent_band_is_nan_unless_it_is_required():
    sample = random_sample(16, 16)
    wanted = ("nir", "red")
    found = cut_sample(sample, Tiling(size=16), bands=wanted, required=("red",))
    assert np.isnan(found.images[0, 0]).all()
    np.testing.assert_array_equal(found.images[0, 1], sample.image[2].astype(np.float16))
    with pytest.raises(ManifestError, match="band nir is absent"):
        cut_sample(sample, Tiling(size=16), bands=wanted, required=wanted)


@given(st.lists(st.integers(0, SETS - 1), min_size=1, max_size=50))
def test_allowed_pixels_are_those_whose_label_has_the_bit(labels):
    counts = np.bincount(labels, minlength=SETS)
    expected = [sum(label >> code & 1 for label in labels) for code in range(6)]
    assert allowed_pixels(counts).tolist() == expected
