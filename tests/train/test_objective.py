from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nubila.classes import class_set
from nubila.datasets import output_sets
from nubila.nn.losses.pixels import Pixels
from nubila.recipe import load_recipe
from nubila.train.objective import build_objective, pixel_counts
from nubila.train.samples import Labelled

_UNBIASED = "export.biases={}"  # the toy has one of snow
_CLOUD38 = "classes={clear: [clear, cloud shadow, snow, water], cloud: [cloud, thin cloud]}"
_NOT_CLOUD = class_set(["clear", "cloud shadow", "snow", "water"])


def _sample(label: np.ndarray) -> Labelled:
    return Labelled(np.zeros((7, *label.shape), np.float16), label.astype(np.uint8), "places")


@pytest.mark.parametrize("thin", [100, 0])
def test_pos_weight_counts_what_partial_labels_rule_out(toy: Path, thin: int) -> None:
    sets = (_NOT_CLOUD, class_set(["cloud"]), class_set(["thin cloud"]))
    label = np.repeat(sets, (8900, 1000, thin))[None]
    auto, by_hand = (
        load_recipe(toy, [f"loss={{name: bce, pos_weight: {weight}, classes: [cloud]}}"])
        for weight in ("auto", (8900 + thin) / 1000)
    )
    logits = torch.randn(1, 6, *label.shape, generator=torch.Generator().manual_seed(0))
    allowed = torch.from_numpy(label.astype(np.uint8))[None]
    found, expected = (
        build_objective(recipe, [_sample(label)], torch.device("cpu")).training(logits, allowed)
        for recipe in (auto, by_hand)
    )
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "sets", [[], [_CLOUD38], ["classes={cloud: [cloud, thin cloud], clear: [clear]}"]]
)
def test_pixels_are_counted_as_the_term_takes_them(toy: Path, sets: list[str]) -> None:
    recipe = load_recipe(toy, [*sets, _UNBIASED])
    random = np.random.default_rng(0)
    samples = [_sample(random.integers(0, 64, (9, 8))) for _ in range(2)]
    table = output_sets(recipe.classes)
    allowed = torch.from_numpy(table[np.stack([sample.label for sample in samples])])
    pixels = Pixels(torch.zeros(2, len(recipe.classes), 9, 8), allowed)
    known, positive = pixels.known > 0, pixels.positive
    expected = [
        (int((known & positive)[:, k].sum()), int((known & ~positive)[:, k].sum()))
        for k in range(len(recipe.classes))
    ]
    assert pixel_counts(recipe, samples) == expected


def test_of_two_outputs_what_is_out_of_one_is_in_the_other(toy: Path) -> None:
    label = np.array([[_NOT_CLOUD] * 7 + [class_set(["cloud", "thin cloud"])] * 3 + [0, 63]])
    assert pixel_counts(load_recipe(toy, [_CLOUD38, _UNBIASED]), [_sample(label)]) == [
        (7, 3),
        (3, 7),
    ]
