"""A batch as every term of a loss sees it: probabilities, and what its labels do and do not say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Final, cast

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import BackwardCFunction, FunctionCtx, once_differentiable

__all__ = ["Pixels", "two_logits", "weighted_mean"]

# Sums of odds below this have lost digits: float32 has none left below 1e-45.
_LOST: Final = 1e-30


class Pixels:
    """Probabilities and labels of a batch; each view is computed once, when first asked for.

    Half precision is widened to float32: sums over pixels lose their small parts otherwise.

    Args:
        logits: (N, C, H, W), or (N, 1, H, W) with the logit of the second of two classes.
        allowed: (N, H, W) uint8, bit c set where class c is allowed; 0 = ignored.
        weights: weight of each pixel, of a shape that broadcasts to (N, H, W), or None.
        teacher: (N, C, H, W) probabilities of another network, or (N, 1, H, W) of the second of
            two classes, or None.
    """

    def __init__(
        self,
        logits: Tensor,
        allowed: Tensor,
        weights: Tensor | None = None,
        teacher: Tensor | None = None,
    ) -> None:
        wide = torch.promote_types(logits.dtype, torch.float32)
        self.logits = two_logits(logits.to(wide))
        self.allowed = allowed
        self.teacher = teacher
        self._weights = weights

    @cached_property
    def weight(self) -> Tensor:
        """(N, H, W) weight of each pixel, 0 where it is ignored."""
        judged = (self.allowed != 0).to(self.logits.dtype)
        return judged if self._weights is None else judged * self._weights.to(judged.dtype)

    @cached_property
    def log_p(self) -> Tensor:
        """(N, C, H, W) logarithms of probabilities."""
        return self.logits.log_softmax(dim=1)

    @cached_property
    def log_not(self) -> Tensor:
        """(N, C, H, W) logarithms of 1 - probability, exact where a class is all but certain."""
        first = self.logits.argmax(dim=1, keepdim=True)
        is_first = torch.zeros_like(self.logits, dtype=torch.bool).scatter(1, first, True)
        # Only the likeliest class can be so sure that 1 - p cancels; for it the others are summed.
        others = self.logits.masked_fill(is_first, -torch.inf).logsumexp(dim=1, keepdim=True)
        rest = others - self.logits.logsumexp(dim=1, keepdim=True)
        return torch.where(is_first, rest, torch.log1p(-self.p.masked_fill(is_first, 0)))

    @cached_property
    def p(self) -> Tensor:
        """(N, C, H, W) probabilities."""
        return self.log_p.exp()

    @cached_property
    def allows(self) -> Tensor:
        """(N, C, H, W) bool: the label allows the class."""
        bits = torch.arange(self.logits.shape[1], device=self.allowed.device, dtype=torch.uint8)
        return (self.allowed.unsqueeze(1) >> bits.view(1, -1, 1, 1)) & 1 != 0

    @cached_property
    def positive(self) -> Tensor:
        """(N, C, H, W) bool: the label says that the pixel is of the class, and of no other."""
        return self.allows & (self.allows.sum(dim=1, keepdim=True) == 1)

    @cached_property
    def known(self) -> Tensor:
        """(N, C, H, W) weight of each pixel where its label says if it is of the class, else 0."""
        return self.weight.unsqueeze(1) * (self.positive | ~self.allows)

    @cached_property
    def log_allowed(self) -> Tensor:
        """(N, H, W) logarithm of the probability of the allowed classes together.

        Exactly 0, and without gradient, where the pixel is ignored or every class is allowed.
        """
        return self._log_among(self.allows)

    @cached_property
    def log_excluded(self) -> Tensor:
        """(N, H, W) logarithm of the probability of all other classes; 0 where there are none."""
        return self._log_among(~self.allows)

    def _log_among(self, among: Tensor) -> Tensor:
        # Whole and empty sets are both taken as whole, so that no logarithm of 0 is ever formed.
        silent = (self.allowed == 0) | self.allows.all(dim=1)
        share = cast(Callable[[Tensor, Tensor], Tensor], _LogShare.apply)
        return share(self.logits, among | silent.unsqueeze(1))

    def of(self, values: Tensor, classes: Sequence[int]) -> Tensor:
        """Return (N, len(classes), H, W), the classes that a term takes."""
        if len(classes) == values.shape[1]:
            return values
        return values[:, list(classes)]


class _LogShare(Function):
    """Logarithm of the softmax's share of some classes, with its derivative in closed form.

    Two `logsumexp`, which say the same, took a third of a small network's step.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, logits: Tensor, among: Tensor) -> Tensor:
        odds = (logits - logits.amax(dim=1, keepdim=True)).exp_()
        inside = odds * among
        total, part = odds.sum(dim=1, keepdim=True), inside.sum(dim=1, keepdim=True)
        share = (part / total).log_().squeeze(1)
        p, among_p = odds.div_(total), inside.div_(part)
        # Where even the likeliest of the classes is lost beside the others, their odds are too.
        lost = (part < _LOST).squeeze(1)
        if lost.any():
            every = logits.movedim(1, -1)[lost]
            some = every.masked_fill(~among.movedim(1, -1)[lost], -torch.inf)
            share[lost] = some.logsumexp(dim=1) - every.logsumexp(dim=1)
            among_p.movedim(1, -1)[lost] = some.softmax(dim=1)
        ctx.save_for_backward(p, among_p)
        return share

    @staticmethod
    @once_differentiable
    def backward(ctx: BackwardCFunction, gradient: Tensor) -> tuple[Tensor, None]:
        p, among_p = cast(tuple[Tensor, Tensor], ctx.saved_tensors)
        return (among_p - p).mul_(gradient.unsqueeze(1)), None


def two_logits(logits: Tensor) -> Tensor:
    """Return one logit a class: a single one is the second's, beside 0 for the first."""
    if logits.shape[1] > 1:
        return logits
    return torch.cat([torch.zeros_like(logits), logits], dim=1)


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean, 0 where all weights are 0 (values there must be finite)."""
    total = weight.sum()
    # Not a tiny number in place of 0: the gradient is divided by it too, and would overflow.
    return (values * weight).sum() / torch.where(total > 0, total, 1)
