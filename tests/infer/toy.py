"""A small model of the real kind, with random weights and a receptive field that is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nubila.models_io import CARD_KEY, BandUse, ModelCard

CLASSES = ("clear", "cloud", "thin cloud", "cloud shadow", "snow", "water")
BANDS = ("blue", "green", "red", "nir", "cirrus", "swir16")

# Half resolution (stem, one 3x3), quarter resolution (2x2 down, two 3x3), back up, one 3x3, head.
# To each side: a pixel's own block of 4, plus 3x3 kernels worth 2 + 4 + 4 + 2 pixels, rounded up
# by a block for where the pixel stands in its own.
STRIDE = 4
RECEPTIVE_FIELD = 2 + 4 + 4 + 2 + 3


def toy_card(
    bands: Sequence[str] = BANDS, required: int = 3, name: str = "toy", halo: int = RECEPTIVE_FIELD
) -> ModelCard:
    return ModelCard(
        name=name,
        version="0",
        summary="random weights",
        bands=tuple(BandUse(name=b, required=n < required) for n, b in enumerate(bands)),
        classes=CLASSES,
        resolution=(10.0, 60.0),
        receptive_field=halo,
        stride=STRIDE,
    )


def write_toy(
    path: Path,
    *,
    bands: Sequence[str] = BANDS,
    required: int = 3,
    seed: int = 0,
    width: int = 16,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write a toy model; `metadata` replaces the card."""
    card = toy_card(bands, required, path.stem)
    graph = _graph(len(bands), len(CLASSES), width, np.random.default_rng(seed))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(
        model, {CARD_KEY: card.model_dump_json()} if metadata is None else metadata
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def _graph(bands: int, classes: int, width: int, rng: np.random.Generator) -> onnx.GraphProto:
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = [
        numpy_helper.from_array(np.float32(0), "zero"),
        numpy_helper.from_array(np.float32([1, 1, 2, 2]), "twice"),
    ]

    def add(kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def conv(name: str, source: str, inputs: int, outputs: int, kernel: int, stride: int) -> str:
        scale = (2.0 / (inputs * kernel**2)) ** 0.5
        shape = (outputs, inputs, kernel, kernel)
        weight = rng.normal(0, scale, shape).astype(np.float32)
        bias = rng.normal(0, 0.1, outputs).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"{name}_weight"))
        weights.append(numpy_helper.from_array(bias, f"{name}_bias"))
        pad = 1 if kernel == 3 else 0
        return add(
            "Conv",
            [source, f"{name}_weight", f"{name}_bias"],
            name,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
        )

    def step(name: str, source: str, inputs: int, outputs: int, kernel: int, stride: int) -> str:
        return add("Relu", [conv(name, source, inputs, outputs, kernel, stride)], f"{name}_relu")

    missing = add("IsNaN", ["reflectance"], "missing")
    filled = add("Where", [missing, "zero", "reflectance"], "filled")
    there = add("Cast", [add("Not", [missing], "there")], "available", to=TensorProto.FLOAT)
    both = add("Concat", [filled, there], "both", axis=1)
    half = step("half", step("stem", both, 2 * bands, width, 2, 2), width, width, 3, 1)
    down = step("down", half, width, 2 * width, 2, 2)
    deep = step("deep2", step("deep1", down, 2 * width, 2 * width, 3, 1), 2 * width, width, 3, 1)
    up = add("Resize", [deep, "", "twice"], "up", mode="nearest",
             coordinate_transformation_mode="asymmetric", nearest_mode="floor")  # fmt: skip
    joined = step("join", add("Add", [up, half], "sum"), width, width, 3, 1)
    logits = conv("head", joined, width, 4 * classes, 1, 1)
    full = add("DepthToSpace", [logits], "full", blocksize=2, mode="CRD")
    add("Softmax", [full], "probabilities", axis=1)
    return helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("reflectance", TensorProto.FLOAT, ["n", bands, "h", "w"])],
        [
            helper.make_tensor_value_info(
                "probabilities", TensorProto.FLOAT, ["n", classes, "h", "w"]
            )
        ],
        weights,
    )
