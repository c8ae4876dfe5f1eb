from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from nubila.datasets.reliability import BINS, expected_calibration_error, reliability
from nubila.evaluate.calibration import calibration
from nubila.evaluate.tally import SampleTally, tally

CLEAR, CLOUD, THIN = 1, 2, 4


def _two(probability: np.ndarray) -> np.ndarray:
    return np.stack([1 - probability, probability]).astype(np.float32)


def test_bins_agree_with_sklearn() -> None:
    rng = np.random.default_rng(0)
    cloudy = rng.random((40, 50)).astype(np.float32)
    truth = rng.random((40, 50)) < cloudy**2
    label = np.where(truth, CLOUD, CLEAR).astype(np.uint8)
    (table,) = reliability(label, _two(cloudy), [CLEAR, CLOUD], ["cloud"]).values()
    frequency, mean = calibration_curve(truth.ravel(), cloudy.ravel(), n_bins=BINS)
    np.testing.assert_allclose(table[2] / table[0], frequency)
    np.testing.assert_allclose(table[1] / table[0], mean, atol=1e-5)
    expected = np.average(np.abs(frequency - mean), weights=table[0])
    assert expected_calibration_error(table) == pytest.approx(expected)
    assert expected > 0.1


def test_probabilities_that_are_right_have_no_error() -> None:
    cloudy = np.full((10, 10), 0.3)
    label = np.where(np.arange(100).reshape(10, 10) % 10 < 3, CLOUD, CLEAR).astype(np.uint8)
    (table,) = reliability(label, _two(cloudy), [CLEAR, CLOUD], ["cloud"]).values()
    assert expected_calibration_error(table) == pytest.approx(0, abs=1e-6)
    assert expected_calibration_error(np.zeros((3, BINS))) is None


def test_what_counts() -> None:
    # Ignored; not judged; cannot tell; cloud or thin cloud; clear, with a probability of just 1.
    label = np.array([[0, CLOUD, CLEAR | CLOUD, CLOUD | THIN, CLEAR]], np.uint8)
    probabilities = np.array(
        [[[0.0, np.nan, 0.0, 0.2, 0]], [[1.0, np.nan, 0.5, 0.4, 0]], [[0.0, np.nan, 0.5, 0.4, 1]]],
        np.float32,
    )
    found = reliability(label, probabilities, [CLEAR, CLOUD, THIN], ["cloud", "thin cloud", "snow"])
    assert set(found) == {"cloud", "thin cloud"}
    # Cloud's probability is the sum of cloud's and thin cloud's.
    pixels, total, positive = found["cloud"]
    assert pixels.nonzero()[0].tolist() == [16, 19]
    assert total[16] == pytest.approx(0.8)
    assert positive.tolist() == [*[0] * 16, 1, 0, 0, 0]
    # A label of cloud or thin cloud cannot tell thin cloud; the two after it rule it out.
    assert found["thin cloud"][:, :19].sum() == pytest.approx(1 + 0.5)
    assert found["thin cloud"][:, 19].tolist() == [1, 1, 0]


def test_samples_add_up() -> None:
    label = np.array([[CLOUD, CLEAR]], np.uint8)
    tallies = [
        SampleTally(
            "a", "f", "g", tally(label, np.array([[1, 0]], np.uint8)), (CLEAR, CLOUD),
            reliability=reliability(label, _two(np.array([[p, p]])), [CLEAR, CLOUD], ["cloud"]),
        )
        for p in (0.5, 0.9)
    ]  # fmt: skip
    found = calibration(tallies)["cloud"]
    assert found["pixels"] == 4
    assert found["ece"] == pytest.approx((0 + 0.4) / 2)
    assert [b["from"] for b in found["bins"]] == [0.5, 0.9]
    assert found["bins"][1]["frequency"] == 0.5
