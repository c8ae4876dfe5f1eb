"""The fit loop, read from top to bottom.

Lightning Fabric gives devices and precision; the loop itself is plain, because a run that is
killed at any moment and started again has to end with the same weights, bit for bit.
"""

from __future__ import annotations

import csv
import json
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from lightning.fabric import Fabric
from torch.utils.data import DataLoader

from nubila._version import __version__
from nubila.errors import NubilaError, RecipeError
from nubila.nn import partial_cross_entropy
from nubila.raster.atomic import atomic_path
from nubila.recipe import Recipe, load_recipe
from nubila.train.data import Chips, Labelled, load_split
from nubila.train.pool import synthetic_pool
from nubila.train.state import State
from nubila.train.validate import validate

__all__ = ["fit", "learning_rate"]

# Synthetic chips that are kept out of training to watch the classes that few real labels name.
_HELD_OUT = 32
_REPORT_EVERY = 50


def fit(recipe: Recipe, folder: Path, *, resume: bool, report: Callable[[str], None]) -> Path:
    """Train as a recipe says.

    Args:
        recipe: the run.
        folder: gets `recipe.yaml`, `environment.json`, `metrics.csv`, `last.ckpt`, `best.ckpt`.
        resume: go on from `last.ckpt` where there is one; else start anew.
        report: called with each line for people.

    Returns:
        `best.ckpt`: the averaged weights with the highest cloud IoU on the validation split.

    Raises:
        ManifestError: no or wrong samples.
        RecipeError: the folder holds a run of another recipe.
        NubilaError: the loss is not finite any more.
    """
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(True)
    fabric = Fabric(accelerator="auto", devices=1, precision=recipe.precision)

    state = State.start(recipe)
    last = folder / "last.ckpt"
    if resume and last.is_file():
        _check_same_recipe(recipe, folder)
        state.restore(last)
        report(f"going on from step {state.step} of {recipe.steps}")
    _describe(recipe, folder)

    train, held_back = (load_split(recipe, s) for s in (recipe.data.train, recipe.data.validation))
    pool = synthetic_pool(recipe, report)
    held_out = pool[: min(_HELD_OUT, len(pool) // 10)]
    report(f"{len(train)} training samples, {len(held_back)} to validate, {len(pool)} synthetic")

    network, optimiser = fabric.setup(state.network, state.optimiser)
    state.average.to(fabric.device)
    class_weights = _class_weights(recipe).to(fabric.device)
    batches = _batches(recipe, train, pool[len(held_out) :], state.step)
    log = _Log(folder / "metrics.csv", state.step)
    saved = started = time.monotonic()
    first, losses = state.step, []

    for images, labels in batches:
        rate = learning_rate(recipe, state.step)
        for group in optimiser.param_groups:
            group["lr"] = rate

        network.train()
        images = images.to(fabric.device).contiguous(memory_format=torch.channels_last)
        labels = labels.to(fabric.device)
        logits = network(images).float()
        loss = partial_cross_entropy(logits, labels, class_weights[labels.long()])
        if not math.isfinite(value := loss.item()):
            raise NubilaError(
                f"step {state.step}: the loss is {value}; lower optim.lr ({recipe.optim.lr:g}) or "
                f"look for infinite reflectance in the samples. {last} holds the last good state."
            )
        fabric.backward(loss)
        fabric.clip_gradients(network, optimiser, max_norm=recipe.optim.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

        state.step += 1
        state.follow(recipe.optim.ema)
        losses.append(value)

        if state.step % _REPORT_EVERY == 0:
            speed = (state.step - first) / (time.monotonic() - started)
            minutes = (recipe.steps - state.step) / speed / 60
            mean = float(np.mean(losses))
            log.write(state.step, {"loss": mean, "lr": rate})
            report(f"step {state.step}: loss {mean:.4f}, {speed:.2f} steps/s, {minutes:.0f} min")
            losses = []
        if state.step % recipe.validate_every == 0 or state.step == recipe.steps:
            scores = validate(state.average, recipe, held_back, held_out)
            log.write(state.step, scores)
            report(_table(state.step, scores))
            if scores["cloud_iou"] > state.best:
                state.best = scores["cloud_iou"]
                state.save(folder / "best.ckpt")
        if time.monotonic() - saved > 60 * recipe.checkpoint_minutes:
            state.save(last)
            saved = time.monotonic()

    state.save(last)
    return folder / "best.ckpt"


def learning_rate(recipe: Recipe, step: int) -> float:
    """Return the rate of a step: linear warm-up, then a cosine to 0 (Loshchilov & Hutter 2017)."""
    warmup = max(1, round(recipe.steps * recipe.optim.warmup))
    if step < warmup:
        return recipe.optim.lr * (step + 1) / warmup
    part = (step - warmup) / max(1, recipe.steps - warmup)
    return recipe.optim.lr * 0.5 * (1 + math.cos(math.pi * part))


def _batches(
    recipe: Recipe, real: Sequence[Labelled], synthetic: Sequence[Labelled], step: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    chips = Chips(recipe, real, synthetic)
    return iter(
        DataLoader(
            chips,
            batch_size=recipe.batch,
            sampler=range(step * recipe.batch, len(chips)),
            num_workers=recipe.workers,
            prefetch_factor=4 if recipe.workers else None,
        )
    )


def _class_weights(recipe: Recipe) -> torch.Tensor:
    """Return the weight of each of the 256 sets of outputs: the least among its classes."""
    weights = [recipe.class_weights.get(name, 1.0) for name in recipe.classes]
    sets = [[w for c, w in enumerate(weights) if bits >> c & 1] for bits in range(256)]
    return torch.tensor([min(among, default=0.0) for among in sets])


def _check_same_recipe(recipe: Recipe, folder: Path) -> None:
    """Raise where a folder's run is of another recipe; what the model says of itself may change."""
    written = folder / "recipe.yaml"
    if not written.is_file():
        return
    before = load_recipe(written).model_copy(update={"export": recipe.export})
    if before != recipe:
        raise RecipeError(
            f"{written} is not the recipe given now; use --no-resume to start anew, or another "
            f"run folder with -o"
        )


def _describe(recipe: Recipe, folder: Path) -> None:
    """Write down the whole recipe and where it runs."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        "nubila": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "system": platform.platform(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "threads": recipe.threads,
    }
    for name, text in (
        ("recipe.yaml", recipe.to_yaml()),
        ("environment.json", json.dumps(environment, indent=2) + "\n"),
    ):
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _table(step: int, scores: dict[str, float]) -> str:
    rows = "\n".join(f"    {name:44s} {value:.4f}" for name, value in scores.items())
    return f"step {step}: validation\n{rows}"


class _Log:
    """Figures as rows ``step,name,value``; those after the step to go on from are forgotten."""

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        rows = []
        if step and path.is_file():
            with path.open(newline="", encoding="utf-8") as stream:
                rows = [row for row in csv.reader(stream) if row[0] != "step"]
        kept = [row for row in rows if int(row[0]) <= step]
        with path.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([["step", "name", "value"], *kept])

    def write(self, step: int, values: dict[str, float]) -> None:
        with self._path.open("a", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([step, name, value] for name, value in values.items())
