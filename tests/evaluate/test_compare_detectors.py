from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from nubila.classes import class_set
from nubila.datasets import read_manifest
from nubila.detect import Detection, Output, View, as_detection, flipped
from nubila.errors import InputError, ModelError
from nubila.evaluate import Buffer, compare, evaluate_together
from nubila.evaluate.compare_detectors import compare_detectors, open_detectors
from nubila.evaluate.compare_panels import disputed_samples, draw_disputed, make_disputed
from nubila.evaluate.compare_report import write_comparison
from nubila.models_io import load_model
from tests.evaluate.conftest import write_model

CLEAR = Output(0, ("clear", "snow", "water"))
CLOUD = Output(1, ("cloud", "thin cloud"))


@dataclass(frozen=True)
class Threshold:
    """Calls a pixel cloud where a band is above a number; judges what it is told to judge."""

    name: str
    above: float
    band: str = "red"
    judges: Callable[[np.ndarray], np.ndarray] = field(default=lambda red: np.isfinite(red))
    outputs: tuple[Output, ...] = (CLEAR, CLOUD)

    def lacks(self, view: View) -> str:
        return "" if view.band(self.band) is not None else f"no {self.band}"

    def detect(self, view: View) -> Detection:
        red = view.image[view.bands.index(self.band)]
        codes = np.where(self.judges(red), (red > self.above).astype(np.uint8), np.uint8(255))
        return as_detection(codes, self.outputs)


@pytest.fixture
def specs(scenes: Path):
    """Four images of red, of which the last has blue beside it."""
    folder = scenes.parent
    red = np.load(folder / "coast" / "d.npy")
    np.save(folder / "coast" / "d.npy", np.stack([red, np.full_like(red, 90)]))
    text = scenes.read_text().replace("d_mask.npy,red,", "d_mask.npy,red;blue,")
    # The coast tells cloud too.
    scenes.write_text(text.replace("3=cloud shadow;*=clear|cloud|thin cloud", "1=cloud;*=clear"))
    return read_manifest(scenes)


def test_all_are_scored_on_the_pixels_that_all_judge(specs) -> None:
    picky = Threshold("picky", 0.5, judges=lambda red: red < 0.6)  # not the two cloudy rows
    found = compare_detectors({"bold": Threshold("bold", 0.5), "picky": picky}, specs)
    bold, shy, *baselines = found.contenders
    assert [c.name for c in baselines] == ["all-clear", "all-cloud"]
    for one, other in zip(bold.tallies, shy.tallies, strict=True):
        assert one is not None
        assert other is not None
        np.testing.assert_array_equal(one.table, other.table)
    # Image a has two rows of ten that picky leaves; its label holds three rows of cloud.
    assert shy.tallies[0].not_judged == 20
    assert bold.tallies[0].not_judged == 0
    assert bold.tallies[0].counts("cloud").positives == 10
    assert bold.tallies[0].counts("cloud").hits == 0


def test_a_detector_without_its_band_is_left_out_there_and_pairs_are_of_both(specs) -> None:
    blue = Threshold("blue", 0.5, band="blue")
    found = compare_detectors({"red": Threshold("red", 0.5), "blue": blue}, specs)
    red, other = found.contenders[:2]
    assert other.lacking == {"no blue": 3}
    assert [tally is None for tally in other.tallies] == [True, True, True, False]
    assert None not in red.tallies, "nobody else is left out for it"
    scores = found.scores()
    assert scores["red"]["overall"]["images"] == 4
    assert scores["blue"]["overall"]["images"] == 1
    assert scores["blue"]["folders"]["alps"]["images"] == 0
    kept, common = found.common()
    assert kept == 1
    # Of the coast: three rows of cloud, red finds two of them, blue calls all six rows cloud.
    assert common["red"]["cloud"]["iou"] == pytest.approx(2 / 3, abs=1e-6)
    assert common["blue"]["cloud"]["iou"] == pytest.approx(3 / 6)
    pair = found.pairs()["blue − red"]["cloud"]
    assert pair["samples"] == 1
    assert pair["iou"] == pytest.approx(3 / 6 - 2 / 3, abs=1e-6)
    assert "blue − red" not in found.pairs("alps")
    assert found.pairs("alps")["all-cloud − red"]["cloud"]["samples"] == 3


def test_samples_of_a_difference_are_those_whose_labels_tell_the_class(scenes: Path) -> None:
    outputs = (*(CLEAR, CLOUD), Output(3, ("cloud shadow",)))
    found = compare_detectors(
        {name: Threshold(name, 0.5, outputs=outputs) for name in ("one", "two")},
        read_manifest(scenes),  # the coast's label leaves cloud open
    )
    pair = found.pairs()["two − one"]
    assert (pair["cloud"]["samples"], pair["cloud shadow"]["samples"]) == (3, 4)
    assert found.pairs("coast")["two − one"]["cloud shadow"]["samples"] == 1


def test_no_detector_takes_the_place_of_another_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    one = write_model(tmp_path / "a" / "small-int8.onnx")
    other = write_model(tmp_path / "small-int8.onnx")
    names = [str(one), str(other), "small-int8", "brightness"]
    assert len(open_detectors(names)) == len(names)


def test_our_models_score_as_in_an_evaluation(scenes: Path, tmp_path: Path) -> None:
    specs = read_manifest(scenes)
    paths = [write_model(tmp_path / f"{name}.onnx") for name in ("one", "two")]
    detectors = open_detectors([str(path) for path in paths])
    assert list(detectors) == ["one", "two"], "files of one card's name are told apart"
    found = compare_detectors(detectors, specs, threads=2)
    models = [load_model(path) for path in paths]
    first, second = evaluate_together(models, specs, buffer=Buffer(2))
    ours, theirs = found.scores()["one"], first.scores()
    assert ours["overall"] == theirs["overall"]
    assert ours["folders"] == theirs["folders"]
    assert ours["strata"] == theirs["strata"]
    assert ours["variants"] == theirs["variants"]
    (inner,) = (v for name, v in ours["variants"].items() if "boundaries (2 px)" in name)
    assert 0 < inner["pixels"] < ours["overall"]["pixels"]
    expected = compare(second, first)
    got = found.pairs()["two − one"]
    assert {n: {k: v for k, v in c.items() if k != "samples"} for n, c in got.items()} == expected


def test_baselines_score_what_the_tables_say_of_them(specs) -> None:
    scores = compare_detectors({"red": Threshold("red", 0.5)}, specs).scores()
    overall = scores["red"]["overall"]
    assert scores["all-cloud"]["overall"]["cloud"]["iou"] == overall["all_cloud_iou"]
    assert scores["all-clear"]["overall"]["cloud"]["accuracy"] == overall["all_clear_accuracy"]


def test_disagreement_ranks_the_pictures(specs) -> None:
    detectors = {
        "red": Threshold("red", 0.5),
        "low": Threshold("low", 0.1),
        "blue": Threshold("blue", 0.5, band="blue"),
    }
    found = compare_detectors(detectors, specs)
    # Images a, b and d: two rows of 0.8, one of 0.05, three of 0.3; c is 0.05 everywhere.
    by_id = dict(zip((spec.id for spec in specs), found.disagreement, strict=True))
    assert by_id["alps/a"] == pytest.approx(3 / 6)
    assert by_id["alps/c"] == 0
    # red-low 3 of 6, red-blue 4 of 6, low-blue 1 of 6.
    assert by_id["coast/d"] == pytest.approx((3 + 4 + 1) / 18)
    places = disputed_samples(found, specs)
    assert [specs[place].id for place in places] == ["alps/a", "alps/b", "coast/d"]
    drawn = make_disputed(found, detectors, specs)
    assert [caption.split("\n")[1] for caption in drawn[0].masks][2] == "no blue"
    assert len({tuple(mask[0, 0]) for mask in drawn[0].masks.values()}) == 2  # cloud, and grey
    assert draw_disputed(drawn).width > 5 * 240


def test_what_cannot_be_compared(specs) -> None:
    with pytest.raises(InputError, match=r"judge none of the 4 samples \(no green\); name"):
        compare_detectors({"green": Threshold("green", 0.5, band="green")}, specs)
    with pytest.raises(InputError, match="'brightness' is named twice"):
        open_detectors(["brightness", "compact", "brightness"])
    with pytest.raises(ModelError, match="did you mean 'brightness'"):
        open_detectors(["brigthness"])


def test_a_first_that_can_judge_nothing_is_told_before_the_others_run(specs) -> None:
    asked: list[np.ndarray] = []
    other = Threshold("other", 0.5, judges=lambda red: asked.append(red) or np.isfinite(red))
    green = Threshold("green", 0.5, band="green")
    with pytest.raises(InputError, match=r"green can judge none of the 4 samples \(no green\)"):
        compare_detectors({"green": green, "other": other}, specs)
    assert not asked
    blue = Threshold("blue", 0.5, band="blue")  # of the last sample alone
    compare_detectors({"blue": blue, "other": other}, specs)
    assert len(asked) == len(specs)


@dataclass(frozen=True)
class Released(Threshold):
    version: str = "1.0.0"


def test_the_record_tells_the_version_of_each(specs, tmp_path: Path) -> None:
    (model,) = open_detectors([str(write_model(tmp_path / "one.onnx"))]).values()
    detectors = {
        "peer": Released("peer", 0.5),
        "peer+four": flipped(Released("peer", 0.5), "four"),
        "one+four": flipped(model, "four"),
        "rule": Threshold("rule", 0.5),
    }
    found = compare_detectors(detectors, specs)
    paths = write_comparison(found, detectors, specs, tmp_path / "out")
    told = json.loads(paths["scores"].read_text())["protocol"]["detectors"]
    assert told["peer"]["version"] == told["peer+four"]["version"] == "1.0.0"
    assert told["one+four"]["sha256"] == model.model.sha256
    assert "version" not in told["rule"]
    assert "peer: version 1.0.0; peer+four" in paths["report"].read_text(encoding="utf-8")


def test_merged_classes_are_not_scored_as_single_ones(specs) -> None:
    assert CLOUD.bits == class_set(["cloud", "thin cloud"])
    overall = compare_detectors({"red": Threshold("red", 0.5)}, specs).scores()["red"]["overall"]
    assert "cloud" in overall
    assert "thick cloud" not in overall
