"""Structured pruning: channels are taken out for good, then the network is trained on."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from nubila.errors import InputError
from nubila.nn import Segmenter, partial_cross_entropy

__all__ = ["finetune", "prune"]

# Channels are kept in groups of so many: what a processor's vector registers take at once.
_GROUP: Final = 8

# What works on each channel by itself, so that a channel may go through it.
_MODULES: Final = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Hardswish,
    nn.Dropout,
    nn.Dropout2d,
    nn.Identity,
    nn.MaxPool2d,
    nn.AvgPool2d,
)
_FUNCTIONS: Final = (torch.relu, functional.relu, functional.leaky_relu, functional.dropout)
_METHODS: Final = ("relu", "relu_", "contiguous")


@dataclass(frozen=True)
class _Pair:
    """Two convolutions, the channels between which nobody else sees."""

    first: nn.Conv2d
    norms: tuple[nn.BatchNorm2d, ...]
    second: nn.Conv2d


def prune(network: Segmenter, share: float) -> tuple[Segmenter, int]:
    """Return a copy of a network without its weakest channels, and how many were taken out.

    A channel can go where it leads from one convolution through batch norm and activation to one
    other and nowhere else: inside residual and double units, but not where skip connections pass.
    Of each such place the channels with the least L1 norm of their filters go (Li et al. 2017,
    arXiv:1608.08710), in whole groups of 8.

    Args:
        network: in evaluation mode; it stays as it is.
        share: of the channels of each place, 0 to 1.

    Raises:
        InputError: the network's structure cannot be read, or no channel can go.
    """
    twin = copy.deepcopy(network)
    removed = 0
    for pair in _pairs(twin.body):
        total = pair.first.out_channels
        count = min(total, math.ceil(total * (1 - share) / _GROUP) * _GROUP)
        if count < total:
            _keep(pair, _strongest(pair.first, count))
            removed += total - count
    if not removed:
        raise InputError(
            f"a share of {share:g} takes no channel out of this network: none can go in whole "
            f"groups of {_GROUP}; give a larger --prune, or leave it out"
        )
    return twin, removed


def _pairs(body: nn.Module) -> list[_Pair]:
    try:
        graph = fx.Tracer().trace(body)
    except Exception as error:  # code that depends on the input's values or shape cannot be traced
        raise InputError(
            f"this network cannot be pruned, for its structure cannot be read: {error}"
        ) from error
    modules = dict(body.named_modules())
    # A module that is called several times (recurrent units) has several neighbours.
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    found = []
    for node in graph.nodes:
        first = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(first, nn.Conv2d) or first.groups > 1:
            continue
        chain = list(_chain(node, modules))
        used = [str(n.target) for n in (node, *chain) if n.op == "call_module"]
        second = modules.get(str(chain[-1].target)) if chain else None
        alone = all(calls[name] == 1 for name in used)
        if isinstance(second, nn.Conv2d) and second.groups == 1 and alone:
            norms = [modules[name] for name in used]
            batch_norms = tuple(n for n in norms if isinstance(n, nn.BatchNorm2d))
            found.append(_Pair(first, batch_norms, second))
    return found


def _chain(node: fx.Node, modules: dict[str, nn.Module]) -> Iterator[fx.Node]:
    """Give what follows a node, as long as each is the only one and works channel by channel."""
    while len(node.users) == 1:
        node = next(iter(node.users))
        yield node
        if node.op == "call_module":
            passes = isinstance(modules[str(node.target)], (*_MODULES, nn.BatchNorm2d))
        elif node.op == "call_function":
            passes = node.target in _FUNCTIONS
        else:
            passes = node.op == "call_method" and node.target in _METHODS
        if not passes:
            return


def _strongest(conv: nn.Conv2d, count: int) -> Tensor:
    """Return the places of the filters with the greatest L1 norm, in order."""
    norms = conv.weight.detach().abs().sum(dim=(1, 2, 3))
    return norms.topk(count).indices.sort().values


def _keep(pair: _Pair, places: Tensor) -> None:
    """Take all other channels out of a pair, in place."""
    first, second = pair.first, pair.second
    with torch.no_grad():
        first.weight = nn.Parameter(first.weight[places].clone())
        if first.bias is not None:
            first.bias = nn.Parameter(first.bias[places].clone())
        second.weight = nn.Parameter(second.weight[:, places].clone())
        for norm in pair.norms:
            norm.weight = nn.Parameter(norm.weight[places].clone())
            norm.bias = nn.Parameter(norm.bias[places].clone())
            for name in ("running_mean", "running_var"):
                norm.register_buffer(name, norm.get_buffer(name)[places].clone())
            norm.num_features = len(places)
    first.out_channels = second.in_channels = len(places)


def finetune(
    network: Segmenter,
    batches: Iterable[tuple[Tensor, Tensor, Tensor | None]],
    steps: int,
    rate: float,
    report: Callable[[str], None],
) -> None:
    """Train a pruned network on, in place, by AdamW with a rate that falls to 0 along a line.

    Args:
        network: as `prune` gave it; in evaluation mode afterwards.
        batches: one a step: images (N, B, n, n), labels (N, n, n) as sets of outputs, and the
            statistics (N, S, B) of their scenes where the normalisation needs some.
        steps: how many batches there are.
        rate: the first learning rate.
        report: called with a line for people.
    """
    network.train().requires_grad_(True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate)
    losses: list[float] = []
    for images, labels, statistics in batches:
        for group in optimiser.param_groups:
            group["lr"] = rate * (1 - len(losses) / steps)
        logits = network.calibrated(network(images, statistics))
        loss = partial_cross_entropy(logits, labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # PyTorch has it untyped
        optimiser.step()
        losses.append(float(loss.detach()))
    network.eval()
    if losses:
        part = max(1, len(losses) // 5)
        first, last = sum(losses[:part]) / part, sum(losses[-part:]) / part
        report(f"{len(losses)} steps of fine-tuning: loss {first:.4f} -> {last:.4f}")
