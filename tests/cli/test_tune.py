from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from nubila.cli import app
from nubila.errors import InputError, ManifestError, MissingExtraError
from nubila.models_io import load_model
from tests.evaluate.conftest import model_path
from tests.evaluate.tuning import write_scenes

__all__ = ["model_path"]  # a fixture that is used here too


def _run(*arguments: object):
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [*map(str, arguments)])


@pytest.fixture(scope="module")
def tuned(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with points, its STAC item beside it, and what was printed."""
    folder = tmp_path_factory.mktemp("tune")
    source = folder / "plain.onnx"
    source.write_bytes(model_path.read_bytes())
    item = {
        "id": "nubila-tiny-1",
        "properties": {"mlm:memory_size": 1},
        "assets": {"model": {"href": "./plain.onnx"}},
    }
    source.with_suffix(".stac.json").write_text(json.dumps(item))
    target = folder / "made" / "tuned.onnx"
    given = ("--data", write_scenes(folder, split="validation"), "--trials", 16, "-o", target)
    result = _run("tune", source, *given)
    assert result.exit_code == 0, result.output
    (folder / "printed.txt").write_text(result.output)
    return target


def test_files_and_table(tuned: Path) -> None:
    text = (tuned.parents[1] / "printed.txt").read_text()
    for line in ("most probable class", "conservative: cloud 0.", "warning: thresholds and"):
        assert line in text
    for end in (".onnx", ".tuning.csv", ".tuning.json", ".stac.json"):
        assert str(tuned.with_suffix(end)) in text
    item = json.loads(tuned.with_suffix(".stac.json").read_text())
    assert item["properties"]["mlm:memory_size"] == tuned.stat().st_size
    assert item["assets"]["model"]["href"] == "./tuned.onnx"
    assert item["id"] == "nubila-tiny-1"


def test_the_card_is_shown(tuned: Path) -> None:
    text = _run("models", "show", tuned).output
    assert "balanced:     cloud from " in text
    assert "tuned on the split validation of manifest.csv (6 scenes)" in text
    assert "expected calibration error in percent, on the split validation: cloud " in text
    card = json.loads(_run("models", "show", tuned, "--json").output)["card"]
    assert set(card["operating_points"]) == {"conservative", "balanced", "permissive"}


def test_evaluate_at_a_point(tuned: Path, tmp_path: Path) -> None:
    manifest = tuned.parents[1] / "manifest.csv"
    given = ("evaluate", tuned, "--data", manifest, "-o", tmp_path / "out")
    assert _run(*given, "--operating-point", "balanced").exit_code == 0
    scores = json.loads((tmp_path / "out/scores.json").read_text())
    assert scores["protocol"]["operating_point"] == "balanced"
    found = json.loads(tuned.with_suffix(".tuning.json").read_text())["points"]["balanced"]
    assert scores["overall"]["cloud"]["iou"] == found["scores"]["cloud"]["iou"]
    assert scores["overall"]["cloud"]["iou"] > found["goal"]["plain"]
    wrong = _run(*given, "--operating-point", "balance")
    assert "did you mean 'balanced'" in str(wrong.exception)


def test_mask_at_a_point(tuned: Path, tmp_path: Path) -> None:
    with rasterio.open(
        tmp_path / "image.tif", "w", driver="GTiff", count=1, dtype="float32", height=8, width=8
    ) as data:
        data.write(np.full((1, 8, 8), 0.49, np.float32))
    given = ("mask", tmp_path / "image.tif", "-m", tuned, "--bands", "red", "--no-picture")
    covers = {}
    for name, more in {
        "plain": (),
        "point": ("--operating-point", "conservative"),
        "beside": ("--operating-point", "conservative", "--threshold", "cloud=0.9"),
    }.items():
        result = _run(*given, "-o", tmp_path / name, "--scale", 1, "--json", *more)
        assert result.exit_code == 0, result.output
        covers[name] = json.loads(result.stdout)["cover"]["cloud"]
    point = load_model(tuned).card.operating_points["conservative"]
    assert point.thresholds["cloud"] < 0.27  # what the tiny model gives here
    assert covers == {"plain": 0, "point": 100, "beside": 0}


def test_test_splits_and_wrong_splits_are_refused(tuned: Path, tmp_path: Path) -> None:
    given = ("tune", tuned, "--data", tuned.parents[1] / "manifest.csv", "-o", tmp_path / "x.onnx")
    refused = _run(*given, "--split", "test").exception
    assert isinstance(refused, InputError) and "never tuned on a test split" in str(refused)
    assert isinstance(_run(*given, "--split", "validatoin").exception, ManifestError)
    assert not (tmp_path / "x.onnx").exists()


def test_a_missing_extra_is_told_before_the_model_runs(
    tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.setattr("nubila.evaluate.tune.Bench", None)
    given = ("tune", tuned, "--data", tuned.parents[1] / "manifest.csv")
    assert isinstance(_run(*given, "-o", tmp_path / "x.onnx").exception, MissingExtraError)
