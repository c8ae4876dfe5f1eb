"""What every term has in common: what labels leave open teaches nothing, and nothing overflows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from nubila.nn.losses import Loss, build_loss
from nubila.recipe.loss import LossTerm

_FOUR = ("clear", "cloud", "cloud shadow", "snow")
_TERMS: TypeAdapter[Any] = TypeAdapter(tuple[LossTerm, ...])

_ANY: dict[str, dict[str, Any]] = {
    "cross_entropy": {"name": "cross_entropy"},
    "smoothed": {"name": "cross_entropy", "smoothing": 0.1},
    "bce": {"name": "bce", "pos_weight": 2},
    "dice": {"name": "dice"},
    "jaccard": {"name": "jaccard"},
    "dice_bce": {"name": "dice_bce"},
    "focal": {"name": "focal"},
    "slow_focal": {"name": "focal", "gamma": 0.5},
    "focal_tversky": {"name": "focal_tversky"},
    "mixed_focal": {"name": "mixed_focal"},
    "lovasz_softmax": {"name": "lovasz_softmax"},
    "hard_lovasz": {"name": "lovasz_softmax", "hardest": 0.5},
    "filtered_jaccard": {"name": "filtered_jaccard"},
    "boundary": {"name": "boundary", "sigma": 1},
    "distillation": {"name": "distillation", "temperature": 2},
}
_BINARY = _ANY | {
    "lovasz_hinge": {"name": "lovasz_hinge"},
    "hard_hinge": {"name": "lovasz_hinge", "hardest": 0.5},
    "balanced_focal": {"name": "focal", "alpha": 0.25},
}
# (term, outputs, classes): one logit and two for all, four where they may be
_CASES = [
    *((key, outputs, 2) for key in _BINARY for outputs in (1, 2)),
    *((key, 4, 4) for key in _ANY),
]
_every = pytest.mark.parametrize(("key", "outputs", "classes"), _CASES)
# In distillation the teacher says what the label does not.
_of_labels = pytest.mark.parametrize(
    ("key", "outputs", "classes"), [case for case in _CASES if case[0] != "distillation"]
)


def _build(key: str, classes: int) -> Loss:
    # A large weight, lest a division by next to nothing overflows only with one.
    term = _BINARY[key] | {"weight": 100}
    return build_loss(_TERMS.validate_python([term]), classes=_FOUR[:classes])


def _call(
    loss: Loss, logits: Tensor, allowed: Tensor, weights: Tensor | None = None, seed: int = 0
) -> Tensor:
    """Return the loss; the teacher is the same for the same shape."""
    random = np.random.default_rng(seed)
    shape = (len(logits), len(loss.classes), *logits.shape[2:])
    teacher = torch.from_numpy(random.normal(size=shape)).softmax(1)
    return loss(logits, allowed, weights, teacher=teacher)


def _gradient(loss: Loss, logits: Tensor, allowed: Tensor, weights: Tensor | None = None) -> Tensor:
    logits = logits.clone().requires_grad_()
    _call(loss, logits, allowed, weights).backward()
    assert logits.grad is not None
    return logits.grad


def _batch(outputs: int, classes: int, side: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits, sets of every kind and weights; the second image allows single classes."""
    random = np.random.default_rng(outputs)
    logits = random.normal(size=(2, outputs, side, side))
    allowed = random.integers(0, 1 << classes, (2, side, side)).astype(np.uint8)
    allowed[1] = 1 << random.integers(0, classes, (side, side))
    weights = random.uniform(0.2, 2, (2, side, side))
    return torch.from_numpy(logits), torch.from_numpy(allowed), torch.from_numpy(weights)


@_every
def test_gradient(key: str, outputs: int, classes: int) -> None:
    logits, allowed, weights = _batch(outputs, classes, side=3)
    loss = _build(key, classes)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: _call(loss, z, allowed, weights), logits)
    assert _gradient(loss, logits.detach(), allowed).abs().max() > 0


@_every
def test_ignored_pixels_and_pixels_of_weight_zero_teach_nothing(
    key: str, outputs: int, classes: int
) -> None:
    logits, allowed, weights = _batch(outputs, classes)
    loss = _build(key, classes)
    weights[:, 0] = 0
    gradient = _gradient(loss, logits, allowed, weights)
    silent = (allowed == 0) | (weights == 0)
    assert (gradient.masked_select(silent.unsqueeze(1)) == 0).all()
    other = torch.where(silent.unsqueeze(1), 5 * logits + 1, logits)
    torch.testing.assert_close(
        _call(loss, other, allowed, weights), _call(loss, logits, allowed, weights)
    )


@_of_labels
def test_pixels_that_may_be_anything_teach_nothing(key: str, outputs: int, classes: int) -> None:
    logits, allowed, _ = _batch(outputs, classes)
    allowed[0, 1:] = (1 << classes) - 1
    assert (_gradient(_build(key, classes), logits, allowed)[0, :, 1:] == 0).all()


@pytest.mark.parametrize("key", [key for key in _ANY if key != "distillation"])
def test_shadow_or_clear_never_teaches_which(key: str) -> None:
    """Moving probability from clear to shadow, and nothing else, changes nothing."""
    logits, allowed, weights = _batch(4, 4)
    clear, shadow = 0, 2
    allowed[0] = 1 << clear | 1 << shadow
    gradient = _gradient(_build(key, 4), logits, allowed, weights)
    p = logits.softmax(1)
    # d p_clear = 1 and d p_shadow = -1 along d logit_clear = 1 / p_clear, d logit_shadow = ...
    along = gradient[:, clear] / p[:, clear] - gradient[:, shadow] / p[:, shadow]
    assert along[0].abs().max() < 1e-12
    assert along[1].abs().max() > 1e-6  # where the label does say which, it teaches it
    if key != "hard_lovasz":  # there these pixels need not be among the hardest
        assert gradient[0].abs().max() > 1e-6  # and that it is neither cloud nor snow is taught


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@_every
def test_stays_finite(key: str, outputs: int, classes: int, dtype: torch.dtype) -> None:
    loss = _build(key, classes)
    logits, allowed, _ = _batch(outputs, classes)
    nothing, all_clear = torch.zeros_like(allowed), torch.ones_like(allowed)
    for scale in (0.0, 1.0, 1e4):
        z = (scale * logits.sign()).to(dtype)
        for sets in (allowed, nothing, all_clear, 2 * all_clear):
            gradient = _gradient(loss, z, sets)
            assert torch.isfinite(_call(loss, z, sets))
            assert torch.isfinite(gradient).all()
            if sets is nothing:
                assert _call(loss, z, sets) == 0
                assert (gradient == 0).all()


@_every
def test_half_precision_is_widened(key: str, outputs: int, classes: int) -> None:
    logits, allowed, weights = _batch(outputs, classes)
    half = logits.to(torch.bfloat16)
    found = _call(_build(key, classes), half, allowed, weights)
    assert found.dtype == torch.float32
    expected = _call(_build(key, classes), half.double(), allowed, weights)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


@_of_labels
def test_right_and_sure_is_better_than_wrong(key: str, outputs: int, classes: int) -> None:
    loss = _build(key, classes)
    _, allowed, _ = _batch(outputs, classes)
    allowed = allowed[1:]
    place = torch.log2(allowed.double()).long()
    right = torch.nn.functional.one_hot(place, classes).movedim(-1, 1).double() * 8
    z = right[:, 1:] - right[:, :1] if outputs == 1 else right
    assert _call(loss, z, allowed) < 0.1 * _call(loss, -z, allowed)
