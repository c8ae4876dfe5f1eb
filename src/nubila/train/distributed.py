"""Devices, processes and precision, through Lightning Fabric.

A step's chips are dealt out to the processes, so that their number does not change the recipe. Nor
does it change the gradient of losses that are means over the judged pixels, such as cross-entropy;
of losses of regions (Dice, Jaccard, Lovász), and of binary cross-entropy where labels are partial,
it is the weighted mean over the parts. Batch norm sees a part of the chips on a CPU, as with
`optim.accumulate`; on GPUs its statistics are shared by all processes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils import deterministic

from nubila.errors import RecipeError
from nubila.nn import Segmenter
from nubila.recipe import Recipe
from nubila.train._fabric import Fabric, MixedPrecision, Precision
from nubila.train.memory import keep_freed_memory

__all__ = ["average_buffers", "finish", "greatest", "start_fabric", "sync_batch_norm", "total"]


class _InputsAsTheyAre(MixedPrecision):
    """Automatic mixed precision that leaves the network's inputs in single precision.

    Reflectance in bfloat16 has steps of 0.4 %, which a normalisation would blow up.
    """

    def convert_input(self, data: Any) -> Any:  # noqa: ANN401 (of the class it derives from)
        return data


def start_fabric(recipe: Recipe) -> Fabric:
    """Return the devices of a recipe, with its processes started.

    Raises:
        RecipeError: there are fewer devices than the recipe asks for, or no GPU for 16-mixed.
    """
    on_gpu = torch.cuda.is_available()
    if recipe.precision == "16-mixed" and not on_gpu:
        raise RecipeError("precision 16-mixed needs a GPU; use bf16-mixed or 32-true")
    plugin = _precision(recipe, "cuda" if on_gpu else "cpu")
    try:
        fabric = Fabric(
            accelerator="cuda" if on_gpu else "cpu",
            devices=recipe.devices,
            num_nodes=recipe.nodes,
            strategy="ddp" if recipe.devices * recipe.nodes > 1 else "auto",
            plugins=[plugin],
        )
    except (RuntimeError, ValueError) as error:  # Lightning's own kind derives from RuntimeError
        raise RecipeError(f"devices {recipe.devices}, nodes {recipe.nodes}: {error}") from error
    fabric.launch()
    torch.set_num_threads(recipe.threads)  # after launch, which sets it too
    # Some backward passes have no deterministic form on a GPU; there it is only a warning.
    torch.use_deterministic_algorithms(True, warn_only=on_gpu)
    # It would fill every new tensor with NaN before it is written, a twentieth of a step.
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    keep_freed_memory()
    return fabric


def _precision(recipe: Recipe, device: str) -> Precision:
    if recipe.precision == "32-true":
        return Precision()
    return _InputsAsTheyAre(recipe.precision, device)


def sync_batch_norm(fabric: Fabric, network: Segmenter) -> Segmenter:
    """Let batch norms share their statistics over GPUs; PyTorch has nothing of it for CPUs."""
    if fabric.world_size == 1 or fabric.device.type != "cuda":
        return network
    convert: Callable[[Segmenter], Segmenter] = nn.SyncBatchNorm.convert_sync_batchnorm
    return convert(network)


def total(fabric: Fabric, values: Tensor) -> Tensor:
    """Return the sum over all processes."""
    if fabric.world_size == 1:
        return values
    summed = cast(Tensor, fabric.all_reduce(values.to(fabric.device), reduce_op="sum"))
    return summed.to(values.device)


def greatest(fabric: Fabric, value: int) -> int:
    """Return the greatest over all processes."""
    if fabric.world_size == 1:
        return value
    held = torch.tensor(value, device=fabric.device)
    return int(cast(Tensor, fabric.all_reduce(held, reduce_op="max")))


def average_buffers(fabric: Fabric, network: nn.Module) -> None:
    """Give all processes the mean of their running statistics, so that their networks agree."""
    if fabric.world_size == 1:
        return
    buffers = [b for b in network.buffers() if b.dtype.is_floating_point]
    if not buffers:
        return
    flat = total(fabric, torch.cat([b.flatten() for b in buffers])) / fabric.world_size
    means = torch.split(flat, [b.numel() for b in buffers])
    for buffer, mean in zip(buffers, means, strict=True):
        buffer.copy_(mean.view_as(buffer))


def finish(fabric: Fabric) -> None:
    """Let the processes part; another run may follow in this one."""
    if fabric.world_size > 1 and torch.distributed.is_initialized():
        fabric.barrier()
        torch.distributed.destroy_process_group()
