"""The state of a run: averaged weights, and checkpoints that hold all that a run needs to go on."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from nubila.errors import NubilaError, RecipeError
from nubila.nn import Segmenter, build_network
from nubila.raster.atomic import atomic_path
from nubila.recipe import Recipe
from nubila.recipe.optim import Plateau
from nubila.train._fabric import Precision
from nubila.train.optim import build_optimiser, freeze
from nubila.train.schedule import PlateauState

__all__ = ["State", "checkpoint_file", "load_weights"]


@dataclass
class State:
    """Everything that changes during a run.

    Attributes:
        recipe: the run.
        step: optimiser steps done.
        network: the network that is trained.
        optimiser: its optimiser.
        average: exponential moving average of weights and batch-norm statistics.
        best: merit of the best validation so far: its score, or minus its loss; None before one.
        best_step: when that was.
        waited: validations since then.
        plateau: what the plateau schedule remembers.
        losses: of the steps since the last line of the log.
        precision: Fabric's plugin, which in 16-mixed has a loss scale to remember.
    """

    recipe: Recipe
    step: int
    network: Segmenter
    optimiser: torch.optim.Optimizer
    average: Segmenter
    best: float | None = None
    best_step: int = 0
    waited: int = 0
    plateau: PlateauState = field(default_factory=PlateauState)
    losses: list[float] = field(default_factory=list)
    precision: Precision = field(default_factory=Precision)

    @classmethod
    def start(cls, recipe: Recipe, report: Callable[[str], None] = lambda _: None) -> State:
        """Return the state before the first step.

        The weights depend on the seed, and on the checkpoint to start from, alone.

        Raises:
            RecipeError: `finetune` does not fit the network.
            NubilaError: the checkpoint to start from cannot be read.
        """
        torch.manual_seed(recipe.seed)
        network = _network(recipe)
        if recipe.finetune.start_from is not None:
            report(_take_weights(network, recipe, recipe.finetune.start_from))
        freeze(network, recipe.finetune.frozen)
        average = _network(recipe)
        average.load_state_dict(network.state_dict())
        optimiser = build_optimiser(recipe.optim, network)
        return cls(recipe, 0, network, optimiser, average.eval().requires_grad_(False))

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do: all steps are done, or patience is at its end."""
        tired = self.recipe.patience > 0 and self.waited >= self.recipe.patience
        return tired or self.step >= self.recipe.steps

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

    def judge(self, scores: dict[str, float]) -> bool:
        """Take the scores of a validation; return whether it is the best so far."""
        merit = _merit(self.recipe, scores)
        if isinstance(self.recipe.optim.schedule, Plateau):
            self.plateau.see(merit, self.recipe.optim.schedule)
        better = self.best is None or merit > self.best
        if better:
            self.best, self.best_step, self.waited = merit, self.step, 0
        else:
            self.waited += 1
        return better

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        content = {
            "step": self.step,
            "best": self.best,
            "best_step": self.best_step,
            "waited": self.waited,
            "plateau": asdict(self.plateau),
            "losses": self.losses,
            "recipe": self.recipe.to_yaml(),
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict(),
            "precision": self.precision.state_dict(),
        }
        # Through memory: what PyTorch raises on a full disk is no error of the system's.
        packed = io.BytesIO()
        torch.save(content, packed)
        with atomic_path(path) as temporary:
            temporary.write_bytes(packed.getbuffer())

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
            self.precision.load_state_dict(content["precision"])
            self.plateau = PlateauState(**content["plateau"])
            self.best, self.best_step = content["best"], int(content["best_step"])
            self.waited, self.step = int(content["waited"]), int(content["step"])
            self.losses = list(content["losses"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise NubilaError(
                f"{path}: the checkpoint does not fit the recipe's network; use --no-resume or "
                f"another run folder ({str(error).splitlines()[0]})"
            ) from error


def checkpoint_file(path: Path) -> Path:
    """Return a checkpoint's file: the path itself, or the best one of a run folder."""
    return path / "best.ckpt" if path.is_dir() else path


def load_weights(path: Path) -> Segmenter:
    """Return the averaged network of a checkpoint, in evaluation mode.

    Raises:
        NubilaError: there is no such file, or it is no checkpoint of nubila's.
    """
    content = _read(path)
    try:
        recipe = Recipe.model_validate(yaml.safe_load(content["recipe"]))
        network = build_network(recipe, pretrained=False)
        network.load_state_dict(content["average"])
    except (KeyError, ValueError, RuntimeError, NubilaError) as error:
        raise NubilaError(f"{path}: not a checkpoint of nubila train: {error}") from error
    return network.eval()


def _merit(recipe: Recipe, scores: dict[str, float]) -> float:
    """Return what is greater the better a validation is; a score that is no number is worst."""
    # No loss where no pixel of the split counts.
    loss = scores.get("validation_loss", math.nan)
    value = -loss if recipe.monitor == "loss" else scores[recipe.monitor]
    return -math.inf if math.isnan(value) else value


def _network(recipe: Recipe) -> Segmenter:
    """Return a new network with its weights laid out as the processor's convolutions like them."""
    network = build_network(recipe)
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def _check_same_meaning(recipe: Recipe, file: Path) -> None:
    """Raise where weights would fit by their shapes, and be of other bands or classes."""
    text = _read(file).get("recipe")
    if text is None:  # no checkpoint of nubila's; its shapes will tell
        return
    before = yaml.safe_load(text)
    for what, theirs, ours in (
        ("bands", tuple(before["bands"]), recipe.bands),
        ("classes", tuple(before["classes"]), tuple(recipe.classes)),
    ):
        if theirs != ours and set(theirs) == set(ours):
            raise RecipeError(
                f"finetune.start_from: {file} is of the {what} {', '.join(theirs)}, this recipe of "
                f"{', '.join(ours)}: the same in another order, so that weights would be taken for "
                f"what they are not. Name them in the same order."
            )


def _take_weights(network: Segmenter, recipe: Recipe, path: Path) -> str:
    """Take a checkpoint's averaged weights of the same name and shape; say what is left as new."""
    file = checkpoint_file(path)
    given: dict[str, Any] = _read(file).get("average", {})
    _check_same_meaning(recipe, file)
    own = network.state_dict()
    taken = {k: v for k, v in given.items() if k in own and v.shape == own[k].shape}
    if not taken:
        raise RecipeError(
            f"finetune.start_from: {file} has no weights that fit this network; give it the same "
            f"model section as the run that made the checkpoint"
        )
    network.load_state_dict(taken, strict=False)
    new = [name for name in own if name not in taken]
    left = f"; new: {', '.join(new)}" if new else ""
    return f"{len(taken)} of {len(own)} tensors from {file}{left}"


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
