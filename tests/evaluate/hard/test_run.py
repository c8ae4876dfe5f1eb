"""Figures of hard cases, against counts by hand."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nubila.classes import NO_DATA, class_set
from nubila.datasets.sample import Sample, SampleMeta
from nubila.detect import Detection, Output, View, as_detection, open_detector
from nubila.errors import InputError
from nubila.evaluate.hard import HardImage, judge_images, write_hard_cases
from nubila.evaluate.hard.run import EDGE, Figures, by_case

_OUTPUTS = (
    Output(0, ("clear", "snow", "water")),
    Output(1, ("cloud",)),
    Output(2, ("thin cloud",)),
    Output(3, ("cloud shadow",)),
)
_CLEAR, _CLOUD, _THIN, _SHADOW = (
    class_set([n]) for n in ("clear", "cloud", "thin cloud", "cloud shadow")
)


@dataclass(frozen=True)
class _Says:
    """Says these codes, whatever it looks at; or lacks something."""

    codes: NDArray[np.uint8]
    name: str = "says"
    outputs: tuple[Output, ...] = _OUTPUTS
    wants: str = ""

    def lacks(self, _view: View) -> str:
        return self.wants

    def detect(self, _view: View) -> Detection:
        return as_detection(self.codes, self.outputs)


def _image(label: NDArray[np.uint8], empty: NDArray[np.bool_] | None = None) -> HardImage:
    image = np.full((3, *label.shape), 0.2, np.float32)
    if empty is not None:
        image[:, empty] = np.nan
    meta = SampleMeta("a", ".", "a", "", "", "", 10.0, {})
    sample = Sample(image, label, ("blue", "green", "red"), meta)
    return HardImage("city", "a", "real", "", lambda: sample)


def test_shares_are_of_the_pixels_that_are_known():
    label = np.array([[_CLEAR] * 4, [_CLOUD] * 4, [_THIN] * 4, [_SHADOW] * 4, [0] * 4], np.uint8)
    codes = np.array(
        [[0, 0, 1, 2], [1, 1, 2, 0], [0, 0, 0, 2], [3, 3, 0, 1], [1, 1, 1, 1]], np.uint8
    )
    (judged,) = judge_images({"says": _Says(codes)}, [_image(label)])
    shares = judged.figures["says"].shares()
    assert shares["false_cloud"] == pytest.approx(3 / 8)  # two of clear and one of shadow
    assert shares["missed_cloud"] == pytest.approx(4 / 8)
    assert shares["missed_thick"] == pytest.approx(1 / 4)  # thick called thin is no miss
    assert shares["missed_thin"] == pytest.approx(3 / 4)
    assert shares["cloud_iou"] == pytest.approx(4 / 11)
    assert shares["shadow_iou"] == pytest.approx(2 / 4)
    assert shares["called_cloud"] == pytest.approx(11 / 20)
    assert shares["edge_false_cloud"] is None


def test_pixels_without_data_must_stay_so_and_their_edge_is_counted_apart():
    size = 3 * EDGE
    label = np.full((size, size), _CLEAR, np.uint8)
    empty = np.zeros(label.shape, bool)
    empty[:, :EDGE] = True
    label[empty] = 0
    codes = np.where(empty, NO_DATA, 0).astype(np.uint8)
    codes[:, EDGE] = 1  # a fringe of cloud along the edge
    codes[0, 0] = 1  # a class where there is nothing
    codes[0, -1] = NO_DATA  # no answer where there are data
    (judged,) = judge_images({"says": _Says(codes)}, [_image(label, empty)])
    figures = judged.figures["says"]
    assert figures.invented == 1
    assert figures.unjudged == 1
    assert figures.shares()["edge_false_cloud"] == pytest.approx(1 / EDGE)
    assert figures.shares()["false_cloud"] == pytest.approx(size / (2 * size * EDGE - 1), abs=1e-6)


def test_an_output_that_may_be_clear_is_no_cloud_and_no_shadow():
    label = np.full((2, 2), _SHADOW, np.uint8)
    outputs = (Output(0, ("clear", "cloud shadow")), Output(1, ("cloud", "clear")))
    detector = _Says(np.ones((2, 2), np.uint8), outputs=outputs)
    (judged,) = judge_images({"says": detector}, [_image(label)])
    shares = judged.figures["says"].shares()
    assert shares["called_cloud"] == 0
    assert shares["shadow_iou"] is None


def test_figures_add_up_pixel_by_pixel():
    label = np.full((2, 4), _CLEAR, np.uint8)
    parts = [np.zeros((2, 4), np.uint8), np.ones((2, 4), np.uint8)]
    judged = [judge_images({"says": _Says(p)}, [_image(label)])[0] for p in parts]
    total = by_case(judged, "says")["city", "real"]
    assert total.data == 16
    assert total.shares()["false_cloud"] == 0.5
    assert total == judged[0].figures["says"] + judged[1].figures["says"]
    assert Figures() + total == total


def test_a_suite_that_nobody_can_judge_is_an_error():
    label = np.full((2, 2), _CLEAR, np.uint8)
    detector = _Says(np.zeros((2, 2), np.uint8), wants="no nir")
    with pytest.raises(InputError, match=r"says: none of the 1 images can be judged \(no nir\)"):
        judge_images({"says": detector}, [_image(label)])


def test_whatever_a_manifest_calls_a_case_its_picture_stays_in_the_folder(tmp_path: Path):
    label = np.full((2, 2), _CLEAR, np.uint8)
    cases = ["../../far", "snow/ice", "snow ice", "Snow ice", "..."]
    images = [replace(_image(label), case=case, name=str(n)) for n, case in enumerate(cases)]
    judged = judge_images({"says": _Says(np.zeros((2, 2), np.uint8))}, images)
    write_hard_cases(judged, ["says"], tmp_path / "a" / "b")
    names = ["far", "snow-ice", "snow-ice-2", "Snow-ice-3", "case"]
    found = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.png")}
    assert found == {Path("a/b/pictures") / f"{name}.png" for name in names}


def test_the_report_holds_every_figure_and_says_what_is_lacking(tmp_path: Path):
    label = np.full((4, 4), _CLEAR, np.uint8)
    codes = np.zeros((4, 4), np.uint8)
    codes[0] = 1
    detectors = {"says": _Says(codes), "other": _Says(codes, "other", wants="no nir")}
    judged = judge_images(detectors, [_image(label)])
    paths = write_hard_cases(judged, list(detectors), tmp_path / "out")
    found = json.loads(paths["figures"].read_text())
    (row,) = found["cases"]
    assert (row["case"], row["detector"], row["images"]) == ("city", "says", 1)
    assert row["false_cloud"] == 0.25
    with paths["images"].open() as stream:
        rows = list(csv.DictReader(stream))
    assert [r["lacks"] for r in rows] == ["", "no nir"]
    assert "no nir" in paths["report"].read_text()
    assert (paths["pictures"] / "city.png").is_file()


def test_heights_beyond_the_swath_make_no_pixel_seen():
    image = np.full((4, 4, 4), 0.4, np.float32)
    image[:3, :, :2] = np.nan
    bands = ("blue", "green", "red", "elevation")
    meta = SampleMeta("a", ".", "a", "", "", "", 10.0, {})
    label = np.where(np.isnan(image[0]), 0, _CLEAR).astype(np.uint8)
    one = HardImage("no data", "a", "synthetic", "", lambda: Sample(image, label, bands, meta))
    (judged,) = judge_images({"all": open_detector("all-cloud")}, [one])
    figures = judged.figures["all"]
    assert (figures.unjudged, figures.shares()["called_cloud"]) == (0, 1.0)
