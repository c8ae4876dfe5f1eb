from __future__ import annotations

import pytest
import torch
from torch import nn

from nubila.errors import InputError
from nubila.nn.body import Network
from nubila.nn.recurrent import RecurrentResidual
from nubila.nn.summary import summarise
from nubila.nn.unet import UNet


class _Two(Network):
    """Two convolutions with a ReLU between, whose cost is easily reckoned."""

    def __init__(self) -> None:
        super().__init__(3, 2, 1)
        self.first = nn.Conv2d(3, 5, 3, padding=1)
        self.second = nn.Conv2d(5, 2, 1)

    def forward(self, image):
        return self.second(torch.relu(self.first(image)))


def test_figures_reckoned_by_hand():
    found = summarise(_Two(), 3, 8)
    assert [layer.name for layer in found.layers] == ["", "first", "second"]
    assert [layer.depth for layer in found.layers] == [0, 1, 1]
    assert found.layers[1].shape == (5, 8, 8)
    assert found.layers[1].parameters == 5 * 3 * 9 + 5
    assert found.layers[1].multiply_adds == 5 * 3 * 9 * 64
    assert found.multiply_adds_per_pixel == 5 * 3 * 9 + 5 * 2
    assert found.parameters == found.trainable == 140 + 12
    assert found.weight_bytes == 4 * 152
    assert found.receptive_field == 1
    # The gradient needs the image and what the ReLU gave, which the second convolution shares.
    assert found.activation_bytes == 4 * 64 * (3 + 5)


def test_a_unit_used_again_counts_its_work_and_not_its_weights():
    body = UNet((2, 2), inputs=3, outputs=2, unit=RecurrentResidual)
    found = summarise(body, 3, 8)
    assert found.parameters == sum(p.numel() for p in body.parameters())
    unit = next(layer for layer in found.layers if layer.name == "encoders.0.units.0.unit")
    assert unit.calls == 3
    assert unit.multiply_adds == 3 * 64 * 2 * 2 * 9
    assert found.layers[0].multiply_adds == body.flops_per_pixel() / 2 * 64


def test_the_network_is_left_as_it_was():
    body = UNet((2, 2), inputs=3, outputs=2)
    before = {name: value.clone() for name, value in body.state_dict().items()}
    body.eval()
    summarise(body, 3, 8)
    assert not body.training and not any(m._forward_hooks for m in body.modules())
    assert all(torch.equal(before[name], value) for name, value in body.state_dict().items())


def test_a_size_that_the_stride_does_not_divide_is_an_error():
    with pytest.raises(InputError, match=r"size 9 is not a multiple of 2.*take 8"):
        summarise(UNet((2, 2), inputs=3, outputs=2), 3, 9)
