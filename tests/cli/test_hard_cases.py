"""`nubila hard-cases`, with few of the built-in scenes, made small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nubila.cli import app
from nubila.cli.hard_cases import _table
from nubila.errors import ModelError
from nubila.evaluate.hard import synthetic


def test_rules_are_judged_on_each_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    few = [s for s in synthetic._SCENES if s.case in ("city", "overcast")][::3]
    monkeypatch.setattr(synthetic, "_SCENES", few)
    monkeypatch.setattr(synthetic.synthetic_images, "__defaults__", (32,))
    done = CliRunner().invoke(app, ["hard-cases", "all-clear", "all-cloud", "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "hard_cases.json").read_text())["cases"]
    known = {row["case"]: row for row in rows if row["detector"] == "all-cloud"}
    assert known["city"]["false_cloud"] == 1
    assert known["overcast"]["missed_cloud"] == 0
    clear = {row["case"]: row for row in rows if row["detector"] == "all-clear"}
    assert clear["city"]["false_cloud"] == 0
    assert clear["overcast"]["missed_cloud"] == 1
    assert "report.html" in done.output


def test_each_detector_has_its_own_number_of_images():
    shares = {"source": "real", "false_cloud": 0.1, "missed_cloud": None, "shadow_iou": None}
    rows = [
        {"case": "ice", "detector": "ours", "images": 5} | shares,
        {"case": "ice", "detector": "peer", "images": 2} | shares,
        {"case": "city", "detector": "ours", "images": 3} | shares,
        {"case": "fog", "detector": "ours", "images": 4} | shares,
        {"case": "fog", "detector": "peer", "images": 4} | shares,
    ]
    table = _table(rows, ["ours", "peer"])
    assert list(table.columns[1].cells) == ["5 / 2", "3 / 0", "4"]


def test_shadow_of_the_detectors_that_tell_it_where_a_label_has_it():
    shares = {"source": "real", "images": 1, "false_cloud": 0.1, "missed_cloud": 0.2}
    rows = [
        {"case": "ice", "detector": "ours", "shadow_iou": None} | shares,
        {"case": "ice", "detector": "rule", "shadow_iou": None} | shares,
        {"case": "cumulus", "detector": "ours", "shadow_iou": 0.4567} | shares,
        {"case": "cumulus", "detector": "rule", "shadow_iou": None} | shares,
    ]
    columns = _table(rows, ["ours", "rule"]).columns
    heads = [" ".join(str(column.header).split()) for column in columns]
    assert heads == ["case", "images", "ours false", "missed", "shadow", "rule false", "missed"]
    assert list(columns[4].cells) == ["-", "45.7"]


def test_an_unknown_detector_is_refused_before_anything_is_made(tmp_path: Path):
    done = CliRunner().invoke(app, ["hard-cases", "brightnes", "-o", str(tmp_path / "out")])
    assert isinstance(done.exception, ModelError)
    assert not (tmp_path / "out").exists()
