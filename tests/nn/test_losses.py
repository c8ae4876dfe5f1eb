from __future__ import annotations

import numpy as np
import pytest
import torch

from nubila.nn import partial_cross_entropy


def _by_hand(logits: np.ndarray, allowed: np.ndarray, weights: np.ndarray | None = None) -> float:
    odds = np.exp(logits)
    shares = odds / odds.sum(axis=1, keepdims=True)
    total = weight_sum = 0.0
    for place in np.ndindex(allowed.shape):
        bits = int(allowed[place])
        if bits == 0:
            continue
        n, row, column = place
        inside = sum(shares[n, c, row, column] for c in range(shares.shape[1]) if bits >> c & 1)
        weight = 1.0 if weights is None else weights[place]
        total -= weight * np.log(inside)
        weight_sum += weight
    return total / weight_sum


@pytest.mark.parametrize("weighted", [False, True])
def test_agrees_with_the_formula(weighted: bool) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(2, 6, 5, 4))
    allowed = random.integers(0, 64, (2, 5, 4)).astype(np.uint8)
    weights = random.uniform(0.1, 2, (2, 5, 4)) if weighted else None
    found = partial_cross_entropy(
        torch.from_numpy(logits),
        torch.from_numpy(allowed),
        None if weights is None else torch.from_numpy(weights),
    )
    assert float(found) == pytest.approx(_by_hand(logits, allowed, weights))


def test_one_allowed_class_is_the_cross_entropy() -> None:
    logits = torch.randn(2, 6, 3, 3)
    classes = torch.randint(0, 6, (2, 3, 3))
    found = partial_cross_entropy(logits, (1 << classes).to(torch.uint8))
    torch.testing.assert_close(found, torch.nn.functional.cross_entropy(logits, classes))


def test_gradient() -> None:
    logits = torch.randn(1, 6, 2, 3, dtype=torch.float64, requires_grad=True)
    allowed = torch.tensor([[[0, 6, 63], [1, 57, 32]]], dtype=torch.uint8)
    assert torch.autograd.gradcheck(lambda z: partial_cross_entropy(z, allowed), logits)


def test_ignored_pixels_have_neither_loss_nor_gradient() -> None:
    logits = torch.randn(1, 6, 2, 2, requires_grad=True)
    loss = partial_cross_entropy(logits, torch.zeros(1, 2, 2, dtype=torch.uint8))
    loss.backward()
    assert float(loss) == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_stays_finite_where_the_network_is_sure_and_wrong() -> None:
    logits = torch.tensor([300.0, -300.0]).view(1, 2, 1, 1).requires_grad_()
    loss = partial_cross_entropy(logits, torch.full((1, 1, 1), 2, dtype=torch.uint8))
    loss.backward()
    assert float(loss) == pytest.approx(600)
    assert logits.grad is not None and torch.isfinite(logits.grad).all()
