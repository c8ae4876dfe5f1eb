from __future__ import annotations

import sys

import numpy as np
import pytest

from nubila.detect import DETECTORS, View, open_detector
from nubila.errors import MissingExtraError, ModelError


@pytest.mark.parametrize("name", sorted(DETECTORS.keys() - {"omnicloudmask", "cloudsen12"}))
def test_reports_call_a_detector_as_the_command_line_does(name: str) -> None:
    assert open_detector(name).name == name


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ModelError, match="did you mean 'ukis-csmask'"):
        open_detector("ukis-csmsk")
    with pytest.raises(ModelError, match="did you mean 'compact'"):
        open_detector("compat")
    with pytest.raises(ModelError, match="no such file"):
        open_detector("somewhere/else.onnx")


def test_a_missing_package_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ukis_csmask", None)
    with pytest.raises(MissingExtraError, match=r"nubila\[compare\]"):
        open_detector("ukis-csmask")


def test_rules() -> None:
    image = np.full((3, 2, 3), 0.05, np.float32)
    image[:, 0, 0] = 0.6  # bright and white
    image[:, 0, 1] = 0.1, 0.3, 0.6  # bright and red
    image[1, 1, 2] = np.nan
    view = View(image, ("blue", "green", "red"))
    np.testing.assert_array_equal(
        open_detector("brightness").detect(view).classes, [[1, 0, 0], [0, 0, 255]]
    )
    assert (open_detector("all-cloud").detect(view).classes == 1).all()
    assert (open_detector("all-clear").detect(view).classes == 0).all()


def test_heights_beyond_the_swath_are_not_seen() -> None:
    image = np.full((4, 2, 2), 0.3, np.float32)
    image[:3, 0, 0] = np.nan  # the elevation stays
    view = View(image, ("blue", "green", "red", "elevation"))
    for name in ("all-clear", "all-cloud"):
        assert (open_detector(name).detect(view).classes == 255).tolist() == [
            [True, False],
            [False, False],
        ]
