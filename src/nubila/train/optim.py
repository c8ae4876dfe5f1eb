"""Optimisers, and which parameters they move."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from nubila.errors import RecipeError, nearest
from nubila.recipe.optim import SGD, Adam, AdamW, Optimiser, RMSprop

__all__ = ["build_optimiser", "freeze", "train_mode"]


def build_optimiser(spec: Optimiser, network: nn.Module) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe over the parameters that are not frozen.

    Biases and normalisation layers (one-dimensional parameters) are not decayed.
    """
    moved = [p for p in network.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in moved if p.ndim > 1], "weight_decay": spec.weight_decay},
        {"params": [p for p in moved if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    match spec:
        case AdamW():
            return torch.optim.AdamW(groups, lr=spec.lr, betas=spec.betas)
        case Adam():
            return torch.optim.Adam(groups, lr=spec.lr, betas=spec.betas)
        case SGD():
            return torch.optim.SGD(
                groups, lr=spec.lr, momentum=spec.momentum, nesterov=spec.nesterov
            )
        case RMSprop():
            return torch.optim.RMSprop(groups, lr=spec.lr, alpha=spec.alpha, momentum=spec.momentum)


def freeze(network: nn.Module, patterns: Sequence[str]) -> None:
    """Keep the parameters whose names match a pattern, as of a shell, from being trained.

    Raises:
        RecipeError: a pattern matches no parameter, or together they match all.
    """
    names = [name for name, _ in network.named_parameters()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise RecipeError(
                f"finetune.frozen: no parameter is called {pattern!r}{nearest(pattern, names)} "
                f"(they start with: {', '.join(names[:3])})"
            )
    for name, parameter in network.named_parameters():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise RecipeError("finetune.frozen: every parameter is frozen, so nothing would be trained")


def train_mode(network: nn.Module) -> None:
    """Bring a network into training mode, but for layers whose parameters are all frozen.

    Else batch-norm statistics would move away under frozen weights.
    """
    network.train()
    for module in network.modules():
        own = list(module.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()
