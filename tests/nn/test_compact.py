from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nubila.nn import CompactUNet, Segmenter
from nubila.nn.reach import probe_receptive_field


def _shaken(widths: tuple[int, ...] = (16, 16, 16)) -> CompactUNet:
    """A network with batch norms that are not the identity."""
    torch.manual_seed(3)
    network = CompactUNet(widths)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()


@pytest.mark.parametrize(
    ("widths", "plain"), [((16, 48, 112, 192), 0), ((16, 32, 48, 64), 2), ((16, 32), 0)]
)
def test_flops_agree_with_pytorchs_counter(widths: tuple[int, ...], plain: int) -> None:
    network = CompactUNet(widths, plain=plain).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.rand(1, 7, 64, 32))
    assert counter.get_total_flops() / (64 * 32) == pytest.approx(network.flops_per_pixel())


def test_default_is_about_thirty_thousand_operations_a_pixel() -> None:
    network = CompactUNet()
    assert 25e3 < network.flops_per_pixel() < 35e3
    assert network.stride == 16
    assert network.receptive_field() <= 80


@pytest.mark.parametrize(("widths", "plain"), [((8, 8, 8, 8), 0), ((8, 8, 8, 8), 2), ((8, 8), 0)])
def test_receptive_field_is_exact(widths: tuple[int, ...], plain: int) -> None:
    """With weights above zero every dependence shows, so the reach is met and never passed."""
    network = CompactUNet(widths, plain=plain).eval()
    for parameter in network.parameters():
        if parameter.ndim == 4:
            nn.init.constant_(parameter, 1 / parameter[0].numel())
    network.double()
    size, place = 16 * 16, 8 * 16 + 3
    worst = 0
    for shift in range(network.stride):
        image = torch.rand(1, 7, 16, size, dtype=torch.float64)
        with torch.inference_mode():
            before = network(image)
            image[0, 0, 8, place + shift] += 0.5
            changed = (network(image) != before).any(dim=2)[0].any(dim=0).nonzero().ravel()
        first, last = (int(edge) // network.stride for edge in (changed.min(), changed.max()))
        left = last * network.stride - place - shift  # pixels from the changed input to the cell
        right = place + shift - (first * network.stride + network.stride - 1)
        worst = max(worst, left, right)
    assert worst == network.receptive_field()


@pytest.mark.parametrize(
    ("widths", "plain"),
    [((8, 8), 0), ((8, 16, 8), 1), ((8, 8, 8, 8), 0), ((8, 8, 8, 8, 8), 0), ((8, 8, 8, 8, 8), 2)],
)
def test_receptive_field_agrees_with_the_probe(
    widths: tuple[int, ...], plain: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The network takes NaN for a missing value; made blind to it, it lets it through.
    monkeypatch.setattr(torch, "isnan", lambda values: torch.zeros_like(values, dtype=torch.bool))
    network = CompactUNet(widths, plain=plain)
    assert probe_receptive_field(network, 7, network.stride) == network.receptive_field()


def test_probabilities_are_the_softmax() -> None:
    network = _shaken()
    image = torch.rand(2, 7, 16, 24)
    image[0, 3:] = torch.nan
    with torch.inference_mode():
        expected = torch.softmax(network(image), dim=1)
        torch.testing.assert_close(network.probabilities(image), expected)


def test_folding_batch_norms_and_calibration_changes_nothing_else() -> None:
    network = _shaken()
    biases = (0.0, 0.5, -0.5, 1.0, -1.0, 2.0)
    image = torch.rand(1, 7, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(
            network.folded(2.0, biases)(image),
            network(image) / 2 + torch.tensor(biases).view(1, 6, 1, 1),
            rtol=1e-4,
            atol=1e-5,
        )
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.folded().modules())


def test_a_single_logit_is_that_of_the_second_class() -> None:
    torch.manual_seed(5)
    body = CompactUNet((8, 8), inputs=3, outputs=1).eval()
    network = Segmenter(body, None, bands=("red", "green", "blue"), classes=("clear", "cloud"))
    image = torch.rand(1, 3, 8, 12)
    with torch.inference_mode():
        logit = network(image)
        both = torch.cat([torch.zeros_like(logit), logit / 2], dim=1)
        expected = (both + torch.tensor([0.25, -0.5]).view(1, 2, 1, 1)).softmax(dim=1)
        torch.testing.assert_close(network.folded(2.0, (0.25, -0.5)).probabilities(image), expected)


def test_a_missing_band_is_not_a_black_band_and_gives_numbers() -> None:
    network = _shaken()
    image = torch.rand(1, 7, 16, 16)
    black, missing = image.clone(), image.clone()
    black[:, 3], missing[:, 3] = 0.0, torch.nan
    with torch.inference_mode():
        assert torch.isfinite(network(missing)).all()
        assert not torch.equal(network(black), network(missing))


def test_which_bands_there_are_can_set_the_brightness_that_is_seen() -> None:
    """Red, green and blue alone at half of the brightness, and what they are with more bands."""
    network = _shaken()
    with torch.no_grad():
        network.available.weight.zero_()
        network.stem.weight[:, 3:] = 0
        network.stem.bias.zero_()
        network.gain.weight.zero_()
        network.gain.weight[:, 3] = 1 - 2**0.5  # the stem sees the root of the reflectance
        network.gain.bias.fill_(2**0.5)
    image = torch.rand(1, 7, 16, 16) * 0.5
    alone = image / 2
    alone[:, 3:] = torch.nan
    with torch.inference_mode():
        torch.testing.assert_close(network(alone), network(image))


def test_weights_from_before_there_was_a_gain_read_as_they_were() -> None:
    network = CompactUNet()
    old = {name: v for name, v in network.state_dict().items() if not name.startswith("gain.")}
    other = CompactUNet()
    torch.nn.init.normal_(other.gain.weight)
    other.load_state_dict(old)
    image = torch.rand(1, 7, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(network.eval()(image), other.eval()(image))
    with pytest.raises(RuntimeError, match=r"stem\.weight"):
        other.load_state_dict({})


def test_absolute_brightness_reaches_the_output() -> None:
    network = _shaken()
    image = torch.full((1, 7, 16, 16), 0.1)
    with torch.inference_mode():
        assert not torch.allclose(network(image), network(image * 4))
