from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from nubila.cli import app
from nubila.errors import InputError, ModelError
from tests.evaluate.conftest import model_path, scenes

__all__ = ["model_path", "scenes"]  # fixtures that are used here too


def _run(*arguments: object):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_bands_that_are_not_shown(model_path: Path, coloured: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = (model_path, "brightness", "--data", coloured, "-o", out)
    result = _run(*given, "--bands", "red")
    assert result.exit_code == 0, result.output
    scores = json.loads((out / "scores.json").read_text())
    assert scores["protocol"]["bands"] == ["red"]
    assert "brightness" not in scores["models"], "it judged an image by bands that were hidden"
    assert ", bands red</h1>" in (out / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def coloured(scenes: Path) -> Path:
    """The scenes' manifest, its last image in three bands, so that brightness can judge it."""
    import numpy as np

    path = scenes.parent / "coast" / "d.npy"
    np.save(path, np.repeat(np.load(path)[None], 3, axis=0))
    text = scenes.read_text().replace("d_mask.npy,red,", "d_mask.npy,blue;green;red,")
    scenes.write_text(text.replace("3=cloud shadow;*=clear|cloud|thin cloud", "1=cloud;*=clear"))
    return scenes


def test_the_files(model_path: Path, coloured: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = _run(
        model_path, "brightness", "product", "--data", coloured, "-o", out, "--threads", 1,
        "--speed", "--speed-side", 64, "--peer", "brightness",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    names = ("scores.json", "scores.csv", "differences.csv", "samples.csv", "disagreement.png")
    expected = [str(out / name) for name in (*names, "speed.json", "report.html")]
    assert result.stdout.splitlines()[-7:] == expected
    scores = json.loads((out / "scores.json").read_text())
    assert list(scores["models"]) == ["tiny", "brightness", "all-clear", "all-cloud"]
    assert scores["judged"]["product"]["lacking"] == {"no mask of the product's own": 4}
    assert scores["judged"]["brightness"]["samples"] == 1
    assert str(tmp_path) not in (out / "scores.json").read_text(), "no path of this machine"
    rows = list(csv.DictReader((out / "differences.csv").open(encoding="utf-8")))
    pairs = {row["pair"] for row in rows if row["folder"] == "all"}
    assert pairs == {"brightness − tiny", "all-clear − tiny", "all-cloud − tiny"}
    assert {"iou_scene_mean", "false_positive_rate_absent"} <= {row["figure"] for row in rows}
    speed = json.loads((out / "speed.json").read_text())
    assert list(speed["detectors"]) == ["tiny", "brightness"]
    page = (out / "report.html").read_text(encoding="utf-8")
    for head in (
        *("What each could judge", "Differences by folder", "Speed and memory"),
        *("On the images that every detector judged", "Where they disagree most"),
    ):
        assert f"<h2>{head}</h2>" in page
    assert "<script" not in page
    means = scores["models"]["tiny"]["overall"]["cloud"]
    said = f"{100 * means['iou_scene_mean']:.1f} ({means['iou_scene_mean_scenes']})"
    assert f"<dt>mean of scenes</dt><dd>{said}</dd>" in page
    assert "<dt>false, scenes without</dt>" in page
    assert Image.open(out / "disagreement.png").width > 700
    assert "brightness − tiny" in result.stdout


def test_it_is_the_same_each_time(model_path: Path, coloured: Path, tmp_path: Path) -> None:
    found = []
    for threads in (1, 3):
        out = tmp_path / str(threads)
        given = (model_path, "brightness", "--data", coloured, "-o", out, "--threads", threads)
        assert _run(*given).exit_code == 0
        files = sorted(out.iterdir())
        found.append({path.name: path.read_bytes() for path in files})
    assert found[0] == found[1]
    assert "speed.json" not in found[0]


def test_errors_come_before_anything_is_written(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    unknown = _run("ukis-csmsk", "--data", scenes, "-o", out)
    assert isinstance(unknown.exception, ModelError)
    assert "did you mean 'ukis-csmask'" in str(unknown.exception)
    twice = _run("brightness", "brightness", "--data", scenes, "-o", out)
    assert isinstance(twice.exception, InputError)
    peer = _run("brightness", "--data", scenes, "-o", out, "--speed", "--peer", "ukis-csmsk")
    assert "--peer ukis-csmsk: no such detector is compared" in str(peer.exception)
    assert not out.exists()
    none = _run("brightness", "--data", scenes, "-o", out)
    assert "brightness can judge none of the 4 samples (no blue, green)" in str(none.exception)
    assert not (out / "scores.json").exists()
