"""Kept predictions of a network that decides by kind are read by kind wherever they are read."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from nubila.classes import CLASS_NAMES, DecisionRule, class_set
from nubila.curate.ensemble import Members, study
from nubila.curate.network import network_version
from nubila.curate.predict import keep_predictions
from nubila.curate.predictions import Output, Predictions, PredictionWriter, open_predictions
from nubila.curate.pseudo import Sureness, sure_sets
from nubila.curate.review.session import prediction_sets
from nubila.curate.teachers import KeptDetector
from nubila.datasets import SampleSpec, load_sample, read_manifest
from nubila.detect import Detection, View, view_of
from nubila.detect import Output as ViewOutput
from tests.curate.samples import write_samples

OUTPUTS = [Output(name, class_set([name])) for name in ("clear", "cloud", "thin cloud")]
# Clear is the most probable class, cloud of either thickness the most probable kind.
SPLIT = np.array([0.4, 0.35, 0.25], np.float32)
SIDE = 6


@pytest.fixture
def sample(tmp_path: Path) -> SampleSpec:
    """An image that is all cloud."""
    data = write_samples(
        tmp_path / "data", [np.full((4, SIDE, SIDE), 0.3)], [np.ones((SIDE, SIDE), np.uint8)]
    )
    return read_manifest(data)[0]


def _kept(folder: Path, spec: SampleSpec, decision: DecisionRule) -> Predictions:
    writer = PredictionWriter(folder, OUTPUTS)
    shares = np.broadcast_to(SPLIT[:, None, None], (3, SIDE, SIDE))
    writer.write(spec, shares, model="m", decision=decision)
    return open_predictions(folder)


@pytest.mark.parametrize(("decision", "cloudy"), [("class", False), ("kind", True)])
def test_a_prediction_says_how_classes_follow(
    decision: DecisionRule, cloudy: bool, tmp_path: Path, sample: SampleSpec
) -> None:
    kept = _kept(tmp_path / "kept", sample, decision)
    assert kept[sample.id].decision == kept.decision == decision
    detection = KeptDetector(kept).detect(view_of(load_sample(sample)))
    told = 2 if cloudy else 1  # as sets: cloud, clear
    assert np.unique(detection.classes).tolist() == [int(cloudy)]
    likeliest = sure_sets(detection, Sureness(unsure="likeliest"))
    assert np.unique(likeliest).tolist() == [told]
    seen = prediction_sets(kept.read(sample.id), kept.outputs, kept[sample.id].decision)
    assert np.unique(seen).tolist() == [told]


@pytest.mark.parametrize(("decision", "iou"), [("class", 0.0), ("kind", 1.0)])
def test_an_ensemble_decides_by_kind_if_a_member_does(
    decision: DecisionRule, iou: float, tmp_path: Path, sample: SampleSpec
) -> None:
    kept = {
        "one": _kept(tmp_path / "one", sample, "class"),
        "other": _kept(tmp_path / "other", sample, decision),
    }
    found = study(Members.of(kept), [sample], "mean")
    assert found.lines[-1].ious["cloud"] == iou


def test_another_model_has_no_say_in_how_earlier_predictions_are_decided(
    tmp_path: Path, sample: SampleSpec
) -> None:
    kept = _kept(tmp_path / "kept", sample, "class")
    before = (kept.folder / "predictions.json").read_bytes()
    other = replace(sample, id="other")
    shares = np.broadcast_to(SPLIT[:, None, None], (3, SIDE, SIDE))
    writer = PredictionWriter(kept.folder, OUTPUTS)
    assert (kept.folder / "predictions.json").read_bytes() == before
    writer.write(other, shares, model="b", decision="kind")
    both = open_predictions(kept.folder)
    assert {name: row.decision for name, row in both.items()} == {
        sample.id: "class",
        "other": "kind",
    }
    detection = KeptDetector(both).detect(view_of(load_sample(sample)))
    assert (detection.classes == 0).all()
    members = Members.of({"one": both, "same": both})
    assert (members.decision(sample.id), members.decision("other")) == ("class", "kind")


def test_a_network_that_decides_by_kind_is_kept_so(tmp_path: Path, sample: SampleSpec) -> None:
    kept = keep_predictions(_Kind(), [sample], tmp_path / "kept", report=print)
    assert kept[sample.id].decision == "kind"


def test_a_network_that_comes_to_decide_otherwise_is_another(tmp_path: Path) -> None:
    checkpoint = tmp_path / "best.ckpt"
    checkpoint.write_bytes(b"weights")
    by_class, by_kind = (network_version("a", checkpoint, rule) for rule in ("class", "kind"))
    assert by_class != by_kind


@dataclass(frozen=True)
class _Kind:
    """Says the same of every pixel, and goes by kind."""

    name: str = "kind"
    outputs: tuple[ViewOutput, ...] = tuple(
        ViewOutput(code, (CLASS_NAMES[code],)) for code in (0, 1, 2)
    )

    def lacks(self, _view: View) -> str:
        return ""

    def detect(self, view: View) -> Detection:
        shares = np.broadcast_to(SPLIT[:, None, None], (3, *view.image.shape[1:]))
        return Detection(shares, self.outputs, decision="kind")


def _of_format_2(kept: Predictions, decision: str) -> None:
    """Bring a folder to what it was when it had one decision for all."""
    about = kept.folder / "predictions.json"
    content = json.loads(about.read_text()) | {"format": 2, "made_by": {}}
    about.write_text(json.dumps(content | ({"decision": decision} if decision else {})))
    table = kept.folder / "predictions.csv"
    cells = [line.split(",") for line in table.read_text().splitlines()]
    table.write_text("".join(",".join([*row[:6], row[7]]) + "\n" for row in cells))


@pytest.mark.parametrize(
    ("told", "decision"), [("kind", "kind"), ("class", "class"), ("", "class")]
)
def test_folders_of_one_decision_for_all_keep_it_and_get_a_column(
    told: str, decision: str, tmp_path: Path, sample: SampleSpec
) -> None:
    kept = _kept(tmp_path / "kept", sample, "class")
    _of_format_2(kept, told)
    assert open_predictions(kept.folder)[sample.id].decision == decision
    PredictionWriter(kept.folder, OUTPUTS)
    assert "decision" not in json.loads((kept.folder / "predictions.json").read_text())
    assert open_predictions(kept.folder)[sample.id].decision == decision
