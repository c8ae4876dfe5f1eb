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
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_stays_finite_where_the_network_is_sure_and_wrong() -> None:
    logits = torch.tensor([300.0, -300.0]).view(1, 2, 1, 1).requires_grad_()
    loss = partial_cross_entropy(logits, torch.full((1, 1, 1), 2, dtype=torch.uint8))
    loss.backward()
    assert float(loss) == pytest.approx(600)
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


def _reference(logits: torch.Tensor, among: torch.Tensor) -> torch.Tensor:
    """Return the same by automatic differentiation: a difference of two logsumexp."""
    inside = logits.masked_fill(~among, -torch.inf)
    return torch.logsumexp(logits, dim=1) - torch.logsumexp(inside, dim=1)


@pytest.mark.parametrize("below", [0.0, 20.0, 68.0, 70.0, 95.0, 103.0, 300.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_value_and_gradient_however_far_below_the_allowed_classes_are(
    dtype: torch.dtype, below: float
) -> None:
    """Of four classes the first is likeliest, and two of the others, not alike, are allowed."""
    logits = torch.tensor([0.0, -below - 1, -below, -below - 2.5]).to(dtype).view(1, 4, 1, 1)
    among = torch.tensor([False, True, True, False]).view(1, 4, 1, 1)
    found, expected = logits.requires_grad_(), logits.detach().double().requires_grad_()
    loss = partial_cross_entropy(found, torch.full((1, 1, 1), 0b0110, dtype=torch.uint8))
    wanted = _reference(expected, among).mean()
    loss.backward()
    wanted.backward()
    assert found.grad is not None and expected.grad is not None
    torch.testing.assert_close(loss.double(), wanted, rtol=1e-6, atol=1e-5)
    loose = 4e-3 if dtype == torch.bfloat16 else 1e-6  # bfloat16 has eight bits of a gradient
    torch.testing.assert_close(found.grad.double(), expected.grad, rtol=loose, atol=1e-7)


def test_ties_and_the_order_of_memory() -> None:
    logits = torch.zeros(2, 4, 3, 3, dtype=torch.float64)
    logits[1, 0] = 200  # lost beside it
    logits = logits.to(memory_format=torch.channels_last).requires_grad_()
    allowed = torch.full((2, 3, 3), 0b0110, dtype=torch.uint8)
    before = logits.detach().clone()
    assert torch.autograd.gradcheck(lambda z: partial_cross_entropy(z, allowed), logits)
    torch.testing.assert_close(logits.detach(), before, rtol=0, atol=0)
