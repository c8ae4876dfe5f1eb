from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nubila.errors import RecipeError
from nubila.recipe import Recipe
from nubila.train import fit, load_recipe
from nubila.train.optim import build_optimiser, freeze, train_mode
from nubila.train.state import State, load_weights


def _spec(**optim: Any) -> Any:
    data = {"manifest": "x", "root": "."}
    return Recipe.model_validate({"steps": 1, "data": data, "optim": optim}).optim


def _moved(spec: Any, gradients: list[float]) -> list[float]:
    """Return where a weight of 1 goes, with the same gradients whatever it is."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    optimiser, places = build_optimiser(spec, layer), []
    for gradient in gradients:
        layer.weight.grad = torch.full_like(layer.weight, gradient)
        optimiser.step()
        places.append(float(layer.weight.detach()))
    return places


def test_sgd_by_hand() -> None:
    spec = _spec(name="sgd", lr=0.1, momentum=0.5, weight_decay=0.1)
    weight, speed, places = 1.0, 0.0, []
    for gradient in (1.0, -2.0, 0.5):
        speed = 0.5 * speed + gradient + 0.1 * weight
        weight -= 0.1 * speed
        places.append(weight)
    np.testing.assert_allclose(_moved(spec, [1.0, -2.0, 0.5]), places, rtol=1e-6)


def test_nesterov_looks_ahead() -> None:
    spec = _spec(name="sgd", lr=0.1, momentum=0.5, nesterov=True)
    np.testing.assert_allclose(_moved(spec, [1.0]), [1 - 0.1 * 1.5], rtol=1e-6)


@pytest.mark.parametrize(("name", "decay"), [("adam", 0.0), ("adamw", 0.2)])
def test_the_first_step_of_adam_is_the_rate(name: str, decay: float) -> None:
    spec = _spec(name=name, lr=0.1, weight_decay=decay)
    np.testing.assert_allclose(_moved(spec, [7.0]), [1 - 0.1 * decay - 0.1], rtol=1e-5)


def test_rmsprop_by_hand() -> None:
    spec = _spec(name="rmsprop", lr=0.1, alpha=0.75)
    np.testing.assert_allclose(_moved(spec, [3.0]), [1 - 0.1 * 3 / np.sqrt(0.25 * 9)], rtol=1e-5)


def test_biases_and_norms_are_not_decayed() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    decayed, others = build_optimiser(_spec(weight_decay=0.3), network).param_groups
    assert decayed["weight_decay"] == 0.3 and others["weight_decay"] == 0
    assert [p.ndim for p in decayed["params"]] == [4]
    assert [p.ndim for p in others["params"]] == [1, 1, 1]


def test_frozen_layers_keep_their_statistics() -> None:
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    freeze(network, ["0.*"])
    train_mode(network)
    network(torch.full((2, 1, 3, 3), 5.0))
    assert float(network[0].running_mean) == 0 and float(network[2].running_mean) != 0
    assert len(build_optimiser(_spec(), network).param_groups[0]["params"]) == 1


def test_patterns_that_fit_nothing_or_everything_are_errors() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 1))
    with pytest.raises(RecipeError, match=r"'0.weihgt'; did you mean '0.weight'"):
        freeze(network, ["0.weihgt"])
    with pytest.raises(RecipeError, match="nothing would be trained"):
        freeze(network, ["*"])


def test_fine_tuning_starts_from_a_run_and_moves_what_is_not_frozen(
    toy: Path, tmp_path: Path
) -> None:
    fit(load_recipe(toy, ["steps=3"]), tmp_path / "first", report=print)
    changes = ["steps=3", "seed=9", f"finetune.start_from={tmp_path / 'first'}"]
    changes.append("finetune.frozen=['body.stem*']")
    start = load_weights(tmp_path / "first" / "best.ckpt").state_dict()
    recipe = load_recipe(toy, changes)
    for key, value in State.start(recipe).network.state_dict().items():
        assert torch.equal(value, start[key]), key
    fit(recipe, tmp_path / "second", report=print)
    end = torch.load(tmp_path / "second" / "last.ckpt", weights_only=True)["network"]
    stems = [key for key in end if key.startswith("body.stem")]
    assert stems and all(torch.equal(end[key], start[key]) for key in stems)
    assert not all(torch.equal(end[key], start[key]) for key in end)


def test_weights_of_another_network_are_an_error(toy: Path, tmp_path: Path) -> None:
    torch.save({"average": {"other": torch.zeros(1)}}, tmp_path / "other.ckpt")
    recipe = load_recipe(toy, [f"finetune.start_from={tmp_path / 'other.ckpt'}"])
    with pytest.raises(RecipeError, match="no weights that fit"):
        State.start(recipe)


def test_weights_of_other_bands_of_the_same_number_are_an_error(toy: Path, tmp_path: Path) -> None:
    bands = "bands=[blue, green, red, nir]"
    fit(load_recipe(toy, ["steps=1", bands]), tmp_path / "first", report=print)
    start = f"finetune.start_from={tmp_path / 'first'}"
    State.start(load_recipe(toy, [bands, start]))
    with pytest.raises(RecipeError, match="is of the bands blue, green, red, nir, this recipe of"):
        State.start(load_recipe(toy, ["bands=[red, green, blue, nir]", start]))
