"""One step of the optimiser: forward and backward passes over its chips, and what can go wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nubila.errors import NubilaError
from nubila.nn import Segmenter
from nubila.recipe import Recipe
from nubila.train._fabric import Fabric, FabricModule
from nubila.train.distributed import total
from nubila.train.optim import train_mode

__all__ = ["Part", "chip_numbers", "class_weights", "memory_hint", "seed_step", "take_step"]

# loss(logits (N, K, H, W), allowed (N, H, W) uint8, weights (N, H, W)) -> scalar; the teacher's
# probabilities go with it where the recipe has one.
StepLoss = Callable[..., Tensor]


class Part(NamedTuple):
    """The chips of one pass.

    Attributes:
        image: (N, B, n, n) reflectance.
        label: (N, n, n) uint8 sets of outputs.
        statistics: (N, S, B) of the whole scenes; S = 0 where the recipe needs none.
    """

    image: Tensor
    label: Tensor
    statistics: Tensor = torch.empty(0)


def take_step(
    fabric: Fabric,
    network: FabricModule,
    optimiser: torch.optim.Optimizer,
    parts: Sequence[Part],
    *,
    loss: StepLoss,
    teacher: Segmenter | None = None,
    weights: Tensor,
    clip: float,
) -> float:
    """Move the weights by the gradient of the mean loss over a step's chips.

    The chips come in parts: those of one process, and of these those of one pass. Each part counts
    by the weight of its judged pixels, so that a mean over pixels is that of all chips at once.

    Args:
        fabric: devices and processes.
        network: as `fabric.setup` gave it.
        optimiser: likewise.
        parts: the chips of each pass.
        loss: of logits, labels and weights of pixels.
        teacher: network whose probabilities the loss takes as well.
        weights: (256,) weight of a pixel by its label.
        clip: greatest norm of the gradient; 0 = any.

    Returns:
        The loss, the same in all processes. Where it, or the gradient, is no finite number, it is
        NaN or infinite, and weights and batch-norm statistics are as they were.
    """
    train_mode(network)
    before = [buffer.clone() for buffer in network.buffers()]
    judged = torch.stack([weights[part.label.long()].sum() for part in parts])
    everywhere = total(fabric, judged.sum())
    value = torch.zeros((), device=fabric.device)
    for place, part in enumerate(parts):
        image = part.image.to(fabric.device).contiguous(memory_format=torch.channels_last)
        label = part.label.to(fabric.device)
        statistics = part.statistics.to(fabric.device) if part.statistics.numel() else None
        share = float(judged[place] / everywhere) if everywhere > 0 else 1 / len(parts)
        with fabric.no_backward_sync(network, enabled=place + 1 < len(parts)):
            logits = network(image, statistics).float()
            pixels = weights.to(fabric.device)[label.long()]
            given = {} if teacher is None else {"teacher": _taught(teacher, image, statistics)}
            found = loss(logits, label, pixels, **given) * (share * fabric.world_size)
            fabric.backward(found)
        value += found.detach() / fabric.world_size
    norm = fabric.clip_gradients(
        network, optimiser, max_norm=clip or math.inf, error_if_nonfinite=False
    )
    result = float(total(fabric, value))
    # In 16-mixed infinite gradients are part of finding the scale of the loss.
    if math.isfinite(result) and fabric.strategy.precision.precision != "16-mixed":
        result = result if norm is None or math.isfinite(float(norm)) else math.nan
    if math.isfinite(result):
        optimiser.step()
    else:
        for buffer, old in zip(network.buffers(), before, strict=True):
            buffer.copy_(old)
    optimiser.zero_grad(set_to_none=True)
    return result


def _taught(teacher: Segmenter, image: Tensor, statistics: Tensor | None) -> Tensor:
    with torch.no_grad():
        return teacher.probabilities(image, statistics).float()


def chip_numbers(recipe: Recipe, step: int, rank: int, processes: int) -> list[list[int]]:
    """Return the numbers of the chips that a process takes in a step, one list a pass.

    All processes and passes together take `recipe.batch` numbers, each once.
    """
    passes = recipe.optim.accumulate
    size = recipe.batch // (passes * processes)
    starts = [step * recipe.batch + (p * processes + rank) * size for p in range(passes)]
    return [list(range(start, start + size)) for start in starts]


def class_weights(recipe: Recipe) -> Tensor:
    """Return the weight of each of the 256 sets of outputs: the least among its classes."""
    weights = [recipe.class_weights.get(name, 1.0) for name in recipe.classes]
    sets = [[w for c, w in enumerate(weights) if bits >> c & 1] for bits in range(256)]
    return torch.tensor([min(among, default=0.0) for among in sets])


def seed_step(recipe: Recipe, step: int, rank: int) -> None:
    """Seed PyTorch by the step, so that dropout after a break goes on as it would have."""
    state = np.random.SeedSequence([recipe.seed, step, rank]).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0] >> 1))


@contextmanager
def memory_hint(recipe: Recipe) -> Iterator[None]:
    """Say what to do where the memory is not enough.

    Raises:
        NubilaError: in place of what PyTorch and NumPy raise.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        known = ("out of memory", "can't allocate memory", "not enough memory")
        if not isinstance(error, MemoryError) and not any(part in text for part in known):
            raise
        passes = next(
            (
                n
                for n in range(recipe.optim.accumulate + 1, recipe.batch + 1)
                if recipe.batch % (n * recipe.devices * recipe.nodes) == 0
            ),
            None,
        )
        share = f"optim.accumulate={passes} for the same batch in smaller passes, or " * bool(
            passes
        )
        raise NubilaError(
            f"out of memory with batch {recipe.batch} of {recipe.chip} px chips; try {share}"
            f"batch={max(1, recipe.batch // 2)}, or a smaller chip ({text.splitlines()[0]})"
        ) from error
