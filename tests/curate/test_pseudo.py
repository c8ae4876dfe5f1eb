from dataclasses import dataclass

import numpy as np
import pytest

from nubila.classes import class_set
from nubila.curate.pseudo import Sureness, mean_detection, sure_pixels, sure_sets, sure_share
from nubila.detect import Detection, Output, View
from nubila.errors import InputError

_OUTPUTS = (
    Output(0, ("clear", "snow", "water")),
    Output(1, ("cloud", "thin cloud")),
    Output(3, ("cloud shadow",)),
)


@dataclass(frozen=True)
class _Fixed:
    """Says the same of every pixel, but more cloud in the left half of what it is shown."""

    cloud: float
    outputs: tuple[Output, ...] = _OUTPUTS
    wants: str = "red"
    name: str = "fixed"

    def lacks(self, view):
        return "" if self.wants in view.bands else f"no {self.wants}"

    def detect(self, view):
        cloud = np.full(view.image.shape[1:], self.cloud, np.float32)
        cloud[:, : cloud.shape[1] // 2] += 0.1
        found = np.zeros((len(self.outputs), *cloud.shape), np.float32)
        found[0], found[1] = 1 - cloud, cloud
        return Detection(found, self.outputs)


_VIEW = View(np.full((1, 2, 4), 0.3, np.float32), ("red",))


def _detection(*pixels):
    return Detection(np.array(pixels, np.float32).T[:, None, :], _OUTPUTS)


def test_mean_of_detectors_that_can_judge():
    able = [_Fixed(0.2), _Fixed(0.6), _Fixed(0.9, wants="cirrus")]
    found = mean_detection(able, _VIEW)
    np.testing.assert_allclose(found.probabilities[1, 0], [0.5, 0.5, 0.4, 0.4], atol=1e-6)


def test_flips_are_turned_back_before_the_mean():
    found = mean_detection([_Fixed(0.2)], _VIEW, "hflip")
    np.testing.assert_allclose(found.probabilities[1], 0.25, atol=1e-6)


def test_detectors_of_other_classes_are_refused():
    with pytest.raises(InputError, match="tell different classes apart"):
        mean_detection([_Fixed(0.2), _Fixed(0.2, _OUTPUTS[:2], name="other")], _VIEW)


def test_only_what_is_improbable_is_ruled_out():
    found = _detection((0.95, 0.03, 0.02), (0.6, 0.38, 0.02), (0.4, 0.3, 0.3), (np.nan,) * 3)
    ground, cloud = class_set(["clear", "snow", "water"]), class_set(["cloud", "thin cloud"])
    assert sure_sets(found)[0].tolist() == [ground, ground | cloud, 0, 0]


def test_share_of_certain_pixels_is_of_the_judged_ones():
    found = _detection((0.95, 0.03, 0.02), (0.6, 0.38, 0.02), (np.nan,) * 3)
    assert sure_share(found) == 0.5
    assert sure_share(_detection((np.nan,) * 3)) == 0.0


def test_sure_is_below_the_low_or_above_the_high_threshold():
    found = _detection((0.88, 0.06, 0.06), (0.92, 0.04, 0.04), (0.5, 0.45, 0.05))
    strict = Sureness(0.1, 0.9, "ignore")
    ground, cloud = class_set(["clear", "snow", "water"]), class_set(["cloud", "thin cloud"])
    assert sure_pixels(found)[0].tolist() == [True, True, False]
    assert sure_pixels(found, strict)[0].tolist() == [False, True, False]
    assert sure_sets(found, strict)[0].tolist() == [0, ground, 0]
    taken = Sureness(0.1, 0.9, "likeliest")
    assert sure_sets(found, taken)[0].tolist() == [ground, ground, ground]
    assert sure_sets(found, Sureness(0.1, 0.9))[0].tolist() == [ground, ground, ground | cloud]
    assert sure_share(found, strict) == pytest.approx(1 / 3)


def test_being_sure_of_some_classes_alone():
    found = _detection((0.5, 0.02, 0.48), (0.05, 0.92, 0.03), (0.5, 0.5, 0.0), (np.nan,) * 3)
    cloud = class_set(["cloud", "thin cloud"])
    sureness = Sureness(0.1, 0.9, "ignore", (cloud,))
    rest = class_set(["clear", "snow", "water", "cloud shadow"])
    assert sure_sets(found, sureness)[0].tolist() == [rest, cloud, 0, 0]
    assert sure_share(found, sureness) == pytest.approx(2 / 3)
    with pytest.raises(InputError, match="partly in the classes"):
        sure_sets(found, Sureness(classes=(class_set(["cloud"]),)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((-0.1, 0.9), "0 to 1"),
        ((0.1, 0.9, "open", (6, 2)), "apart"),
        ((0, 0, "open", (63,)), "rest"),
    ],
)
def test_sureness_that_cannot_be(values, message):
    with pytest.raises(InputError, match=message):
        Sureness(*values)
