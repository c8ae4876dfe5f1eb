"""What holds for every network: shapes, gradients, reach, cost, folding, export."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from nubila.nn import Segmenter
from nubila.nn.library import LibraryNetwork
from nubila.nn.normalise import FillNoData
from nubila.nn.recurrent import RecurrentResidual
from nubila.nn.unet import UNet
from tests.nn.bodies import LIBRARY, OWN, shaken

EVERY = OWN | LIBRARY


@pytest.mark.parametrize("name", EVERY)
def test_output_has_the_size_of_the_input_at_odd_multiples_of_the_stride(name):
    body = EVERY[name](inputs=5, outputs=3).eval()
    rows, columns = 3 * body.stride, body.stride
    with torch.inference_mode():
        logits = body(torch.rand(2, 5, rows, columns))
    assert logits.shape == (2, 3, rows, columns)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", [*OWN, "resnet"])
def test_the_gradient_reaches_every_parameter(name):
    torch.manual_seed(0)
    body = EVERY[name](inputs=4, outputs=1)
    logits = body(torch.rand(2, 4, 4 * body.stride, 4 * body.stride))
    (logits * torch.randn_like(logits)).sum().backward()
    for parameter_name, parameter in body.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, parameter_name


def _changed_cells(body: nn.Module, column: int, cells: int) -> np.ndarray:
    """The cells of outputs that one column of a black image lights, however faintly."""
    image = torch.zeros(1, 2, body.stride, cells * body.stride, dtype=torch.float64)
    image[..., column] = 1
    with torch.inference_mode():
        changed = (body(image) != 0).any(dim=2)[0].any(dim=0)
    return changed.view(cells, body.stride).any(dim=1).nonzero().ravel().numpy()


class _Open(nn.Module):
    """Averages where the largest is taken, so that every dependence shows in the numbers."""

    def forward(self, features):
        return nn.functional.avg_pool2d(features, 3, stride=2, padding=1)


@pytest.mark.parametrize("name", ["unet", "r2", "simple", "cloudnet"])
def test_receptive_field_agrees_with_changing_pixels(name, monkeypatch):
    """With weights above zero, no biases, averages for pooling: what does one column light?"""
    pool = nn.functional.avg_pool2d
    monkeypatch.setattr(nn.functional, "max_pool2d", lambda image, size: pool(image, size))
    body = OWN[name](inputs=2, outputs=1).double().eval()
    for module in list(body.modules()):
        for child_name, child in list(module.named_children()):
            if isinstance(child, nn.MaxPool2d):
                setattr(module, child_name, _Open())
    for name_, parameter in body.named_parameters():
        if parameter.ndim == 4:
            nn.init.constant_(parameter, 1 / parameter[0].numel())
        elif name_.endswith("bias"):
            nn.init.zeros_(parameter)
    reach = body.receptive_field()
    cells = 2 * (reach // body.stride + 2)
    worst = 0
    for place in range(body.stride):
        column = cells // 2 * body.stride + place
        found = _changed_cells(body, column, cells) * body.stride
        worst = max(worst, found[-1] - column, column - (found[0] + body.stride - 1))
    assert worst == reach


def test_classic_unet_sees_188_pixels():
    """That of the published network, whose convolutions without padding turn 572 into 388."""
    body = UNet((2, 2, 2, 2, 2), inputs=1, outputs=1)
    # 572 - 388 = 184 pixels are lost, so 92 to each side of four that share a coarsest cell ...
    assert 92 <= body.receptive_field() <= 92 + 2
    assert body.stride == 16


@pytest.mark.parametrize("name", ["fpn", "deeplabv3plus", "segformer", "resnest"])
def test_global_parts_have_no_receptive_field(name, monkeypatch):
    monkeypatch.setattr("nubila.nn.reach._WIDEST", 1024)
    assert LIBRARY[name](inputs=3, outputs=2).receptive_field() is None


def test_what_lies_beyond_the_receptive_field_changes_nothing():
    body = shaken(LIBRARY["linknet"](inputs=2, outputs=2))
    reach, stride = body.receptive_field(), body.stride
    far = -(-reach // stride) * stride
    image = torch.rand(1, 2, stride, far + 4 * stride)
    other = image.clone()
    other[..., far + stride :] = 0
    with torch.inference_mode():
        assert torch.equal(body(image)[..., :stride], body(other)[..., :stride])


def test_enlarging_does_not_depend_on_the_size_of_the_image():
    body = shaken(LibraryNetwork("segformer", "resnet18", inputs=2, outputs=2))
    stride = body.stride
    halo = -(-body.receptive_field() // stride) * stride
    image = torch.rand(1, 2, stride, 2 * halo + 4 * stride)
    part = image[..., 2 * stride :]
    with torch.inference_mode():
        whole, again = body(image)[..., halo + 2 * stride :], body(part)[..., halo:]
    np.testing.assert_allclose(whole[..., :stride], again[..., :stride], atol=1e-5)


def test_a_unit_that_works_in_place_has_its_reach_found(monkeypatch):
    monkeypatch.setattr("nubila.nn.reach._WIDEST", 256)
    assert LibraryNetwork("pspnet", "resnet18", inputs=2, outputs=2).receptive_field() is None


def _multiply_adds(body: nn.Module, size: int) -> int:
    """By hand from every convolution's weights and the size of what it gives."""
    counts = []

    def note(module, arguments, output):
        places = output if isinstance(module, nn.Conv2d) else arguments[0]
        counts.append(module.weight.numel() * places.shape[2] * places.shape[3])

    for module in body.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(note)
    with torch.inference_mode():
        body(torch.rand(1, 4, size, size))
    return sum(counts)


@pytest.mark.parametrize("name", [*OWN, "linknet"])
def test_flops_are_those_of_the_convolutions(name):
    body = EVERY[name](inputs=4, outputs=2).eval()
    flops = body.flops_per_pixel()
    assert flops == pytest.approx(2 * _multiply_adds(body, 256) / 256**2)


@pytest.mark.parametrize("name", ["unet", "attention", "r2", "tiny", "cloudnet"])
def test_folding_changes_nothing_and_leaves_no_batch_norm(name):
    torch.manual_seed(1)
    body = shaken(OWN[name](inputs=3, outputs=2))
    network = Segmenter(body, FillNoData(), bands=("red", "green", "blue"), classes=("a", "b"))
    image = torch.rand(1, 3, 2 * body.stride, body.stride)
    with torch.inference_mode():
        folded = network.folded(2.0, (0.5, -0.5))
        expected = (network(image) / 2 + torch.tensor([0.5, -0.5]).view(1, 2, 1, 1)).softmax(dim=1)
        torch.testing.assert_close(folded.probabilities(image), expected)
    left = sum(isinstance(m, nn.BatchNorm2d) for m in folded.body.modules())
    assert left == 0


class _Graph(nn.Module):
    def __init__(self, network: Segmenter) -> None:
        super().__init__()
        self.network = network

    def forward(self, reflectance):
        return self.network.probabilities(reflectance)


_EXPORTED = {
    "attention and r2": partial(UNet, (4, 6), gated=True, unit=RecurrentResidual),
    "tiny": OWN["tiny"],
    "cloudnet": OWN["cloudnet"],
    "resnet": LIBRARY["resnet"],
}


@pytest.mark.parametrize("name", _EXPORTED)
def test_exports_with_any_size_and_batch(name, tmp_path):
    torch.manual_seed(2)
    bands = ("red", "green", "blue")
    body = shaken(_EXPORTED[name](inputs=3, outputs=1))
    network = Segmenter(body, FillNoData(), bands=bands, classes=("clear", "cloud")).folded()
    stride = body.stride
    rows, columns = (stride * torch.export.Dim(side) for side in ("rows", "columns"))
    program = torch.onnx.export(
        _Graph(copy.deepcopy(network)).eval(),
        (torch.zeros(2, 3, 3 * stride, 4 * stride),),
        dynamo=True,
        opset_version=18,
        input_names=["reflectance"],
        output_names=["probabilities"],
        dynamic_shapes=({0: torch.export.Dim("batch"), 2: rows, 3: columns},),
        verbose=False,
    )
    path = tmp_path / "graph.onnx"
    program.save(path)
    session = onnxruntime.InferenceSession(path)
    image = torch.rand(1, 3, 2 * stride, 5 * stride)
    image[:, :, :3] = torch.nan
    with torch.inference_mode():
        expected = network.probabilities(image).numpy()
    (found,) = session.run(None, {"reflectance": image.numpy()})
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.isfinite(found).all()
