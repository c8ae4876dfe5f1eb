"""nubila's own models among the detectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nubila.detect import View, open_detector
from nubila.infer import predict
from tests.infer.toy import write_toy


def test_either_near_infrared_stands_in_for_the_other_as_in_a_mask(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "narrow.onnx", bands=("red", "nir08"), required=2)
    image = np.random.default_rng(0).uniform(0, 0.8, (2, 64, 64)).astype(np.float32)
    detector = open_detector(str(path))
    for bands in (("red", "nir08"), ("red", "nir")):
        view = View(image, bands, resolution=10.0)
        assert detector.lacks(view) == ""
        mask = predict(image, bands, model=path, scale=1, resolution=10.0)
        np.testing.assert_array_equal(detector.detect(view).classes, mask.classes)
    assert detector.lacks(View(image, ("green", "nir"))) == "no red"
    assert detector.lacks(View(image, ("red", "green"))) == "no nir08"
