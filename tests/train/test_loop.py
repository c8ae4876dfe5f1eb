from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from nubila.errors import ManifestError, NubilaError, RecipeError
from nubila.nn import CompactUNet
from nubila.train import fit, load_recipe
from nubila.train import loop as loop_module
from nubila.train.data import Chips, Labelled, load_split, to_network
from nubila.train.loop import learning_rate
from nubila.train.state import load_weights
from nubila.train.validate import logits_of, validate


def _fit(recipe: Path, folder: Path, *changes: str, resume: bool = True) -> list[str]:
    lines: list[str] = []
    fit(load_recipe(recipe, changes), folder, resume=resume, report=lines.append)
    return lines


def _weights(path: Path) -> dict[str, torch.Tensor]:
    return load_weights(path).state_dict()


def test_learns_what_is_bright(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    _fit(toy, run, "steps=40", "validate_every=20")
    with (run / "metrics.csv").open(newline="") as stream:
        rows = [(row["name"], float(row["value"])) for row in csv.DictReader(stream)]
    assert [value for name, value in rows if name == "cloud_iou"][-1] > 0.9
    written = {"recipe.yaml", "environment.json", "metrics.csv", "last.ckpt", "best.ckpt"}
    assert {path.name for path in run.iterdir()} == written


def test_a_broken_run_ends_with_the_same_weights(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    _fit(toy, whole)
    real_loss, calls = loop_module.partial_cross_entropy, iter(range(100))

    def loss(*arguments: torch.Tensor) -> torch.Tensor:
        if next(calls) == 4:
            raise KeyboardInterrupt
        return real_loss(*arguments)

    monkeypatch.setattr(loop_module, "partial_cross_entropy", loss)
    with pytest.raises(KeyboardInterrupt):
        _fit(toy, broken)
    lines = _fit(toy, broken)
    assert lines[0] == "going on from step 4 of 6"
    for name in ("last.ckpt", "best.ckpt"):
        one, other = _weights(whole / name), _weights(broken / name)
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert (whole / "metrics.csv").read_text() == (broken / "metrics.csv").read_text()


def test_the_seed_makes_the_weights_and_workers_do_not(toy: Path, tmp_path: Path) -> None:
    _fit(toy, tmp_path / "a", "steps=2")
    _fit(toy, tmp_path / "b", "steps=2", "workers=2")
    _fit(toy, tmp_path / "c", "steps=2", "seed=6")
    a, b, c = (_weights(tmp_path / name / "last.ckpt") for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not torch.equal(a["stem.weight"], c["stem.weight"])


def test_a_run_of_another_recipe_is_not_gone_on_with(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    _fit(toy, run, "steps=2")
    with pytest.raises(RecipeError, match="--no-resume"):
        _fit(toy, run, "steps=3")
    _fit(toy, run, "steps=3", resume=False)


def test_a_loss_that_is_no_number_stops_the_run(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        loop_module, "partial_cross_entropy", lambda logits, *_: logits.sum() * torch.nan
    )
    with pytest.raises(NubilaError, match="step 0: the loss is nan"):
        _fit(toy, tmp_path / "run")


def test_an_empty_split_is_an_error(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no row has split 'tests'"):
        _fit(toy, tmp_path / "run", "data.validation=tests")


def test_weights_of_zero_leave_nothing(toy: Path) -> None:
    recipe = load_recipe(toy, ["data.weights={places: 0}"])
    with pytest.raises(ManifestError, match="weight 0"):
        Chips(recipe, load_split(recipe, "train"), [])


def test_the_learning_rate_rises_then_falls_to_nothing(toy: Path) -> None:
    recipe = load_recipe(toy, ["steps=100", "optim.warmup=0.1", "optim.lr=1"])
    rates = [learning_rate(recipe, step) for step in range(100)]
    assert int(np.argmax(rates)) in (9, 10) and max(rates) == pytest.approx(1)
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001


def test_a_chip_depends_on_its_number_alone(toy: Path) -> None:
    recipe = load_recipe(toy)
    real = load_split(recipe, "train")
    first, second = Chips(recipe, real, []), Chips(recipe, real, [])
    wanted = first[7]
    _ = second[3]
    for one, other in zip(wanted, second[7], strict=True):
        np.testing.assert_array_equal(one, other)


def test_bands_go_to_their_place_and_narrow_infrared_serves() -> None:
    image = np.arange(4, dtype=np.float32)[:, None, None] * np.ones((4, 2, 2), np.float32)
    ordered = to_network(image, ("nir08", "red", "green", "blue"))
    np.testing.assert_array_equal(ordered[:4, 0, 0], [3, 2, 1, 0])
    assert np.isnan(ordered[4:]).all()
    with pytest.raises(ManifestError, match="band red is absent"):
        to_network(image[:2], ("blue", "green"))


def test_validation_counts_agree_with_a_plain_count() -> None:
    torch.manual_seed(0)
    network = CompactUNet((16, 16)).eval()
    random = np.random.default_rng(1)
    image = random.uniform(0, 1, (7, 21, 34)).astype(np.float16)
    label = random.choice(np.array([0, 1, 2, 6, 7, 57], np.uint8), (21, 34))
    predicted = logits_of(network, image).argmax(0).numpy()
    hit = union = 0
    for bits, code in zip(label.ravel(), predicted.ravel(), strict=True):
        if bits in (0, 7):
            continue
        truth, found = bits in (2, 6), code in (1, 2)
        hit += truth and found
        union += truth or found
    scores = validate(network, [Labelled(image, label, "x")], [])
    assert scores["cloud_iou"] == pytest.approx(hit / union)
    assert scores["cloud_iou/x"] == pytest.approx(hit / union)
