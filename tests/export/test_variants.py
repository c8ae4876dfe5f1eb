"""Variants: what is in their files, and by what they are kept."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from nubila.classes import class_set
from nubila.errors import InputError
from nubila.export import ExportOptions
from nubila.export.onnx import Source
from nubila.export.options import Shape
from nubila.export.prune import finetune, prune
from nubila.export.variants import Measured, cloud_iou_of, export_variants, judge, table
from nubila.models_io import load_model
from nubila.nn import CompactUNet, Segmenter
from nubila.train.data import Labelled
from tests.export.scored import scored_export
from tests.export.test_shapes import untrained
from tests.infer.toy import write_toy
from tests.toy_run import write_toy_recipe


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("variants")
    write_toy_recipe(folder)
    run = untrained(folder, "run", {})
    scores = folder / "scores.json"
    wanted = {"fp16": True, "int8": True, "prune": 0.5, "flips": "horizontal"}
    options = ExportOptions(**wanted, finetune=2, force=True)
    lines: list[str] = []
    scored_export(run, run / "m.onnx", scores, options, lines.append)
    return run, "\n".join(lines)


def test_each_variant_is_measured_beside_the_original(exported: tuple[Path, str]) -> None:
    run, told = exported
    rows = {row["name"]: row for row in json.loads((run / "variants.json").read_text())}
    plain = load_model(run / "m.onnx").card.flops_per_pixel
    assert list(rows) == ["original", "fp16", "int8", "prune50", "flips-horizontal"]
    for name, row in rows.items():
        path = run / row["file"]
        model = load_model(path)
        assert row["megabytes"] == pytest.approx(path.stat().st_size / 1e6, abs=1e-3)
        assert row["parameters"] == model.card.parameters
        pruned = name == "prune50"
        assert (model.card.flops_per_pixel < 0.8 * plain) == pruned
        assert model.card.name == ("toy" if name == "original" else f"toy-{name}")
        assert row["megapixels_per_second"] > 0
        assert f"{row['megabytes']:.2f}" in told and name in told
        item = json.loads(path.with_suffix(".stac.json").read_text())
        assert item["properties"]["mlm:memory_size"] == path.stat().st_size


def test_no_card_has_figures_of_another_network(exported: tuple[Path, str]) -> None:
    run, _ = exported
    cards = {row["name"]: load_model(run / row["file"]).card for row in _rows(run)}
    assert cards.pop("original").scores == {"all": {"overall": {"cloud": {"iou": 0.5}}}}
    assert [card.scores for card in cards.values()] == [{}] * 4
    # Pruned weights are calibrated anew, and measured; the mean over flips is not.
    measured = {name for name, card in cards.items() if card.calibration_error is not None}
    assert measured == {"prune50"}


def _rows(run: Path) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads((run / "variants.json").read_text())
    return found


def test_half_weights_give_nearly_the_same_from_a_smaller_file(exported: tuple[Path, str]) -> None:
    run, _ = exported
    original, half = load_model(run / "m.onnx"), load_model(run / "m-fp16.onnx")
    image = np.random.default_rng(0).uniform(0, 1, (1, 7, 64, 64)).astype(np.float32)
    found, expected = half.run(image), original.run(image)
    assert 0 < np.abs(found - expected).max() < 0.01
    weights = [w for w in onnx.load(half.path).graph.initializer if np.prod(w.dims) >= 256]
    assert weights and {w.data_type for w in weights} == {onnx.TensorProto.FLOAT16}
    exact = {
        w.name: onnx.numpy_helper.to_array(w) for w in onnx.load(run / "m.onnx").graph.initializer
    }
    for tensor in weights:
        rounded = exact[tensor.name.removesuffix("_half")].astype(np.float16)
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), rounded)


def test_convolutions_are_of_eight_bits(exported: tuple[Path, str]) -> None:
    run, _ = exported
    graph = onnx.load(run / "m-int8.onnx").graph
    made_by = {output: node for node in graph.node for output in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert convolutions
    for node in convolutions:
        assert {made_by[name].op_type for name in node.input[:2]} == {"DequantizeLinear"}
    original, small = load_model(run / "m.onnx"), load_model(run / "m-int8.onnx")
    image = np.random.default_rng(0).uniform(0, 0.6, (1, 7, 64, 64)).astype(np.float32)
    image[:, 4:] = np.nan
    assert 0 < np.abs(small.run(image) - original.run(image)).max() < 0.1


ORIGINAL = Measured("original", "m.onnx", 4.0, 2.0, 0.8, 10)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"megapixels_per_second": 1.92}, ""),
        ({"megapixels_per_second": 1.0}, "2.00 times slower"),
        ({"cloud_iou": 0.796}, ""),
        ({"cloud_iou": 0.79}, "loses 0.0100 IoU, more than 0.005"),
        ({"cloud_iou": float("nan")}, "loses nan"),
        ({"cloud_iou": 0.7, "megapixels_per_second": 0.5}, "4.00 times slower, loses 0.1000"),
    ],
)
def test_slower_or_worse_is_refused_unless_forced(change: dict[str, float], why: str) -> None:
    row = replace(ORIGINAL, name="v", **change)
    found = judge(row, ORIGINAL, ExportOptions())
    assert found.kept == (not why) and why in found.why
    forced = judge(row, ORIGINAL, ExportOptions(force=True))
    assert forced.kept and why in forced.why
    assert found.why in table([ORIGINAL, found])


def test_what_is_refused_is_not_there(exported: tuple[Path, str], tmp_path: Path) -> None:
    run, _ = exported
    shutil.copyfile(run / "m.onnx", tmp_path / "m.onnx")
    (tmp_path / "m-flips-four.onnx").write_text("of an earlier export")
    options = ExportOptions(flips="four")
    source, output = Source.of(run, None, tmp_path / "m.onnx"), tmp_path / "m.onnx"
    rows = export_variants(source, Shape(), output, options, lambda _: None)
    assert "times slower" in rows[1].why and not rows[1].kept
    assert {path.name for path in tmp_path.iterdir()} == {"m.onnx", "variants.json"}


def test_channels_between_two_convolutions_go_and_the_rest_stays() -> None:
    torch.manual_seed(0)
    body = CompactUNet((16, 32), inputs=3, outputs=2)
    network = Segmenter(body, None, bands=("blue", "green", "red"), classes=("clear", "cloud"))
    network = network.eval()
    image = torch.rand(1, 3, 32, 32)
    unit = body.encoders[1]
    with torch.no_grad():  # channels that give nothing: taking them out changes nothing
        unit.first.conv.weight[1::2] = 0
        body.decoders[0].conv.weight[1::2] = 0  # which leads to the head alone
        before = network(image)
    found, removed = prune(network, 0.5)
    assert removed == 16 + 8 and found.body.encoders[1].first.conv.out_channels == 16
    torch.testing.assert_close(found(image), before)
    torch.testing.assert_close(found.folded()(image), before, atol=1e-4, rtol=1e-4)
    assert network.body.encoders[1].first.conv.out_channels == 32
    with pytest.raises(InputError, match="takes no channel out"):
        prune(network, 0.01)


def test_fine_tuning_learns() -> None:
    torch.manual_seed(0)
    body = CompactUNet((16, 32), inputs=3, outputs=2)
    network = Segmenter(body, None, bands=("blue", "green", "red"), classes=("clear", "cloud"))
    image = torch.rand(4, 3, 16, 16)
    label = (1 + (image.mean(dim=1) > 0.5)).to(torch.uint8)
    lines: list[str] = []
    finetune(network, [(image, label, None)] * 30, 30, 3e-3, lines.append)
    assert not network.training
    first, last = (float(v) for v in lines[0].split("loss ")[1].split(" -> "))
    assert last < 0.8 * first


def test_cloud_iou_leaves_out_what_the_label_cannot_tell(tmp_path: Path) -> None:
    model = load_model(write_toy(tmp_path / "toy.onnx", bands=("red", "nir"), required=1))
    random = np.random.default_rng(3)
    image = random.uniform(0, 1, (2, 40, 52)).astype(np.float16)
    image[1], image[0, :4] = np.nan, np.nan
    sets = [0, class_set(["cloud"]), class_set(["clear"]), class_set(["clear", "cloud"])]
    label = random.choice(np.array([*sets, class_set(["cloud", "thin cloud"])], np.uint8), (40, 52))
    padded = image[None].astype(np.float32)
    called = model.run(padded)[0].argmax(axis=0)
    known = (label != 0) & (label != class_set(["clear", "cloud"])) & ~np.isnan(image[0])
    truth, found = (label & 6) != 0, np.isin(called, (1, 2))
    expected = (truth & found & known).sum() / ((truth | found) & known).sum()
    assert cloud_iou_of(model, [Labelled(image, label, "x")]) == pytest.approx(expected)
