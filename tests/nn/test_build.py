"""From sections of a recipe to networks, and the figures that are published of some."""

from __future__ import annotations

import pytest
import torch

from nubila.errors import RecipeError
from nubila.nn import build_network
from nubila.nn.build import build_body
from nubila.nn.library import known_encoder
from nubila.recipe import Recipe
from nubila.recipe.model import MODELS, Library

_SMALL = {
    "compact": {"widths": (8, 8)},
    "unet": {"widths": (4, 4)},
    "attention": {"widths": (4, 4)},
    "r2": {"widths": (4, 4)},
    "simple": {"widths": (4, 4)},
    "tiny": {"widths": (4, 4)},
    "cloudnet": {"widths": (4, 8, 16)},
    "library": {"encoder": "mobilenet_v2"},
}


def _parameters(name: str, bands: int, classes: int) -> int:
    section = MODELS[name](name=name)
    body = build_body(section, [f"band {n}" for n in range(bands)], ["class"] * classes)
    return sum(p.numel() for p in body.parameters())


def _recipe(**changes: object) -> Recipe:
    return Recipe.model_validate(
        {"steps": 1, "data": {"manifest": "none.csv", "root": "."}} | changes
    )


def test_classic_unet_has_the_published_number_of_parameters():
    assert _parameters("unet", 13, 4) == 31_043_588


def test_simple_unet_has_the_published_number_of_parameters():
    assert _parameters("simple", 4, 2) == 538_934


def test_tiny_is_of_about_the_published_number_of_parameters():
    assert round(_parameters("tiny", 4, 2) / 1e6, 2) == 0.54


@pytest.mark.parametrize("name", MODELS)
def test_every_network_is_built_and_gives_numbers_for_no_data(name):
    torch.manual_seed(0)
    recipe = _recipe(model={"name": name} | _SMALL[name], chip=64)
    network = build_network(recipe).eval()
    image = torch.rand(1, 7, network.stride, 2 * network.stride)
    image[:, 5] = torch.nan
    image[..., :2] = torch.nan
    with torch.inference_mode():
        found = network.probabilities(image)
    assert found.shape == (1, 6, network.stride, 2 * network.stride)
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("name", MODELS)
def test_of_two_classes_one_may_have_a_logit(name):
    model = {"name": name, "single_logit": True} | _SMALL[name]
    classes = {"clear": ("clear", "water"), "cloud": ("cloud", "thin cloud")}
    network = build_network(_recipe(model=model, classes=classes, chip=64)).eval()
    image = torch.rand(1, 7, network.stride, network.stride)
    with torch.inference_mode():
        assert network(image).shape[1] == 1
        both = network.probabilities(image)
    assert both.shape[1] == 2
    torch.testing.assert_close(both.sum(dim=1), torch.ones(1, network.stride, network.stride))


def test_more_classes_have_one_logit_each():
    network = build_network(_recipe(model={"name": "tiny"} | _SMALL["tiny"]))
    assert network(torch.rand(2, 7, 16, 16)).shape[1] == 6


def test_same_seed_same_weights():
    recipe = _recipe(model={"name": "unet"} | _SMALL["unet"])
    weights = []
    for _ in range(2):
        torch.manual_seed(4)
        weights.append(build_network(recipe).state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_chip_that_the_stride_does_not_divide_is_an_error():
    with pytest.raises(RecipeError, match="chip: 48 is not a multiple of 32"):
        build_network(_recipe(model={"name": "library", "encoder": "mobilenet_v2"}, chip=48))


def test_an_unknown_encoder_is_named_with_the_nearest():
    with pytest.raises(RecipeError, match="no encoder 'resnt34'; did you mean 'resnet34'"):
        build_body(Library(name="library", encoder="resnt34"), ["red"], ["clear", "cloud"])


def test_an_encoder_that_the_decoder_cannot_take_is_an_error():
    section = Library(name="library", decoder="unetplusplus", encoder="mit_b0")
    with pytest.raises(RecipeError, match=r"'mit_b0' does not go with the decoder 'unetplusplus'"):
        build_body(section, ["red"], ["clear", "cloud"])


def test_an_encoder_of_fixed_size_is_an_error():
    section = Library(name="library", encoder="swin_tiny_patch4_window7_224")
    with pytest.raises(RecipeError, match="swin_tiny_patch4_window7_224' does not go with"):
        build_body(section, ["red"], ["clear", "cloud"])


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("resnet34", "resnet34"),
        ("convnext_tiny", "tu-convnext_tiny"),
        ("tu-resnet18.a1_in1k", "tu-resnet18.a1_in1k"),
        ("timm-resnest50d", "tu-resnest50d"),
        ("timm-tf_efficientnet_lite0", "timm-tf_efficientnet_lite0"),
    ],
)
def test_encoders_go_by_the_names_of_both_libraries(name, known):
    assert known_encoder(name) == known
