from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nubila.nn import Segmenter, build_network
from nubila.nn.losses import build_loss
from nubila.recipe.loss import CrossEntropy
from nubila.train import load_recipe
from nubila.train.data import Labelled
from nubila.train.validate import classes_of, logits_of, validate

_UNBIASED = "export.biases={}"  # the toy has one of snow
_THREE = "classes={clear: [clear, water], cloud: [cloud, thin cloud], cloud shadow: [cloud shadow]}"


def _samples() -> list[Labelled]:
    random = np.random.default_rng(1)
    return [
        Labelled(
            random.uniform(0, 1, (7, 21, 34)).astype(np.float16),
            random.choice(np.array([0, 1, 2, 6, 7, 8, 16, 33], np.uint8), (21, 34)),
            folder,
        )
        for folder in ("x", "x", "y")
    ]


def _network(toy: Path) -> Segmenter:
    torch.manual_seed(0)
    return build_network(load_recipe(toy, [_THREE, _UNBIASED])).eval()


def test_scores_agree_with_a_plain_count(toy: Path) -> None:
    network, samples, recipe = _network(toy), _samples(), load_recipe(toy, [_THREE, _UNBIASED])
    cloud = {"x": [0, 0], "y": [0, 0]}
    outputs = np.zeros((3, 2), int)
    # Labels as sets of nubila's classes -> the outputs that they allow; 16 is snow, which is none.
    allowed = {0: (), 1: (0,), 2: (1,), 6: (1,), 7: (0, 1), 8: (2,), 16: (), 33: (0,)}
    for sample in samples:
        predicted = logits_of(network, sample.image).argmax(0).numpy()
        for bits, code in zip(sample.label.ravel(), predicted.ravel(), strict=True):
            if bits not in (0, 7):
                truth, found = bits in (2, 6), code == 1
                cloud[sample.folder][0] += truth and found
                cloud[sample.folder][1] += truth or found
            may = allowed[int(bits)]
            for output in range(3):
                truth, found = may == (output,), code == output
                if may and (truth or output not in may):
                    outputs[output] += (truth and found, truth or found)
    scores = validate(network, recipe, samples, [])
    assert scores["cloud_iou/x"] == pytest.approx(cloud["x"][0] / cloud["x"][1])
    assert scores["cloud_iou"] == pytest.approx(
        (cloud["x"][0] + cloud["y"][0]) / (cloud["x"][1] + cloud["y"][1])
    )
    ious = [hit / union for hit, union in outputs]
    assert [scores[f"iou/{name}"] for name in recipe.classes] == pytest.approx(ious)
    assert scores["mean_iou"] == pytest.approx(np.mean(ious))


def test_shares_of_processes_add_up_to_the_whole(toy: Path) -> None:
    network, samples, recipe = _network(toy), _samples(), load_recipe(toy, [_THREE, _UNBIASED])
    loss = build_loss((CrossEntropy(),), classes=tuple(recipe.classes))
    whole = validate(network, recipe, samples, samples[:1], loss=loss)
    vectors: list[torch.Tensor] = []

    def add(values: torch.Tensor) -> torch.Tensor:
        vectors.append(values)
        return torch.stack(vectors).sum(0)

    for rank in (0, 1):
        share = slice(rank, None, 2)
        found = validate(network, recipe, samples, samples[:1], loss=loss, share=share, total=add)
    assert found == pytest.approx(whole, nan_ok=True)
    assert "validation_loss" in whole and "synthetic_iou/cloud" in whole


def test_the_loss_is_a_mean_over_judged_pixels(toy: Path) -> None:
    network, samples, recipe = _network(toy), _samples(), load_recipe(toy, [_THREE, _UNBIASED])
    loss = build_loss((CrossEntropy(),), classes=tuple(recipe.classes))
    found = validate(network, recipe, samples, [], loss=loss)["validation_loss"]
    sums = pixels = 0.0
    for sample in samples:
        chances = logits_of(network, sample.image).softmax(0).numpy()
        for bits, outputs in {1: [0], 33: [0], 2: [1], 6: [1], 8: [2], 7: [0, 1]}.items():
            among = chances[:, sample.label == bits][outputs].sum(0)
            sums, pixels = sums - np.log(among).sum(), pixels + among.size
    assert found == pytest.approx(sums / pixels, rel=1e-4)


def test_networks_that_need_the_scene_get_its_statistics(toy: Path) -> None:
    recipe = load_recipe(toy, ["model={name: unet, widths: [8, 16]}", "normalise=min_max"])
    torch.manual_seed(0)
    network = build_network(recipe).eval()
    sample = _samples()[0]
    low, high = sample.image.min(axis=(1, 2)), sample.image.max(axis=(1, 2))
    scene = torch.from_numpy(np.stack([low, high]).astype(np.float32))[None]
    wanted = logits_of(network, sample.image, scene).argmax(0).numpy()
    np.testing.assert_array_equal(classes_of(network, recipe, sample), wanted)
