from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from nubila import __version__
from nubila.classes import COLOURS, class_set
from nubila.datasets import read_manifest
from nubila.errors import OutputError
from nubila.evaluate import Buffer, evaluate, write_report
from nubila.evaluate.gallery import scene_section
from nubila.evaluate.html import number, percent
from nubila.evaluate.panels import (
    DIFFERENCE,
    chosen_samples,
    difference_picture,
    draw_panels,
    label_picture,
    make_panels,
    score,
    shortened,
)
from nubila.evaluate.report import model_names, sample_row, scene_ious
from nubila.evaluate.tally import SCORED, UNMERGED, SampleTally, tally
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
        "report.html",
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
    assert "scenes whose label has the class" in protocol["rules"]["..._scene_mean"]


def test_tables_hold_what_the_scores_hold(model: Model, scenes: Path, tmp_path: Path) -> None:
    specs = read_manifest(scenes)
    evaluation = evaluate(model, specs)
    paths = write_report(evaluation, model, specs, tmp_path / "out")
    scores = evaluation.scores()
    rows = _rows(paths["table"])
    assert {(r["model"], r["pixels_taken"]) for r in rows} == {("tiny", "all")}
    table = {(r["value"] or r["stratum"], r["class"]): r for r in rows}
    assert list(table) == [
        ("all", "cloud"),
        ("all", "cloud shadow"),
        ("alps", "cloud"),
        ("alps", "cloud shadow"),
        ("coast", "cloud shadow"),
    ]
    row = table["alps", "cloud"]
    assert float(row["iou"]) == scores["folders"]["alps"]["cloud"]["iou"]
    assert float(row["iou_low"]) == scores["folders"]["alps"]["cloud"]["iou_interval"][0]
    assert float(row["all_cloud_iou"]) == 0.5
    assert (row["iou_scene_mean_scenes"], row["false_positive_rate_absent"]) == ("2", "")
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
    assert chosen_samples(tallies, "f") == [
        (1, "best", "cloud"),
        (5, "median", "cloud"),
        (0, "worst", "cloud"),
    ]
    assert chosen_samples(tallies, None)[2] == (2, "worst", "cloud")
    assert chosen_samples(tallies, "g") == [(2, "the only one", "cloud")]
    two = chosen_samples(tallies[:2], "f")
    assert [words for _, words, _ in two] == ["best and median", "worst"]
    assert chosen_samples(tallies[4:5], "f") == [(0, "the only one", "cloud")]
    assert score("cloud", None) == "no cloud in label and prediction"


def test_many_folders_are_ranked_together(model: Model, scenes: Path) -> None:
    specs = [replace(s, folder=f"{n}") for n, s in enumerate(read_manifest(scenes)[:3] * 3)]
    panels = make_panels([evaluate(model, specs)], [model], specs)
    assert [p.title for p in panels] == ["all, best", "all, median", "all, worst"]


def test_colours_of_a_label() -> None:
    label = np.array([[0, 1, class_set(["cloud", "thin cloud"]), 8]], np.uint8)
    assert label_picture(label)[0, 1:].tolist() == [list(COLOURS[c]) for c in (0, 1, 3)]


def test_a_difference_map() -> None:
    cloud, clear = class_set(["cloud", "thin cloud"]), class_set(["clear", "snow"])
    label = np.array([[cloud, clear, clear, cloud, 0, cloud | clear, cloud]], np.uint8)
    classes = np.array([[2, 0, 1, 0, 1, 1, 255]], np.uint8)
    names = list(DIFFERENCE)
    expected = [*names, "not counted", "not counted"]
    found = difference_picture(label, classes, SCORED["cloud"], UNMERGED)
    assert found[0].tolist() == [list(DIFFERENCE[name]) for name in expected]


def test_the_panels_show_what_was_predicted(model: Model, scenes: Path) -> None:
    specs = read_manifest(scenes)[:1]
    (panel,) = make_panels([evaluate(model, specs)], [model], specs)
    assert (panel.title, panel.id, panel.name) == ("alps, the only one", "alps/a", "cloud")
    # Rows 0 to 1 of 6 are called cloud, row 2 shadow, the rest clear; rows 0 to 2 are cloud.
    rows = panel.models[0].classes[:, 0].tolist()
    assert rows == [list(COLOURS[c]) for c in (1, 1, 3, 0, 0, 0)]
    names = list(DIFFERENCE)
    rows = panel.models[0].difference[:, 0].tolist()
    assert rows == [list(DIFFERENCE[names[n]]) for n in (0, 0, 3, 1, 1, 1)]
    page = np.asarray(draw_panels([panel], ["tiny"]))
    assert page.shape == (240 + 36 + 60, 1000, 3)
    tile = page[36 : 36 + 144, 6 + 2 * 246 + 120]
    assert [tuple(tile[i]) for i in (10, 60, 100)] == [COLOURS[1], COLOURS[3], COLOURS[0]]


class _Page(HTMLParser):
    """Checks that elements are closed, and keeps addresses and the text of table cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.cells: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [v for k, v in attrs if k in ("src", "href") and v]
        assert tag not in ("script", "link", "iframe")
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open:
            self.cells.append(data)


def test_a_page_stands_by_itself(model: Model, scenes: Path, tmp_path: Path) -> None:
    specs = read_manifest(scenes)
    evaluation = evaluate(model, specs, buffer=Buffer(1))
    paths = write_report(evaluation, model, specs, tmp_path / "out")
    text = paths["report"].read_text()
    page = _Page(text)
    assert page.addresses
    for address in page.addresses:
        head, data = address.split(";base64,")
        assert head in ("data:image/png", "data:image/jpeg")
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            picture.load()
    assert "url(" not in text and "@import" not in text
    for shown in ("44.4", "0.0 to 66.7", "without boundaries (1 px)", "coast", "clear or snow"):
        assert shown in page.cells


def test_names_from_outside_do_no_harm(model: Model, scenes: Path, tmp_path: Path) -> None:
    bad = '<script src="x">&'
    specs = [replace(s, folder=bad, id=bad, group=bad + s.group) for s in read_manifest(scenes)]
    evil = replace(model, card=model.card.model_copy(update={"name": bad}))
    pair = [evaluate(model, specs), evaluate(evil, specs)]
    paths = write_report(pair, [model, evil], specs, tmp_path / "out", split=bad)
    _Page(paths["report"].read_text())


def test_a_model_without_the_class_has_no_scenes_in_the_plot() -> None:
    shadow, clear = class_set(["cloud shadow"]), class_set(["clear"])
    label = np.array([[shadow, clear]], np.uint8)
    known = [
        SampleTally(
            str(n), "f", str(n), tally(label, np.array([[3, 0]], np.uint8)), (shadow, clear)
        )
        for n in range(3)
    ]
    merged = class_set(["clear", "cloud shadow", "snow", "water"])
    blind = [
        replace(t, table=tally(label, np.zeros_like(label)), called=(merged, 2, 4, 0, 0, 0))
        for t in known
    ]
    name, found = scene_ious({"tells": known, "merges": blind})
    assert name == "cloud shadow"
    assert [value for _, value in found["tells"]] == [1, 1, 1]
    assert found["merges"] == []
    assert "merges" in scene_section(name, found), "its colour is that of the rest of the page"
    assert sample_row("tells", known[0])["cloud shadow iou"] == 1
    assert "cloud shadow iou" not in sample_row("merges", blind[0])


def test_the_plot_of_scenes_leaves_out_those_without_the_class() -> None:
    label = np.array([[1, 1, 1, 1]], np.uint8)
    false = SampleTally("f/b", "f", "b", tally(label, np.array([[0, 0, 0, 1]], np.uint8)), (1, 2))
    _, found = scene_ious({"loud": [_tally("a", 3, 1), false]})
    assert found == {"loud": [("f/a", 0.75)]}


def test_models_that_share_a_name(model: Model, tmp_path: Path) -> None:
    other = replace(model, path="/x/better.onnx")
    assert model_names([model]) == ["tiny"]
    assert model_names([model, other]) == ["tiny", "better"]
    assert model_names([model, model]) == ["tiny", "tiny (2)"]


@pytest.mark.parametrize(
    ("value", "signed", "expected"),
    [(0.8132, False, "81.3"), (None, False, "–"), (-0.0124, True, "−1.2"), (0.01, True, "+1.0")],
)
def test_percentages(value: float | None, signed: bool, expected: str) -> None:
    assert percent(value, signed=signed) == expected


def test_counts_for_people() -> None:
    assert [number(n) for n in (12, 1628, 327_680, 10_400_000)] == [
        "12",
        "1.63 k",
        "328 k",
        "10.4 M",
    ]


@pytest.mark.parametrize("text", ["", "label", "folder/" * 30 + "patch_94"])
def test_a_caption_stays_within_its_column(text: str) -> None:
    short = shortened(text, 200)
    assert ImageFont.load_default(12).getlength(short) <= 200
    assert short == text or (short.startswith("... ") and text.endswith(short[4:]))
