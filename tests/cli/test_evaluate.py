from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from nubila.cli import app
from nubila.errors import ManifestError, ModelError
from tests.evaluate.conftest import model_path, scenes

__all__ = ["model_path", "scenes"]  # fixtures that are used here too


def _run(*arguments: object):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_a_table_and_the_files(model_path: Path, scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ("--model", model_path, "--data", scenes, "--split", "test", "--threads", 2)
    result = _run(*given, "-o", out)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    row = next(line for line in lines if line.strip().startswith("cloud ")).split()
    assert row == ["cloud", "2/2", "44.4", "0.0..66.7", "33.3", "100.0", "44.4", "72.2"]
    assert any("(if all were cloud)" in line and "50.0" in line for line in lines)
    files = ("scores.json", "scores.csv", "samples.csv", "panels.png", "report.html")
    assert lines[-5:] == [str(out / name) for name in files]
    scores = json.loads((out / "scores.json").read_text())
    assert scores["folders"]["alps"]["scenes"] == 2


def test_values_that_no_code_names_are_told(model_path: Path, scenes: Path, tmp_path: Path) -> None:
    given = ("--model", model_path, "--data", scenes, "-o", tmp_path / "out")
    assert "warning" not in _run(*given).stdout
    scenes.write_text(scenes.read_text().replace(";3=cloud shadow,", ",", 1))
    result = _run(*given)
    assert "warning: 1 of 4 masks hold values that codes does not name" in result.stdout
    assert "3 (16.7 %) of their pixels" in result.stdout


def test_root(model_path: Path, scenes: Path, tmp_path: Path) -> None:
    moved = tmp_path / "lists" / "m.csv"
    moved.parent.mkdir()
    scenes.rename(moved)
    given = ("--model", model_path, "--data", moved, "-o", tmp_path / "out")
    assert isinstance(_run(*given).exception, ManifestError)
    assert _run(*given, "--root", tmp_path).exit_code == 0


def test_errors_come_before_anything_is_written(
    model_path: Path, scenes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    wrong_split = _run("--model", model_path, "--data", scenes, "--split", "tset", "-o", out)
    assert isinstance(wrong_split.exception, ManifestError)
    assert "did you mean 'test'" in str(wrong_split.exception)
    column = _run("--model", model_path, "--data", scenes, "--by", "contry", "-o", out)
    assert "no sample has it" in str(column.exception)
    no_model = _run("--model", tmp_path / "no.onnx", "--data", scenes, "-o", out)
    assert isinstance(no_model.exception, ModelError)
    assert not out.exists()


def test_a_missing_band_is_named(model_path: Path, scenes: Path, tmp_path: Path) -> None:
    scenes.write_text(scenes.read_text().replace("_mask.npy,red,", "_mask.npy,blue,"))
    result = _run("--model", model_path, "--data", scenes, "-o", tmp_path / "out")
    assert "needs the band red" in str(result.exception)
    assert not (tmp_path / "out" / "scores.json").exists()


def test_bands_that_are_not_shown(model_path: Path, scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ("--model", model_path, "--data", scenes, "-o", out)
    result = _run(*given, "--bands", "red,nir")
    assert result.exit_code == 0, result.output
    assert "bands red, nir" in result.stdout
    assert json.loads((out / "scores.json").read_text())["protocol"]["bands"] == ["red", "nir"]
    assert ", bands red, nir</h1>" in (out / "report.html").read_text(encoding="utf-8")
    found = _run(*given, "--bands", "nir").exception
    assert isinstance(found, ManifestError)
    assert "none of nir" in str(found)


def test_several_models(model_path: Path, scenes: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(model_path.read_bytes())
    result = _run(model_path, other, "--on", scenes, "-o", tmp_path / "out", "--buffer", "0")
    assert result.exit_code == 0, result.output
    scores = json.loads((tmp_path / "out/scores.json").read_text())
    assert list(scores["models"]) == ["tiny", "other"]
    assert scores["differences"]["other − tiny"]["cloud"]["iou_interval"] == [0, 0]
    assert scores["models"]["tiny"]["variants"] == {}
    assert "other − tiny" in result.stdout
    assert "+0.0..+0.0" in result.stdout


def test_by_column(model_path: Path, scenes: Path, tmp_path: Path) -> None:
    given = (model_path, "--on", scenes, "-o", tmp_path / "out", "--buffer", "20m")
    assert "give the column, or the buffer in pixels" in str(_run(*given).exception)
    given = (model_path, "--on", scenes, "-o", tmp_path / "out", "--by", "split")
    assert _run(*given).exit_code == 0
    scores = json.loads((tmp_path / "out/scores.json").read_text())
    assert list(scores["strata"]) == ["split"]
    assert list(scores["variants"]) == ["without boundaries (2 px)"]
    wrong = _run(*given[:-1], "spilt")
    assert "did you mean 'split'" in str(wrong.exception)


def test_neither_file_nor_collection(model_path: Path, tmp_path: Path) -> None:
    result = _run(model_path, "--on", "nowhere", "-o", tmp_path / "out")
    assert "'nowhere': no such file" in str(result.exception)
