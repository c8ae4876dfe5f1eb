"""The graph that is exported: flips, softmax, classes or mask around a network, written as ONNX."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import onnx
import torch
from torch import Tensor, nn

from nubila.classes import CLOUD_CODES, class_code, class_set
from nubila.errors import InputError, NubilaError
from nubila.export.options import Shape
from nubila.infer.decide import kinds_of
from nubila.models_io import CARD_KEY, ModelCard
from nubila.nn import Segmenter

__all__ = [
    "TURNS",
    "Graph",
    "Reference",
    "cloudy_outputs",
    "looks_at_all",
    "statistics_of",
    "write_card",
    "write_onnx",
]

_OPSET: Final = 18
_CLOUDS: Final = sum(1 << code for code in CLOUD_CODES)

# Turns of an image: transposed first or not, then mirrored along these axes of (N, B, H, W).
_TURNS: Final[dict[str, tuple[tuple[bool, tuple[int, ...]], ...]]] = {
    "none": ((False, ()),),
    "horizontal": ((False, ()), (False, (3,))),
    "four": ((False, ()), (False, (3,)), (False, (2,)), (False, (2, 3))),
}
_TURNS["eight"] = _TURNS["four"] + tuple((True, axes) for _, axes in _TURNS["four"])

# How many times the network runs for each of `options.FLIPS`.
TURNS: Final = {name: len(turns) for name, turns in _TURNS.items()}


def statistics_of(network: Segmenter) -> tuple[str, ...]:
    """Return the statistics of whole scenes that a network's normalisation needs."""
    return tuple(getattr(network.normalise, "statistics", ()))


def looks_at_all(network: Segmenter) -> bool:
    """Tell whether a normalisation looks at all that the network is given, whatever its reach.

    Such as the stretch of each chip between its own percentiles.
    """
    return getattr(network.normalise, "over", "scene") == "chip"


def cloudy_outputs(classes: dict[str, tuple[str, ...]]) -> list[bool]:
    """Tell for each output of a recipe's classes whether it stands for clouds alone.

    Raises:
        InputError: none does, or all do, so that there is no mask of clouds.
    """
    found = [class_set(members) & ~_CLOUDS == 0 for members in classes.values()]
    if all(found) or not any(found):
        raise InputError(
            f"a mask needs outputs that are cloud and outputs that are not; the recipe's classes "
            f"are {', '.join(classes)}. Export classes or probabilities"
        )
    return found


class Graph(nn.Module):
    """What is exported; its arguments' names become the inputs'.

    Args:
        network: folded, in evaluation mode.
        classes: of the recipe: output -> the classes that count as it.
        shape: what to give, and over which flips to take the mean.
    """

    def __init__(
        self, network: Segmenter, classes: dict[str, tuple[str, ...]], shape: Shape
    ) -> None:
        super().__init__()
        self.network = network
        self.classes, self.shape = classes, shape
        values = [class_code(name) for name in network.classes]
        if shape.output == "mask":
            values = [int(cloudy) for cloudy in cloudy_outputs(classes)]
        self.register_buffer("values", torch.tensor(values, dtype=torch.uint8), persistent=False)

    def forward(self, reflectance: Tensor, statistics: Tensor | None = None) -> Tensor:
        """Return what `shape.output` says for (N, B, H, W) and (N, S, B)."""
        output = self.shape.output
        if output == "probabilities":
            return self.probabilities(reflectance, statistics)
        if self.shape.flips == "none":
            logits = self.network.calibrated(self.network(reflectance, statistics))
        else:
            # The logarithm of probabilities is logits that give these again.
            logits = self.probabilities(reflectance, statistics).clamp(min=1e-30).log()
        if output == "logits":
            return logits
        table: Tensor = self.get_buffer("values")
        return table[self.likeliest(logits)]

    def likeliest(self, logits: Tensor) -> Tensor:
        """Return (N, H, W) the place of each pixel's class, as `nubila.infer.decide` decides it."""
        codes = [class_code(name) for name in self.network.classes]
        groups = [list(kind.members) for kind in kinds_of(codes, self.shape.decision)]
        if len(groups) == 1:
            return logits.argmax(dim=1)
        shares = logits.softmax(dim=1)
        totals = torch.stack([shares[:, group].sum(dim=1) for group in groups], dim=1)
        places = [
            torch.tensor(group, device=logits.device)[shares[:, group].argmax(dim=1)]
            for group in groups
        ]
        found: Tensor = torch.stack(places, dim=1).gather(1, totals.argmax(dim=1, keepdim=True))
        return found[:, 0]

    def probabilities(self, reflectance: Tensor, statistics: Tensor | None) -> Tensor:
        """Return the mean (N, C, H, W) over the turns of the image."""
        turns = _TURNS[self.shape.flips]
        total: Tensor | None = None
        for transposed, axes in turns:
            turned = reflectance.transpose(2, 3) if transposed else reflectance
            found = self.one(turned.flip(axes) if axes else turned, statistics)
            found = found.flip(axes) if axes else found
            found = found.transpose(2, 3) if transposed else found
            total = found if total is None else total + found
        assert total is not None  # there is always the image as it is
        return total / len(turns) if len(turns) > 1 else total

    def one(self, reflectance: Tensor, statistics: Tensor | None) -> Tensor:
        """Return the probabilities of the image as it is."""
        return self.network.probabilities(reflectance, statistics)


class Reference(Graph):
    """The same of a network as trained, batch norms and all, with PyTorch's own softmax."""

    def one(self, reflectance: Tensor, statistics: Tensor | None) -> Tensor:
        """Return the probabilities of the image as it is."""
        return self.network.calibrated(self.network(reflectance, statistics)).softmax(dim=1)


def write_onnx(graph: Graph, card: ModelCard, path: Path) -> None:
    """Write a graph with its card; the same network gives the same bytes.

    Args:
        graph: in evaluation mode.
        card: goes into the file's metadata.
        path: the file to write.

    Raises:
        InputError: PyTorch cannot export the network for images of this shape.
    """
    inputs, dynamic = _inputs(graph, card)
    try:
        with _quiet():
            program = torch.onnx.export(
                graph.eval(),
                tuple(inputs.values()),
                dynamo=True,
                opset_version=_OPSET,
                input_names=list(inputs),
                output_names=[card.output],
                dynamic_shapes=dynamic,
                verbose=False,
            )
    except Exception as error:  # PyTorch's exporter raises its own and anyone's
        told = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"PyTorch cannot export this network for images of "
            f"{'any size' if card.tile is None else f'{card.tile} pixels'}: {told[0]}"
        ) from error
    if program is None:  # only where the exporter writes a file itself
        raise NubilaError("PyTorch's exporter gave no program")
    model = program.model_proto
    _strip(model)
    write_card(model, card, path)


def _inputs(graph: Graph, card: ModelCard) -> tuple[dict[str, Tensor], tuple[Any, ...] | None]:
    """Return examples of the inputs, and which of their sides may be of any length."""
    stride, bands = card.stride, len(card.bands)
    # Sizes that differ from one another keep the exporter from taking one for another.
    rows, columns = (3 * stride, 4 * stride) if card.tile is None else (card.tile, card.tile)
    number = graph.shape.batch or 2
    inputs = {"reflectance": torch.zeros(number, bands, rows, columns)}
    free: dict[int, Any] = {}
    if graph.shape.batch is None:
        free[0] = torch.export.Dim("batch")
    sides = {} if card.tile is not None else {2: "rows", 3: "columns"}
    sizes = {axis: stride * torch.export.Dim(name) for axis, name in sides.items()}
    dynamic: list[dict[int, Any]] = [free | sizes]
    if card.statistics:
        inputs["statistics"] = torch.ones(number, len(card.statistics), bands)
        dynamic.append(free)
    return inputs, tuple(dynamic) if any(dynamic) else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what the exporter says to its own developers."""
    loggers = [logging.getLogger(name) for name in ("torch", "torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def write_card(model: Any, card: ModelCard, path: Path) -> None:  # noqa: ANN401 (untyped library)
    """Write an ONNX model with a card in place of whatever metadata it has."""
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = CARD_KEY, card.model_dump_json()
    path.write_bytes(model.SerializeToString(deterministic=True))


def _strip(model: Any) -> None:  # noqa: ANN401 (untyped library)
    """Take out what the exporter notes for debugging, such as this machine's file names."""
    graph = model.graph
    parts: Sequence[Any] = (graph, *graph.node, *graph.input, *graph.output, *graph.value_info)
    for part in parts:
        del part.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
    del graph.value_info[:]
    onnx.checker.check_model(model)
