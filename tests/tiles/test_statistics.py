from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import roc_auc_score

from nubila.datasets import load_sample
from nubila.recipe.data import Tiling
from nubila.tiles import Tally, count_labels, tally_samples, tally_store, write_store
from nubila.tiles.statistics import BINARY, PERCENTILES, BandTally
from tests.tiles.toy import BANDS, toy_specs

HALVES = arrays.arrays(
    np.float16, st.integers(1, 60), elements=st.floats(-2, 2, width=16, allow_subnormal=False)
)


@settings(max_examples=40, deadline=None)
@given(HALVES, st.integers(0, 60))
def test_a_band_in_pieces_has_the_numbers_of_the_whole(values, cut):
    band = BandTally()
    for piece in (values[:cut], values[cut:], np.full(3, np.nan, np.float16)):
        band.add(piece, np.zeros(piece.size, np.uint8))
    exact = values.astype(np.float64)
    assert band.pixels == values.size
    np.testing.assert_allclose(band.mean, exact.mean(), atol=1e-9)
    np.testing.assert_allclose(band.standard_deviation, exact.std(), atol=1e-9)
    expected = np.percentile(exact, PERCENTILES, method="inverted_cdf")
    np.testing.assert_array_equal(list(band.percentiles().values()), expected)
    assert band.percentiles((0, 100)) == {0: exact.min(), 100: exact.max()}


@settings(max_examples=40, deadline=None)
@given(HALVES, st.randoms(use_true_random=False))
def test_the_separation_is_the_area_under_the_curve(values, random):
    kinds = np.array([random.choice((0, 1, 2)) for _ in values], np.uint8)
    band = BandTally()
    band.add(values, kinds)
    labelled = kinds > 0
    if len(set(kinds[labelled])) < 2:
        assert band.auc() is None
    else:
        expected = roc_auc_score(kinds[labelled] == 2, values[labelled].astype(float))
        assert band.auc() == pytest.approx(expected)


def test_a_histogram_is_that_of_the_values():
    random = np.random.default_rng(0)
    values, kinds = random.random(5000).astype(np.float16), random.integers(0, 3, 5000)
    band = BandTally()
    band.add(values, kinds.astype(np.uint8))
    edges = np.linspace(0.1, 0.9, 17)
    for found, kind in zip(band.histogram(edges), (1, 2), strict=True):
        np.testing.assert_array_equal(found, np.histogram(values[kinds == kind], edges)[0])


def test_a_tally_of_samples_counts_what_is_in_them(tmp_path):
    specs = toy_specs(tmp_path, [(20, 30), (17, 9)])
    tally = tally_samples(specs, workers=2)
    samples = [load_sample(spec) for spec in specs]
    labels = np.concatenate([s.label.ravel() for s in samples])
    blue = np.concatenate([s.image[0].ravel() for s in samples]).astype(np.float64)
    clouds, clear = np.isin(labels, (2, 4)), np.isin(labels, (8, 1 | 16 | 32))
    found = json.loads(json.dumps(tally.describe()))
    assert found["counts"] == {"clear": clear.sum(), "cloud": clouds.sum()}
    assert found["pos_weight"] == clear.sum() / clouds.sum()
    assert found["ignored"] == (labels == 0).sum() and found["pixels"] == labels.size
    assert found["surely"]["thin cloud"] == (labels == 4).sum()
    assert found["surely"]["snow"] == 0 and found["possibly"]["snow"] == (labels == 49).sum()
    assert list(found["bands"]) == list(BANDS)
    assert found["bands"]["blue"]["mean"] == pytest.approx(blue.mean(), rel=1e-6)
    p98 = found["bands"]["blue"]["percentiles"]["98"]
    assert p98 == pytest.approx(np.percentile(blue, 98), rel=2e-3)
    rules = found["class_weights"]
    assert set(rules) == {"inverse_frequency", "effective_number", "median_frequency"}


def test_a_store_without_overlap_has_the_counts_of_its_samples(tmp_path):
    specs = toy_specs(tmp_path / "data", [(32, 48), (16, 16)])
    store = write_store(specs, tmp_path / "store", Tiling(size=16), bands=BANDS)
    of_samples, of_tiles = tally_samples(specs), tally_store(store)
    assert of_tiles.counts() == of_samples.counts() == count_labels(store, BINARY).counts()
    np.testing.assert_array_equal(of_tiles.bands["red"].cloud, of_samples.bands["red"].cloud)


def test_without_labels_there_are_no_weights():
    tally = Tally()
    tally.add(np.ones((1, 4, 4), np.float32), np.zeros((4, 4), np.uint8), ["red"])
    found = tally.describe()
    assert found["pos_weight"] is None and found["class_weights"] == {}
    assert found["bands"]["red"]["cloud_auc"] is None


def test_bands_that_some_samples_lack_are_counted_where_they_are():
    tally = Tally()
    label = np.full((2, 2), 2, np.uint8)
    tally.add(np.ones((2, 2, 2), np.float32), label, ["red", "blue"])
    tally.add(np.zeros((1, 2, 2), np.float32), label, ["red"])
    assert tally.band_names() == ["blue", "red"]
    assert (tally.bands["red"].pixels, tally.bands["blue"].pixels) == (8, 4)
    assert tally.present == {"clear": 0, "cloud": 8}
