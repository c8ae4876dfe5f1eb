from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from nubila.errors import InputError
from nubila.models_io import CalibrationError, load_model
from nubila.models_io.metadata import copy_with_card
from nubila.models_io.registry import WEIGHTS

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


@pytest.fixture(scope="module")
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("ship")


def _scores(path: Path, *names: str, of: Path | None = None) -> Path:
    figures = {"iou": 0.5, "iou_interval": [0.4, 0.6], "dice": 0.7}
    part = {"scenes": 3, "all_cloud_iou": 0.2, "all_clear_accuracy": 0.8, "cloud": figures}
    bins = [{"pixels": 9, "frequency": 0.0}, {"pixels": 1, "frequency": 0.5}]
    reliability = {
        "cloud": {"ece": 0.03, "bins": bins},
        "water": {"ece": 0.001, "bins": bins[:1]},  # no label has it
        "snow": {"ece": None, "bins": []},
    }
    one = {"overall": part, "folders": {"a": part}, "strata": {}, "calibration": reliability}
    sha256 = hashlib.sha256((of or WEIGHTS / "small-int8.onnx").read_bytes()).hexdigest()
    detectors = {name: {"version": "1", "sha256": sha256} for name in names}
    protocol = {"split": "validation", "detectors": detectors}
    path.write_text(json.dumps({"models": dict.fromkeys(names, one), "protocol": protocol}))
    return path


def test_a_shipped_model_gives_the_same_and_carries_its_scores(
    script: ModuleType, tmp_path: Path
) -> None:
    source = WEIGHTS / "small-int8.onnx"
    (target,) = script.ship([source], _scores(tmp_path / "scores.json", "small-int8"), tmp_path)
    assert target == tmp_path / "small-int8.onnx"
    before, after = load_model(source), load_model(target)
    part = {"scenes": 3, "all_cloud_iou": 0.2, "cloud": {"iou": 0.5, "iou_interval": [0.4, 0.6]}}
    assert after.card.scores == {"validation": {"overall": part, "a": part}}
    assert after.card.model_copy(update={"scores": before.card.scores}) == before.card
    image = np.random.default_rng(2).uniform(0, 1, (1, 7, 64, 64)).astype(np.float32)
    assert np.array_equal(before.run(image), after.run(image))
    item = json.loads(target.with_suffix(".stac.json").read_text())
    shipped = json.loads(source.with_suffix(".stac.json").read_text())
    assert item["properties"]["mlm:memory_size"] == target.stat().st_size
    assert item["properties"]["datetime"] == shipped["properties"]["datetime"]


def test_a_calibration_that_was_not_measured_is_that_of_the_scores(
    script: ModuleType, tmp_path: Path
) -> None:
    shipped = WEIGHTS / "small-int8.onnx"
    card = load_model(shipped).card.model_copy(update={"calibration_error": None})
    source = tmp_path / "source" / "bare.onnx"
    source.parent.mkdir()
    copy_with_card(shipped, source, card)
    shutil.copy(shipped.with_suffix(".stac.json"), source.with_suffix(".stac.json"))
    scores = _scores(tmp_path / "scores.json", "small-int8", of=source)
    (target,) = script.ship([source], scores, tmp_path)
    expected = CalibrationError(split="validation", ece={"cloud": 0.03})
    assert load_model(target).card.calibration_error == expected


def test_scores_of_another_model_are_not_taken(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has scores of other; none of small-int8"):
        script.ship([WEIGHTS / "small-int8.onnx"], _scores(tmp_path / "s.json", "other"), tmp_path)
    assert not list(tmp_path.glob("*.onnx"))


def test_scores_of_an_earlier_file_of_the_name_are_not_taken(
    script: ModuleType, tmp_path: Path
) -> None:
    stale = _scores(tmp_path / "s.json", "small-int8", of=WEIGHTS / "small.onnx")
    with pytest.raises(InputError, match=r"scores of small-int8 are of another file"):
        script.ship([WEIGHTS / "small-int8.onnx"], stale, tmp_path)
    assert not list(tmp_path.glob("*.onnx"))


def test_all_ship_or_none(script: ModuleType, tmp_path: Path) -> None:
    good, bad = WEIGHTS / "small-int8.onnx", WEIGHTS / "small.onnx"
    scores = _scores(tmp_path / "s.json", "small-int8", "small")  # of small-int8's file alone
    with pytest.raises(InputError, match=r"scores of small are of another file"):
        script.ship([good, bad], scores, tmp_path)
    assert not list(tmp_path.glob("*.onnx"))


def test_a_worse_model_replaces_a_better_one_only_if_told_to(
    script: ModuleType, tmp_path: Path
) -> None:
    source, there = WEIGHTS / "small-int8.onnx", tmp_path / "small-int8.onnx"
    better = shutil.copy(source, there).read_bytes()  # 81.7 %, what comes has 50
    scores = _scores(tmp_path / "s.json", "small-int8")
    with pytest.raises(InputError, match=r"small-int8.onnx: version .* have 0.500; .*--worse"):
        script.ship([source], scores, tmp_path)
    assert there.read_bytes() == better
    script.ship([source], scores, tmp_path, worse=True)
    script.ship([source], scores, tmp_path)  # as good as what is there now
    assert load_model(there).card.scores["validation"]["overall"]["cloud"]["iou"] == 0.5


@pytest.mark.parametrize(
    "item",
    [
        None,
        "no JSON",
        "[]",
        '{"properties": {"datetime": "2026-01-01T00:00:00Z"}}',
        '{"properties": {"datetime": "yesterday", "mlm:architecture": "compact"}}',
    ],
)
def test_without_an_item_that_can_be_read_what_has_shipped_stays(
    script: ModuleType, tmp_path: Path, item: str | None
) -> None:
    source = tmp_path / "run/small-int8.onnx"
    source.parent.mkdir()
    shutil.copy(WEIGHTS / source.name, source)
    beside = source.with_suffix(".stac.json")
    if item is not None:
        beside.write_text(item)
    (tmp_path / source.name).write_bytes(b"before")
    with pytest.raises(InputError, match="expected the STAC item") as raised:
        script.ship([source], _scores(tmp_path / "s.json", "small-int8"), tmp_path)
    assert str(raised.value).startswith(f"{beside}: ")
    assert (tmp_path / source.name).read_bytes() == b"before"


@pytest.mark.parametrize("arguments", [[], ["scores.json"]])
def test_the_command_line_says_what_it_needs(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["ship.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 2
    assert "required: " in (told := capsys.readouterr().err) and "models" in told
