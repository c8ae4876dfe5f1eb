"""A tiny model whose answer can be worked out by hand, and a manifest of tiny scenes for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nubila.models_io import CARD_KEY, ModelCard, load_model
from nubila.models_io.load import Model

CLASSES = ("clear", "cloud", "cloud shadow")


def write_model(path: Path, *, required: tuple[str, ...] = ("red",), stride: int = 4) -> Path:
    """Write an ONNX file: red above 0.5 is cloud, below 0.1 is cloud shadow, between is clear.

    Each class's logit is slope * red + offset; nir, which is optional, adds nothing where it is
    NaN or a number.
    """
    onnx = pytest.importorskip("onnx")
    helper, dtype = onnx.helper, onnx.TensorProto.FLOAT
    # clear: 0; cloud: 100 (red - 0.5); cloud shadow: 100 (0.1 - red)
    weight = np.zeros((3, 2, 1, 1), np.float32)
    weight[:, 0, 0, 0] = 0, 100, -100
    nodes = [
        helper.make_node("IsNaN", ["reflectance"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "reflectance"], ["filled"]),
        helper.make_node("Conv", ["filled", "weight", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    tensors = [
        onnx.numpy_helper.from_array(np.float32(0), "zero"),
        onnx.numpy_helper.from_array(weight, "weight"),
        onnx.numpy_helper.from_array(np.array([0, -50, 10], np.float32), "bias"),
    ]
    ports = [
        [helper.make_tensor_value_info(name, dtype, ["n", channels, "h", "w"])]
        for name, channels in (("reflectance", 2), ("probabilities", 3))
    ]
    graph = helper.make_graph(nodes, "tiny", *ports, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    card = ModelCard(
        name="tiny",
        version="1",
        summary="red says it",
        bands=[{"name": b, "required": b in required} for b in ("red", "nir")],
        classes=CLASSES,
        resolution=(10, 60),
        receptive_field=0,
        stride=stride,
    )
    helper.set_model_props(model, {CARD_KEY: card.model_dump_json()})
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's file."""
    return write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="session")
def model(model_path: Path) -> Model:
    """The tiny model, loaded."""
    return load_model(model_path)


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """A manifest of four images in two folders, three of one scene, that the model half gets right.

    Images are 6 x 10 pixels: no multiple of the model's stride.
    """
    lines = ["image,mask,bands,scale,codes,split,group"]
    red = np.full((6, 10), 30, np.uint8)  # clear everywhere
    red[:2], red[2:3] = 80, 5  # cloud on two rows, cloud shadow on one
    for folder, stem, group, codes in (
        ("alps", "a", "first", "0=clear|snow;1=cloud|thin cloud;3=cloud shadow"),
        ("alps", "b", "first", "0=clear|snow;1=cloud|thin cloud;3=cloud shadow"),
        ("alps", "c", "second", "0=clear|snow;1=cloud|thin cloud;3=cloud shadow"),
        ("coast", "d", "third", "3=cloud shadow;*=clear|cloud|thin cloud"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        mask = np.zeros((6, 10), np.uint8)
        mask[:3], mask[3] = 1, 3  # the model misses a row of cloud, and of shadow
        image = np.full((6, 10), 5, np.uint8) if stem == "c" else red
        np.save(tmp_path / folder / f"{stem}.npy", image)
        np.save(tmp_path / folder / f"{stem}_mask.npy", mask)
        name = f"{folder}/{stem}"
        lines.append(f"{name}.npy,{name}_mask.npy,red,0.01,{codes},test,{group}")
    path = tmp_path / "manifest.csv"
    path.write_text("\n".join(lines) + "\n")
    return path
