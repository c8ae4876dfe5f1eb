from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml

from nubila.classes import CLASS_NAMES, SCORED, class_set
from nubila.errors import InputError, ManifestError, NubilaError, RecipeError
from nubila.export import export_onnx
from nubila.export import onnx as onnx_module
from nubila.export.calibrate import Calibration, _golden_section, fit_calibration
from nubila.models_io import load_model
from nubila.nn import CompactUNet, Segmenter
from nubila.train import fit, load_recipe
from nubila.train.data import Labelled, load_split
from nubila.train.folder import write_recipe
from nubila.train.state import load_weights
from tests.export.scored import scored_export, write_scores
from tests.toy_run import write_toy_recipe


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    fit(load_recipe(write_toy_recipe(folder)), folder / "run", report=lambda _: None)
    return folder / "run"


@pytest.fixture(scope="module")
def model_file(run: Path) -> Path:
    scores = run / "scores.json"
    return scored_export(run, run / "toy.onnx", scores)


def test_the_file_gives_what_pytorch_gives_at_any_size(run: Path, model_file: Path) -> None:
    model = load_model(model_file)
    network = load_weights(run / "best.ckpt")
    recipe = load_recipe(run / "recipe.yaml")
    biases = (0.0, 0.0, 0.0, 0.0, -0.5, 0.0)  # as in the toy recipe
    fitted = fit_calibration(
        network, recipe.classes, load_split(recipe, recipe.data.validation), biases
    )
    assert f"temperature {fitted.temperature:.4f}" in model.card.calibration
    random = np.random.default_rng(0)
    for shape in ((1, 7, 4, 4), (3, 7, 20, 52), (2, 7, 64, 8)):
        image = random.uniform(0, 1.2, shape).astype(np.float32)
        image[:, 3:][:, :, : shape[2] // 2] = np.nan
        with torch.inference_mode():
            logits = network(torch.from_numpy(image))
            expected = torch.stack([fitted.apply(x) for x in logits]).softmax(1).numpy()
        found = model.run(image)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_the_card_says_what_the_model_is(run: Path, model_file: Path) -> None:
    card = load_model(model_file).card
    assert card.name == "toy" and card.summary == "A toy."
    assert card.required_bands == ("blue", "green", "red")
    assert [b.name for b in card.bands][3:] == ["nir", "swir16", "swir22", "cirrus"]
    told = {band.name: band.without for band in card.bands if band.without}
    assert told == {"swir16": "snow is cloud"}, "named by an alias in the recipe"
    assert card.stride == 4 and card.halo >= card.receptive_field
    assert card.parameters == sum(
        p.numel() for p in CompactUNet((16, 16), inputs=7, outputs=6).parameters()
    )
    assert [(s.name, s.licence, s.images) for s in card.training] == [("places", "CC0-1.0", 2)]
    assert card.measured == ("cloud",)
    error = card.calibration_error
    assert error.split == load_recipe(run / "recipe.yaml").data.validation
    assert set(error.ece) == set(error.before) == {"cloud", "thick cloud"}
    assert 0 <= error.ece["cloud"] <= 1
    assert card.scores == {"all": {"overall": {"cloud": {"iou": 0.5}}}}
    assert str(run.parent) not in card.model_dump_json()


def test_no_batch_norm_and_no_file_name_of_this_machine_is_left(model_file: Path) -> None:
    graph = onnx.load(model_file).graph
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
    assert str(Path(__file__).parents[2]).encode() not in model_file.read_bytes()


def test_the_same_run_gives_the_same_bytes(run: Path, model_file: Path) -> None:
    again = scored_export(run, run / "b.onnx", run / "b.json")
    one, other = (hashlib.sha256(p.read_bytes()).hexdigest() for p in (model_file, again))
    assert one == other


def test_scores_may_be_put_on_a_card_again(run: Path, model_file: Path) -> None:
    before = model_file.read_bytes()
    export_onnx(run, model_file, scores=run / "scores.json", report=lambda _: None)
    assert model_file.read_bytes() == before


def test_scores_of_another_network_are_not_put_on_a_card(run: Path, tmp_path: Path) -> None:
    def export(scores: Path | None, report: Callable[[str], None] = lambda _: None) -> Path:
        return export_onnx(run, tmp_path / "x.onnx", scores=scores, report=report)

    scores = write_scores(tmp_path / "scores.json", "0" * 64)
    with pytest.raises(InputError, match="export without them first"):
        export(scores)
    other = export(None).read_bytes()
    with pytest.raises(InputError, match="are of another file"):
        export(scores)
    # Of the file that is there, but that is another network than the run's.
    swapped = other.replace(b"\x00\x00\x80\x3f", b"\x00\x00\x00\x40", 1)
    assert swapped != other
    (tmp_path / "x.onnx").write_bytes(swapped)
    write_scores(scores, hashlib.sha256(swapped).hexdigest())
    lines: list[str] = []
    with pytest.raises(NubilaError, match="gives another network now"):
        export(scores, lines.append)
    assert not any("instead" in line for line in lines), "no other size of input is tried"
    assert (tmp_path / "x.onnx").read_bytes() == swapped


def test_scores_of_another_decision_are_not_put_on_a_card(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    model = export_onnx(copy, tmp_path / "x.onnx", report=lambda _: None)
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    scores = write_scores(tmp_path / "scores.json", digest)
    recipe = load_recipe(copy / "recipe.yaml", ["export.decision=kind"])
    write_recipe(recipe, copy)
    with pytest.raises(NubilaError, match="gives another network now"):
        export_onnx(copy, model, scores=scores, report=lambda _: None)
    export_onnx(copy, model, report=lambda _: None)
    item = json.loads(model.with_suffix(".stac.json").read_text())
    (told,) = item["properties"]["mlm:output"]
    assert load_model(model).card.decision == "kind"
    assert "license" not in item["properties"], "the recipe claims none"
    assert told["description"].startswith("Decide first between ground")


def test_the_stac_item_agrees_with_the_card(model_file: Path) -> None:
    item = json.loads(model_file.with_suffix(".stac.json").read_text())
    card = load_model(model_file).card
    properties = item["properties"]
    (entry,) = properties["mlm:input"]
    assert [b["name"] for b in entry["bands"]] == [b.name for b in card.bands]
    (entry,) = properties["mlm:output"]
    assert [c["value"] for c in entry["classification:classes"]] == list(card.class_codes)
    assert properties["mlm:total_parameters"] == card.parameters
    assert item["assets"]["model"]["href"] == "./toy.onnx"


def test_a_file_that_differs_is_not_written(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folded = CompactUNet.folded
    monkeypatch.setattr(CompactUNet, "folded", lambda self, t, b: folded(self, t * 1.1, b))
    with pytest.raises(NubilaError, match="differ from PyTorch"):
        export_onnx(run, run / "wrong.onnx", report=lambda _: None)
    assert not list(run.glob("*wrong*"))


@pytest.mark.usefixtures("model_file")
def test_what_is_not_there_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(NubilaError, match=r"recipe\.yaml"):
        export_onnx(tmp_path, tmp_path / "x.onnx", report=lambda _: None)
    with pytest.raises(InputError, match="nubila evaluate writes one"):
        export_onnx(run, run / "toy.onnx", scores=tmp_path / "none.json", report=lambda _: None)
    (tmp_path / "recipe.yaml").write_bytes((run / "recipe.yaml").read_bytes())
    with pytest.raises(NubilaError, match="no such checkpoint"):
        export_onnx(tmp_path, tmp_path / "x.onnx", report=lambda _: None)
    (tmp_path / "best.ckpt").write_bytes(b"PK no checkpoint")
    with pytest.raises(NubilaError, match="not a checkpoint"):
        export_onnx(tmp_path, tmp_path / "x.onnx", report=lambda _: None)


def test_a_run_whose_labels_were_remade_is_not_exported(run: Path, tmp_path: Path) -> None:
    manifest = (run.parent / "toy.csv").read_text(encoding="utf-8")
    remade = manifest.replace("1=cloud,train", "1=thin cloud,train")
    (tmp_path / "toy.csv").write_text(remade, encoding="utf-8")
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    recipe["data"]["manifest"] = str(tmp_path / "toy.csv")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    for name in ("best.ckpt", "data.json"):
        shutil.copyfile(run / name, tmp_path / name)
    with pytest.raises(RecipeError, match=r"data\.json tells of other samples .*\(to train\)"):
        export_onnx(tmp_path, tmp_path / "x.onnx", report=lambda _: None)
    assert not (tmp_path / "x.onnx").exists()


class _Fixed(CompactUNet):
    """Gives the first bands as logits, so that the right temperature is known."""

    def forward(self, reflectance: torch.Tensor) -> torch.Tensor:
        return reflectance[:, :6]


def test_calibration_undoes_overconfidence_and_a_shifted_mixture() -> None:
    random = np.random.default_rng(0)
    true_logits = random.normal(0, 1.5, (7, 256, 256)).astype(np.float32)
    # The largest of logit + Gumbel is a draw from the softmax.
    noise = random.gumbel(size=(6, 256, 256))
    label = (1 << (true_logits[:6] + noise).argmax(0)).astype(np.uint8)
    seen = true_logits * 2.5
    seen[4] += 2.5 * 1.2  # the network takes snow for e^1.2 times as likely as it is
    sample = Labelled(seen.astype(np.float16), label, "x")
    classes = {name: (name,) for name in CLASS_NAMES.values()}
    network = Segmenter(_Fixed((16, 16)), None, bands=list("abcdefg"), classes=tuple(classes))
    fitted = fit_calibration(network.eval(), classes, [sample], (0, 0, 0, 0, -1.2, 0))
    assert fitted.temperature == pytest.approx(2.5, rel=0.1)
    assert fitted.after < fitted.before
    assert set(fitted.ece_after) == set(fitted.ece_before) == set(SCORED)
    for name, error in fitted.ece_after.items():
        assert error < 0.02 < fitted.ece_before[name]


def test_a_temperature_at_the_end_of_the_range_is_told() -> None:
    random = np.random.default_rng(0)
    label = (1 << random.integers(0, 6, (64, 64))).astype(np.uint8)
    noise = random.normal(0, 5, (7, 64, 64)).astype(np.float16)  # it knows nothing, and is sure
    classes = {name: (name,) for name in CLASS_NAMES.values()}
    network = Segmenter(_Fixed((16, 16)), None, bands=list("abcdefg"), classes=tuple(classes))
    known = fit_calibration(network.eval(), classes, [Labelled(noise, label, "x")], (0,) * 6)
    assert known.at_end and known.temperature == pytest.approx(4, rel=2e-3)
    told = onnx_module._describe(known, tuple(classes))
    assert "at the end of the range searched" in told
    within = Calibration(2.5, (0,) * 6)
    assert not within.at_end and "range" not in onnx_module._describe(within, tuple(classes))


def test_calibration_takes_points_that_the_sparse_grid_misses() -> None:
    logits = np.random.default_rng(2).normal(0, 2, (7, 32, 32)).astype(np.float16)
    label = np.zeros((32, 32), np.uint8)
    label[1::4, 1::4] = class_set(["cloud"])
    classes = {name: (name,) for name in CLASS_NAMES.values()}
    network = Segmenter(_Fixed((16, 16)), None, bands=list("abcdefg"), classes=tuple(classes))
    fitted = fit_calibration(network.eval(), classes, [Labelled(logits, label, "x")], (0,) * 6)
    assert fitted.before > 0


def test_nothing_is_calibrated_on_a_split_without_labels(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run.parent, tmp_path / "toy")
    copy, table = tmp_path / "toy/run", tmp_path / "toy/toy.csv"
    rows = table.read_text(encoding="utf-8").replace(
        "0=clear|water;1=cloud,validation", "7=cloud,validation"
    )
    table.write_text(rows, encoding="utf-8")
    recipe = yaml.safe_load((copy / "recipe.yaml").read_text(encoding="utf-8"))
    recipe["data"] |= {"manifest": str(table), "root": str(table.parent)}
    (copy / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    (copy / "data.json").unlink()  # an older run does not tell
    with pytest.raises(ManifestError, match="no pixel of split 'validation' has data and a label"):
        export_onnx(copy, tmp_path / "toy.onnx", report=lambda _: None)
    assert not (tmp_path / "toy.onnx").exists()


def test_calibration_errors_are_those_of_scoring() -> None:
    random = np.random.default_rng(1)
    logits = random.normal(0, 2, (7, 64, 64)).astype(np.float16)
    clear, cloud = class_set(["clear", "snow", "water"]), class_set(["cloud", "thin cloud"])
    shadow = class_set(["cloud shadow"])
    drawn = np.where(random.random((64, 64)) < 0.1, shadow, clear).astype(np.uint8)
    # Overcast, of a source that has no shadow: it says nothing of shadow.
    overcast = np.full((64, 64), cloud, np.uint8)
    samples = [
        Labelled(logits, drawn, "x", sets=(clear, cloud, shadow)),
        Labelled(logits, overcast, "x", sets=(clear | shadow, cloud)),
    ]
    classes = {name: (name,) for name in CLASS_NAMES.values()}
    network = Segmenter(_Fixed((16, 16)), None, bands=list("abcdefg"), classes=tuple(classes))
    both = fit_calibration(network.eval(), classes, samples, (0,) * 6).ece_before
    first = fit_calibration(network.eval(), classes, samples[:1], (0,) * 6).ece_before
    assert both["cloud shadow"] == first["cloud shadow"]
    assert both.keys() - first.keys() == {"cloud"}  # which both tell, and only the second has


def test_golden_section_finds_a_minimum() -> None:
    assert _golden_section(lambda x: (x - 0.3) ** 2, -2, 2) == pytest.approx(0.3, abs=1e-3)
    assert _golden_section(math.exp, -1, 1) == pytest.approx(-1, abs=1e-3)
    assert onnx_module.__all__ == sorted(onnx_module.__all__)


def test_a_file_that_was_held_to_nothing_is_not_written(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nubila.export.parity.feeds", lambda *_, **__: iter(()))
    with pytest.raises(NubilaError, match="differ from PyTorch's by nan"):
        export_onnx(run, run / "none.onnx", report=lambda _: None)
    assert not (run / "none.onnx").exists()
