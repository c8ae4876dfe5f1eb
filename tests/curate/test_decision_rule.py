"""Kept predictions of a network that decides by kind are read by kind wherever they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nubila.classes import DecisionRule, class_set
from nubila.curate.ensemble import Members, study
from nubila.curate.predictions import Output, Predictions, PredictionWriter, open_predictions
from nubila.curate.pseudo import Sureness, sure_sets
from nubila.curate.review.session import prediction_sets
from nubila.curate.teachers import KeptDetector
from nubila.datasets import SampleSpec, load_sample, read_manifest
from nubila.detect import view_of
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
    writer = PredictionWriter(folder, OUTPUTS, decision=decision)
    writer.write(spec, np.broadcast_to(SPLIT[:, None, None], (3, SIDE, SIDE)), model="m")
    return open_predictions(folder)


@pytest.mark.parametrize(("decision", "cloudy"), [("class", False), ("kind", True)])
def test_a_folder_says_how_classes_follow(
    decision: DecisionRule, cloudy: bool, tmp_path: Path, sample: SampleSpec
) -> None:
    kept = _kept(tmp_path / "kept", sample, decision)
    assert kept.decision == decision
    detection = KeptDetector(kept).detect(view_of(load_sample(sample)))
    told = 2 if cloudy else 1  # as sets: cloud, clear
    assert np.unique(detection.classes).tolist() == [int(cloudy)]
    likeliest = sure_sets(detection, Sureness(unsure="likeliest"))
    assert np.unique(likeliest).tolist() == [told]
    seen = prediction_sets(kept.read(sample.id), kept.outputs, kept.decision)
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


def test_folders_of_before_the_choice_are_by_class(tmp_path: Path, sample: SampleSpec) -> None:
    kept = _kept(tmp_path / "kept", sample, "kind")
    about = kept.folder / "predictions.json"
    about.write_text(about.read_text().replace('  "decision": "kind",\n', ""))
    assert open_predictions(kept.folder).decision == "class"
