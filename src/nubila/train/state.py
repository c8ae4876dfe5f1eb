"""The state of a run: averaged weights, and checkpoints that hold all that a run needs to go on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from nubila.errors import NubilaError
from nubila.nn import Segmenter, build_network
from nubila.raster.atomic import atomic_path
from nubila.recipe import Recipe

__all__ = ["State", "load_weights"]


@dataclass
class State:
    """Everything that changes during a run.

    Attributes:
        recipe: the run.
        step: optimiser steps done.
        network: the network that is trained.
        optimiser: its optimiser.
        average: exponential moving average of weights and batch-norm statistics.
        best: highest cloud IoU on the validation split so far, of the averaged weights.
    """

    recipe: Recipe
    step: int
    network: Segmenter
    optimiser: torch.optim.Optimizer
    average: Segmenter
    best: float

    @classmethod
    def start(cls, recipe: Recipe) -> State:
        """Return the state before the first step; the weights depend on the seed alone."""
        torch.manual_seed(recipe.seed)
        network = _network(recipe)
        average = _network(recipe)
        average.load_state_dict(network.state_dict())
        optimiser = torch.optim.AdamW(
            _groups(network, recipe.optim.weight_decay), lr=recipe.optim.lr, betas=(0.9, 0.99)
        )
        return cls(recipe, 0, network, optimiser, average.eval().requires_grad_(False), -1.0)

    def follow(self, decay: float) -> None:
        """Move the average towards the network; early on faster, so that the start is forgotten."""
        pull = 1 - min(decay, (1 + self.step) / (10 + self.step))
        for mean, now in zip(
            self.average.state_dict().values(), self.network.state_dict().values(), strict=True
        ):
            if mean.dtype.is_floating_point:
                mean.lerp_(now, pull)
            else:
                mean.copy_(now)

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        content = {
            "step": self.step,
            "best": self.best,
            "recipe": self.recipe.to_yaml(),
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict(),
        }
        with atomic_path(path) as temporary:
            torch.save(content, temporary)

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            NubilaError: the file cannot be read, or it is of another network.
        """
        content = _read(path)
        try:
            self.network.load_state_dict(content["network"])
            self.average.load_state_dict(content["average"])
            self.optimiser.load_state_dict(content["optimiser"])
            self.step, self.best = int(content["step"]), float(content["best"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise NubilaError(
                f"{path}: the checkpoint does not fit the recipe's network; use --no-resume or "
                f"another run folder ({str(error).splitlines()[0]})"
            ) from error


def load_weights(path: Path) -> Segmenter:
    """Return the averaged network of a checkpoint, in evaluation mode.

    Raises:
        NubilaError: there is no such file, or it is no checkpoint of nubila's.
    """
    content = _read(path)
    try:
        recipe = Recipe.model_validate(yaml.safe_load(content["recipe"]))
        network = build_network(recipe)
        network.load_state_dict(content["average"])
    except (KeyError, ValueError, RuntimeError, NubilaError) as error:
        raise NubilaError(f"{path}: not a checkpoint of nubila train: {error}") from error
    return network.eval()


def _network(recipe: Recipe) -> Segmenter:
    """Return a new network with its weights laid out as the processor's convolutions like them."""
    network = build_network(recipe)
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def _read(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise NubilaError(f"{path}: no such checkpoint; run nubila train first") from error
    except Exception as error:  # damaged files raise a dozen kinds of errors, none of its own
        raise NubilaError(f"{path}: not a checkpoint that can be read: {error}") from error
    if not isinstance(content, dict):
        raise NubilaError(f"{path}: not a checkpoint of nubila train")
    return content


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return parameter groups: biases and batch norms are not decayed."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
