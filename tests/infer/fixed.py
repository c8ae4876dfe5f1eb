"""Models whose answer depends on all of the tile they see, or on the scene, made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nubila.models_io import CARD_KEY, BandUse, ModelCard

BANDS = ("red", "nir")
CLASSES = ("clear", "cloud")


def write_fixed(
    path: Path,
    *,
    tile: int | None = 32,
    batch: int | None = None,
    statistics: tuple[str, ...] = (),
    output: str = "probabilities",
) -> Path:
    """Write a model: logit of cloud = 8 (red - mean red of the tile, or first statistic of red)."""
    card = ModelCard(
        name=path.stem,
        version="0",
        summary="above the mean is cloud",
        bands=tuple(BandUse(name=b, required=n == 0) for n, b in enumerate(BANDS)),
        classes=CLASSES,
        resolution=(10.0, 60.0),
        receptive_field=0 if tile is None else None,
        stride=4,
        tile=tile,
        statistics=statistics,
        output=output,
    )
    sides = [tile or "h", tile or "w"]
    inputs = [_port("reflectance", [batch or "n", 2, *sides])]
    if statistics:
        inputs.append(_port("statistics", [batch or "n", len(statistics), 2]))
    shape = [batch or "n", *sides] if output in ("classes", "mask") else [batch or "n", 2, *sides]
    kind = TensorProto.UINT8 if output in ("classes", "mask") else TensorProto.FLOAT
    graph = helper.make_graph(
        _nodes(bool(statistics), output), "fixed", inputs, [_port(output, shape, kind)],
        [numpy_helper.from_array(np.array(v), n) for n, v in _CONSTANTS.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {CARD_KEY: card.model_dump_json()})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


_CONSTANTS = {
    "zero": np.float32(0),
    "slope": np.float32(8),
    "first": np.int64([0]),
    "next": np.int64([1]),
    "channel": np.int64([1]),
    "last": np.int64([2]),
}


def _port(name: str, shape: list[object], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _nodes(statistics: bool, output: str) -> list[onnx.NodeProto]:
    add = helper.make_node
    nodes = [
        add("Slice", ["reflectance", "first", "next", "channel"], ["red"]),
        add("IsNaN", ["red"], ["missing"]),
        add("Where", ["missing", "zero", "red"], ["filled"]),
    ]
    if statistics:
        nodes += [
            add("Slice", ["statistics", "first", "next", "channel"], ["low"]),
            add("Slice", ["low", "first", "next", "last"], ["low_red"]),
            add("Unsqueeze", ["low_red", "last"], ["middle"]),
        ]
    else:
        nodes.append(add("GlobalAveragePool", ["filled"], ["middle"]))
    nodes += [
        add("Sub", ["filled", "middle"], ["difference"]),
        add("Mul", ["difference", "slope"], ["cloudy"]),
        add("Mul", ["cloudy", "zero"], ["clear"]),
    ]
    if output in ("classes", "mask"):
        return [
            *nodes,
            add("Greater", ["cloudy", "zero"], ["above"]),
            add("Cast", ["above"], ["bytes"], to=TensorProto.UINT8),
            add("Squeeze", ["bytes", "channel"], [output]),
        ]
    name = "logits" if output == "logits" else "both"
    nodes.append(add("Concat", ["clear", "cloudy"], [name], axis=1))
    if output == "probabilities":
        nodes.append(add("Softmax", ["both"], ["probabilities"], axis=1))
    return nodes
