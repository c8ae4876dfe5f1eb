from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nubila.classes import class_set
from nubila.curate.combination import Combination, Moments, Weights, fit_weights, mean_of
from nubila.errors import InputError

_OUTPUTS = (class_set(["clear", "snow", "water"]), class_set(["cloud", "thin cloud"]))


def _made(seed: int, members: int = 3):
    """Members of two outputs that are right with more or less noise, and the label."""
    random = np.random.default_rng(seed)
    cloud = random.uniform(size=(20, 30)) < 0.4
    label = np.where(cloud, _OUTPUTS[1], _OUTPUTS[0]).astype(np.uint8)
    label[0], label[1] = 0, _OUTPUTS[0] | _OUTPUTS[1]
    noise = random.uniform(0.1, 0.9, members)[:, None, None]
    p = np.clip(cloud + noise * random.normal(size=(members, 20, 30)), 0, 1)
    return np.stack([1 - p, p], axis=1).astype(np.float32), label


def _error(probabilities, label, weights):
    """The squared error that weights are to make least, from the pixels themselves."""
    total = 0.0
    for place, bits in enumerate(_OUTPUTS):
        decided = (label != 0) & ((label & (63 - bits) == 0) | (label & bits == 0))
        target = (label & (63 - bits) == 0)[decided]
        mixed = np.tensordot(weights[:, place], probabilities[:, place].astype(float), 1)[decided]
        total += ((mixed - target) ** 2).sum()
    return total


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), per_class=st.booleans())
def test_no_other_weights_are_better(seed: int, per_class: bool) -> None:
    probabilities, label = _made(seed)
    moments = Moments.of(probabilities, label, _OUTPUTS)
    random = np.random.default_rng(seed)
    simplex = fit_weights(moments, "simplex", per_class=per_class)
    free = fit_weights(moments, "free", per_class=per_class)
    assert (simplex.weights >= 0).all()
    np.testing.assert_allclose(simplex.weights.sum(axis=0), 1)
    best, least = _error(probabilities, label, simplex.weights), 0.0
    least = _error(probabilities, label, free.weights)
    assert least <= best + 1e-6
    for _ in range(30):
        other = random.dirichlet([0.5] * 3, 2 if per_class else 1).T
        assert best <= _error(probabilities, label, np.broadcast_to(other, (3, 2))) + 1e-6
        nudge = np.broadcast_to(random.normal(0, 0.05, (3, 2 if per_class else 1)), (3, 2))
        assert least <= _error(probabilities, label, free.weights + nudge) + 1e-6


def test_free_weights_are_those_of_a_regression() -> None:
    probabilities, label = _made(4)
    decided = np.isin(label, _OUTPUTS)
    design = np.concatenate([probabilities[:, k][:, decided].T for k in range(2)]).astype(float)
    target = np.concatenate([label[decided] == bits for bits in _OUTPUTS]).astype(float)
    expected = np.linalg.lstsq(design, target, rcond=None)[0]
    found = fit_weights(Moments.of(probabilities, label, _OUTPUTS), "free")
    np.testing.assert_allclose(found.weights, np.repeat(expected[:, None], 2, 1), rtol=1e-6)


def test_members_that_say_the_same_share_alike_and_a_useless_one_gets_nothing() -> None:
    probabilities, label = _made(1, 1)
    opposite = probabilities[:, ::-1]
    three = np.concatenate([probabilities, probabilities, opposite])
    found = fit_weights(Moments.of(three, label, _OUTPUTS), "simplex")
    np.testing.assert_allclose(found.weights[:, 0], [0.5, 0.5, 0], atol=1e-6)


def test_an_output_that_no_label_decides_gets_the_mean() -> None:
    probabilities, label = _made(2)
    third = np.concatenate([probabilities, np.zeros_like(probabilities[:, :1])], axis=1)
    label[label == _OUTPUTS[0]] |= class_set(["cloud shadow"])
    label[label == _OUTPUTS[1]] |= class_set(["cloud shadow"])
    outputs = (*_OUTPUTS, class_set(["cloud shadow"]))
    found = fit_weights(Moments.of(third, label, outputs), "free", per_class=True)
    np.testing.assert_allclose(found.weights[:, 2], 1 / 3)


def test_what_labels_seldom_name_is_not_said_less_for_it() -> None:
    """Of two kinds of cloud one is never named, the other in a row of the image alone."""
    probabilities, label = _made(2)
    thick, thin = class_set(["cloud"]), class_set(["thin cloud"])
    outputs = (_OUTPUTS[0], thick, thin)
    three = np.concatenate([probabilities[:, :1], 0.2 * probabilities[:, 1:]], axis=1)
    three = np.concatenate([three, 0.8 * probabilities[:, 1:]], axis=1)
    label[2, label[2] == _OUTPUTS[1]] = thin
    moments = Moments.of(three, label, outputs)
    found = fit_weights(moments, "free", per_class=True)
    np.testing.assert_allclose(found.weights.sum(axis=0), 1)
    np.testing.assert_allclose(found.weights[:, 1], 1 / 3)

    def error(weights: np.ndarray) -> float:
        return float(weights @ moments.gram[2] @ weights - 2 * moments.cross[2] @ weights)

    random = np.random.default_rng(0)
    for _ in range(50):  # no others that sum to one are better
        nudge = random.normal(0, 0.1, 3)
        assert error(found.weights[:, 2]) <= error(found.weights[:, 2] + nudge - nudge.mean())
    called = np.array(outputs)[found.apply(three).argmax(axis=0)]
    told = np.isin(label, (*_OUTPUTS, thin))
    assert ((called & label) != 0)[told].mean() > 0.8


@pytest.mark.parametrize("kind", ["simplex", "free"])
def test_an_output_that_labels_only_rule_out_gets_the_mean(kind: Weights) -> None:
    probabilities, label = _made(2)
    thin = class_set(["thin cloud"])
    outputs = (_OUTPUTS[0], class_set(["cloud"]), thin)  # labels leave open which cloud it is
    three = np.concatenate([probabilities, 0.1 * probabilities[:, 1:]], axis=1)
    three /= three.sum(axis=1, keepdims=True)
    found = fit_weights(Moments.of(three, label, outputs), kind, per_class=True)
    np.testing.assert_allclose(found.weights[:, 1:], 1 / 3)
    mixed = found.apply(three)
    called = np.array(outputs)[mixed.argmax(axis=0)]
    told = np.isin(label, _OUTPUTS)
    assert ((called & label) != 0)[told].mean() > 0.8


def test_what_is_combined_sums_to_one() -> None:
    probabilities, _ = _made(3)
    np.testing.assert_allclose(
        mean_of(3, 2).apply(probabilities), probabilities.mean(axis=0), atol=1e-6
    )
    free = Combination(np.array([[1.2, 0.5], [-0.7, 0.1], [0.1, 0.0]]), scaled=True)
    found = free.apply(probabilities)
    assert found.min() > 0
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-6)
    assert np.isnan(free.apply(np.full((3, 2, 1), np.nan, np.float32))).all()


def test_what_cannot_be_fitted() -> None:
    probabilities, label = _made(0)
    with pytest.raises(InputError, match="no label decides"):
        fit_weights(Moments.of(probabilities, label * 0, _OUTPUTS), "free")
    with pytest.raises(InputError, match="12 at most"):
        fit_weights(Moments(np.ones((2, 13, 13)), np.ones((2, 13))), "simplex")
