from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from nubila.detect import Detection, Flipped, Output, View, open_detector
from nubila.errors import ModelError

_OUTPUTS = (Output(0, ("clear",)), Output(1, ("cloud",)))


@dataclass(frozen=True)
class _Ramp:
    """Sees more cloud to the lower right of whatever it is shown, and what red says."""

    name: str = "ramp"
    outputs: tuple[Output, ...] = _OUTPUTS

    def lacks(self, view: View) -> str:
        return "" if "red" in view.bands else "no red"

    def detect(self, view: View) -> Detection:
        rows, columns = view.image.shape[1:]
        slope = np.linspace(0, 0.2, rows)[:, None] + np.linspace(0, 0.3, columns) ** 2
        cloud = (view.image[0] * 0.5 + slope).astype(np.float32)
        return Detection(np.stack([1 - cloud, cloud]), self.outputs)


def _view() -> View:
    image = np.random.default_rng(3).uniform(0, 1, (1, 5, 7)).astype(np.float32)
    return View(image, ("red",), name="v")


# What each turn does to an array, written as the eight symmetries of a rectangle's pixels.
_TURNS = {
    "hflip": [lambda a: a, np.fliplr],
    "vflip": [lambda a: a, np.flipud],
    "four": [lambda a: a, np.fliplr, np.flipud, lambda a: np.rot90(a, 2)],
    "eight": [lambda a, k=k, t=t: np.rot90(a.T if t else a, k) for k in range(4) for t in (0, 1)],
}
_BACK = {
    "hflip": [lambda a: a, np.fliplr],
    "vflip": [lambda a: a, np.flipud],
    "four": [lambda a: a, np.fliplr, np.flipud, lambda a: np.rot90(a, 2)],
    "eight": [
        lambda a, k=k, t=t: np.rot90(a, -k).T if t else np.rot90(a, -k)
        for k in range(4)
        for t in (0, 1)
    ],
}


@pytest.mark.parametrize("flips", _TURNS)
def test_the_mean_is_over_the_symmetries_of_the_square(flips: str) -> None:
    view = _view()
    expected = np.zeros((5, 7))
    for turn, back in zip(_TURNS[flips], _BACK[flips], strict=True):
        turned = np.ascontiguousarray(turn(view.image[0]))
        found = _Ramp().detect(View(turned[None], ("red",))).probabilities[1]
        expected += back(found) / len(_TURNS[flips])
    found = Flipped(_Ramp(), flips).detect(view)
    np.testing.assert_allclose(found.probabilities[1], expected, atol=1e-6)
    np.testing.assert_allclose(found.probabilities.sum(axis=0), 1, atol=1e-6)
    assert np.abs(found.probabilities - _Ramp().detect(view).probabilities).max() > 0.01


def test_a_products_own_mask_is_turned_with_the_image() -> None:
    own = np.zeros((5, 7), np.uint8)
    own[0, :3], own[1:] = 2, 1
    view = View(_view().image, ("red",), own_mask=own)
    plain, turned = (open_detector(name).detect(view) for name in ("product", "product+eight"))
    np.testing.assert_array_equal(turned.probabilities, plain.probabilities)
    assert not turned.graded


def test_names() -> None:
    detector = open_detector("brightness+four")
    assert isinstance(detector, Flipped)
    assert detector.name == "brightness+four"
    assert detector.lacks(_view()) == "no blue, green"
    assert open_detector("brightness+none").name == "brightness"
    with pytest.raises(ModelError, match="no flips 'fuor'; did you mean 'four'"):
        open_detector("brightness+fuor")
    with pytest.raises(ModelError, match="did you mean 'brightness'"):
        open_detector("brigthness+four")
    with pytest.raises(ModelError, match="no such file"):
        open_detector("runs/a+b/model.onnx")
