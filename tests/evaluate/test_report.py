from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nubila import __version__
from nubila.classes import COLOURS, class_set
from nubila.datasets import read_manifest
from nubila.errors import OutputError
from nubila.evaluate import Evaluation, evaluate, write_report
from nubila.evaluate.panels import chosen_samples, draw_panels, label_picture
from nubila.evaluate.scores import SampleTally, tally
from nubila.models_io.load import Model


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_files_of_a_report(model: Model, model_path: Path, scenes: Path, tmp_path: Path) -> None:
    specs = read_manifest(scenes, split="test")
    evaluation = evaluate(model, specs)
    paths = write_report(evaluation, model, specs, tmp_path / "a/b", split="test")
    assert sorted(p.name for p in (tmp_path / "a/b").iterdir()) == [
        "panels.png",
        "samples.csv",
        "scores.csv",
        "scores.json",
    ]
    document = json.loads(paths["scores"].read_text())
    protocol = document.pop("protocol")
    assert document == evaluation.scores()
    assert protocol["model_sha256"] == hashlib.sha256(model_path.read_bytes()).hexdigest()
    assert (protocol["manifest"], protocol["split"]) == ("manifest.csv", "test")
    assert protocol["nubila"] == __version__
    assert "is left out" in protocol["rules"]["iou_scene_mean"]


def test_tables_hold_what_the_scores_hold(model: Model, scenes: Path, tmp_path: Path) -> None:
    specs = read_manifest(scenes)
    evaluation = evaluate(model, specs)
    paths = write_report(evaluation, model, specs, tmp_path / "out")
    scores = evaluation.scores()
    table = {(r["folder"], r["class"]): r for r in _rows(paths["table"])}
    assert list(table) == [
        ("overall", "cloud"),
        ("overall", "cloud shadow"),
        ("alps", "cloud"),
        ("alps", "cloud shadow"),
        ("coast", "cloud shadow"),
    ]
    row = table["alps", "cloud"]
    assert float(row["iou"]) == scores["folders"]["alps"]["cloud"]["iou"]
    assert float(row["iou_low"]) == scores["folders"]["alps"]["cloud"]["iou_interval"][0]
    assert float(row["all_cloud_iou"]) == 0.5
    assert table["coast", "cloud shadow"]["iou_low"] == ""
    samples = _rows(paths["samples"])
    assert [r["id"] for r in samples] == [s.id for s in specs]
    assert [r["cloud iou"] for r in samples] == ["0.666667", "0.666667", "0.0", ""]
    assert samples[3]["cloud shadow recall"] == "0.0"


def test_the_same_run_writes_the_same_bytes(model: Model, scenes: Path, tmp_path: Path) -> None:
    specs = read_manifest(scenes)
    for name in ("one", "two"):
        write_report(evaluate(model, specs, threads=2), model, specs, tmp_path / name)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_a_folder_that_is_a_file(model: Model, scenes: Path, tmp_path: Path) -> None:
    specs = read_manifest(scenes)
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="out"):
        write_report(evaluate(model, specs), model, specs, tmp_path / "out")


def _tally(name: str, hits: int, misses: int, *, folder: str = "f") -> SampleTally:
    label = np.full((1, hits + misses), 2, np.uint8)
    classes = np.array([[1] * hits + [0] * misses], np.uint8)
    return SampleTally(name, folder, name, tally(label, classes), (1, 2))


def test_best_median_and_worst() -> None:
    tallies = [
        _tally("a", 2, 8),
        _tally("b", 9, 1),
        _tally("other", 1, 9, folder="g"),
        _tally("c", 5, 5),
        _tally("none", 0, 0),
        _tally("d", 6, 4),
    ]
    chosen = chosen_samples(tallies, "f")
    assert [i for i, _ in chosen] == [1, 5, 0]
    assert chosen[0][1] == "f, best: cloud IoU 0.900\nb"
    assert chosen_samples(tallies, "g") == [(2, "g, the only one: cloud IoU 0.100\nother")]
    two = chosen_samples(tallies[:2], "f")
    assert [text.splitlines()[0] for _, text in two] == [
        "f, best and median: cloud IoU 0.900",
        "f, worst: cloud IoU 0.200",
    ]
    (empty,) = chosen_samples(tallies[4:5], "f")
    assert "no cloud in label and prediction" in empty[1]


def test_colours_of_a_label() -> None:
    label = np.array([[0, 1, class_set(["cloud", "thin cloud"]), 8]], np.uint8)
    assert label_picture(label)[0, 1:].tolist() == [list(COLOURS[c]) for c in (0, 1, 3)]


def test_the_panels_show_what_was_predicted(model: Model, scenes: Path) -> None:
    specs = read_manifest(scenes)
    evaluation = Evaluation(model.card, evaluate(model, specs).tallies[:1])
    page = np.asarray(draw_panels(evaluation, model, specs[:1]))
    found = {tuple(c) for c in page.reshape(-1, 3)[::7].tolist()}
    assert {COLOURS[0], COLOURS[1], COLOURS[3]} <= found
    # Rows 0 to 1 of 6 are called cloud, row 2 shadow, the rest clear: the third tile, top down.
    tile = page[34 : 34 + 144, 2 * 246 + 6 + 120]
    assert [tuple(tile[i]) for i in (10, 36, 60, 100)] == [
        COLOURS[1],
        COLOURS[1],
        COLOURS[3],
        COLOURS[0],
    ]


def test_pictures_open(model: Model, scenes: Path, tmp_path: Path) -> None:
    specs = read_manifest(scenes)
    paths = write_report(evaluate(model, specs), model, specs, tmp_path / "out")
    with Image.open(paths["panels"]) as picture:
        assert picture.mode == "RGB"
        assert picture.height == 2 * (240 + 34) + 30
