"""What a network is made of and what it costs, layer by layer, without running it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from nubila.errors import InputError
from nubila.nn.segmenter import Body

__all__ = ["Layer", "Summary", "summarise"]

_FLOAT: Final = 4  # bytes of a float32


@dataclass
class Layer:
    """One module of a network.

    Attributes:
        name: where it is, as ``encoders.0.conv``; empty for the network itself.
        label: its name within the module that called it.
        kind: its class.
        depth: how many calls lie around its own.
        shape: of its output, without the batch; empty where it gives more than one.
        parameters: its own and those of what lies within it.
        multiply_adds: of one image, of all calls and of what lies within it.
        calls: how often it is used; its parameters count once.
    """

    name: str
    label: str
    kind: str
    depth: int
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    calls: int = 0


@dataclass(frozen=True)
class Summary:
    """A network as a whole, and its layers in the order in which they are first called.

    Attributes:
        layers: outer ones before what lies within them.
        parameters: how many.
        trainable: how many of them are trained.
        multiply_adds_per_pixel: of convolutions and matrix products.
        activation_bytes: what training holds for one image until its gradient is computed.
        weight_bytes: of parameters and statistics in float32.
        receptive_field: as `Body.receptive_field`.
        stride: as `Body.stride`.
        size: rows and columns of the image.
    """

    layers: tuple[Layer, ...]
    parameters: int
    trainable: int
    multiply_adds_per_pixel: float
    activation_bytes: int
    weight_bytes: int
    receptive_field: int | None
    stride: int
    size: int


def summarise(body: nn.Module, inputs: int, size: int) -> Summary:
    """Return what a network consists of.

    Args:
        body: as `Segmenter` takes it; it is left as it was.
        inputs: number of bands.
        size: rows and columns of the image, a multiple of the network's stride.

    Raises:
        InputError: `size` is no multiple of the stride.
    """
    measured = cast(Body, body)
    if size < 1 or size % measured.stride:
        near = max(1, round(size / measured.stride)) * measured.stride
        raise InputError(
            f"size {size} is not a multiple of {measured.stride}, the network's stride; take {near}"
        )
    twin = copy.deepcopy(body).to("meta")
    image = torch.empty(1, inputs, size, size, device="meta")
    layers = _layers(twin.eval(), image)
    parameters = list(body.parameters())
    return Summary(
        layers=tuple(layers),
        parameters=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        multiply_adds_per_pixel=layers[0].multiply_adds / size**2,
        activation_bytes=_held(twin, image),
        weight_bytes=_FLOAT * sum(t.numel() for t in body.state_dict().values()),
        receptive_field=measured.receptive_field(),
        stride=measured.stride,
        size=size,
    )


def _layers(network: nn.Module, image: Tensor) -> list[Layer]:
    """Return every module that is called, by hooks around its call."""
    found: dict[str, Layer] = {}
    begun: list[tuple[str, int]] = []  # the calls around the present one
    with FlopCounterMode(display=False) as counter, torch.no_grad():

        def before(name: str) -> Callable[..., None]:
            def note(module: nn.Module, arguments: object) -> None:
                if name not in found:
                    parameters = sum(p.numel() for p in module.parameters())
                    caller = f"{begun[-1][0]}." if begun else ""
                    label, kind = name.removeprefix(caller), type(module).__name__
                    found[name] = Layer(name, label, kind, len(begun), (), parameters, 0)
                begun.append((name, counter.get_total_flops()))

            return note

        def after(name: str) -> Callable[..., None]:
            def note(module: nn.Module, arguments: object, output: Any) -> None:  # noqa: ANN401
                layer = found[name]
                layer.calls += 1
                layer.multiply_adds += (counter.get_total_flops() - begun.pop()[1]) // 2
                layer.shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()

            return note

        handles = []
        for name, module in network.named_modules():
            handles.append(module.register_forward_pre_hook(before(name)))
            handles.append(module.register_forward_hook(after(name)))
        network(image)
        for handle in handles:
            handle.remove()
    return list(found.values())


def _held(network: nn.Module, image: Tensor) -> int:
    """Return the bytes that a step of training holds for its gradient, weights not counted."""
    weights = {t.untyped_storage()._cdata for t in network.state_dict().values()}
    held: dict[int, int] = {}
    kept: list[Tensor] = []  # lest a storage's place is taken by the next

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            held[storage._cdata] = storage.nbytes()
            kept.append(tensor)
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor), torch.enable_grad():
        output = network.train()(image)
    del output
    return sum(held.values())
