from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from nubila.detect import Detection, Output, View, open_detector
from nubila.errors import ManifestError
from nubila.recipe import Recipe
from nubila.train.data import Chips, Labelled
from nubila.train.pool import view_pool
from nubila.train.views import ViewMaker, sampled_label

_OUTPUTS = (
    Output(0, ("clear", "snow", "water")),
    Output(1, ("cloud", "thin cloud")),
    Output(3, ("cloud shadow",)),
)
_VIEWS = {"chips": 3, "share": 0.5, "detectors": ["brightness"]}


@dataclass(frozen=True)
class _Sure:
    """Calls all of it one output, where a view has near infrared."""

    place: int
    name: str = "sure"
    outputs: tuple[Output, ...] = _OUTPUTS

    def lacks(self, view: View) -> str:
        return view.missing(("nir",))

    def detect(self, view: View) -> Detection:
        found = np.zeros((3, *view.image.shape[1:]), np.float32)
        found[self.place] = 1
        return Detection(found, self.outputs)


def _recipe(**changes: object) -> Recipe:
    values = {
        "steps": 4,
        "batch": 2,
        "chip": 32,
        "seed": 3,
        "data": {"manifest": "any.csv", "root": "."},
        "views": _VIEWS,
    }
    return Recipe.model_validate(values | changes)


def _image(folder: str, *, bands: int = 7, value: float = 0.2) -> Labelled:
    random = np.random.default_rng(1)
    image = random.uniform(value, value + 0.1, (7, 64, 64)).astype(np.float16)
    image[bands:] = np.nan
    return Labelled(image, np.ones((64, 64), np.uint8), folder, folder, level="L1C")


def test_labels_are_drawn_by_the_probabilities() -> None:
    shares = np.array([0.5, 0.3, 0.2], np.float32)
    found = np.broadcast_to(shares[:, None, None], (3, 200, 200)).copy()
    found[:, :10] = np.nan
    label = sampled_label(Detection(found, _OUTPUTS), np.random.default_rng(0))
    assert not label[:10].any()
    counts = np.bincount(label[10:].ravel(), minlength=64)[[0b110001, 0b000110, 0b001000]]
    assert counts.sum() == label[10:].size
    # Four standard deviations of a share of 38,000 draws.
    np.testing.assert_allclose(counts / counts.sum(), shares, atol=0.01)


def test_a_certain_detector_leaves_nothing_to_chance() -> None:
    for place, bits in enumerate((0b110001, 0b000110, 0b001000)):
        found = np.zeros((3, 20, 20), np.float32)
        found[place] = 1
        label = sampled_label(Detection(found, _OUTPUTS), np.random.default_rng(place))
        assert set(np.unique(label)) == {bits}


def test_a_view_depends_on_its_number_and_leaves_the_images_alone() -> None:
    images = [_image("a"), _image("b", value=0.5)]
    before = [image.image.copy() for image in images]
    maker = ViewMaker.of(_recipe(), images, [_Sure(1)])
    first = [maker[number] for number in (0, 1, 2)]
    again = ViewMaker.of(_recipe(), images, [_Sure(1)])[1]
    np.testing.assert_array_equal(first[1][0], again[0])
    np.testing.assert_array_equal(first[1][1], again[1])
    assert first[0][0].shape == (7, 256, 256) and first[0][0].dtype == np.float16
    assert not np.array_equal(first[0][0], first[1][0], equal_nan=True)
    for image, kept in zip(images, before, strict=True):
        np.testing.assert_array_equal(image.image, kept)


def test_where_nothing_is_seen_there_is_no_label() -> None:
    # The image is smaller than a view: beyond it there is no data.
    image, label = ViewMaker.of(_recipe(), [_image("a")], [_Sure(1)])[0]
    empty = np.isnan(image).all(axis=0)
    assert empty.any() and not empty.all()
    np.testing.assert_array_equal(label == 0, empty)


def test_images_that_no_detector_can_judge_are_passed_over() -> None:
    seen, rgb, unwanted = _image("a"), _image("rgb", bands=3), _image("c")
    recipe = _recipe(views=_VIEWS | {"weights": {"c": 0}})
    maker = ViewMaker.of(recipe, [rgb, seen, unwanted], [_Sure(0)])
    assert list(maker.images) == [seen]
    with pytest.raises(ManifestError, match="none has all the bands that sure needs"):
        ViewMaker.of(_recipe(), [rgb], [_Sure(0)])
    misspelt = _recipe(views=_VIEWS | {"weights": {"fildA": 2}})
    with pytest.raises(ManifestError, match=r"views\.weights: no .* 'fildA'.*'fieldA'"):
        ViewMaker.of(misspelt, [_image("fieldA")], [_Sure(0)])
    assert len(ViewMaker.of(misspelt, [_image("other source")], [_Sure(0)]).images) == 1


def test_elevation_is_left_as_it_is() -> None:
    recipe = _recipe(bands=("blue", "green", "red", "nir", "elevation"))
    image = np.full((5, 300, 300), 0.3, np.float16)
    image[4] = 1.25  # kilometres
    sample = Labelled(image, np.ones((300, 300), np.uint8), "a", "a")
    maker = ViewMaker.of(recipe, [sample], [_Sure(0)])
    views = [maker[number][0] for number in range(12)]
    assert any(np.abs(view[0] - np.float16(0.3)).max() > 0.05 for view in views)
    for view in views:
        np.testing.assert_allclose(view[4], 1.25, rtol=1e-3)


def test_views_are_made_once_for_the_same_images(tmp_path: Path) -> None:
    recipe = _recipe(views=_VIEWS | {"cache": tmp_path})
    lines: list[str] = []
    images = [_image("a")]
    views = view_pool(recipe, images, lines.append)
    assert lines == [f"making 3 views in {tmp_path}"]
    maker = ViewMaker.of(recipe, images, [open_detector("brightness")])
    for number, view in enumerate(views):
        np.testing.assert_array_equal(view.image, maker[number][0])
        np.testing.assert_array_equal(view.label, maker[number][1])
    view_pool(recipe, images, lines.append)
    assert len(lines) == 1
    # Another fold of a cross-validation must not get views of what it is scored on.
    view_pool(recipe, [_image("b", value=0.4)], lines.append)
    assert len(lines) == 2 and len(list(tmp_path.glob("*-image.npy"))) == 2


def test_views_are_the_share_of_the_chips_that_was_asked_for() -> None:
    plain = {"turn": False, "zoom": 1, "full_bands": 1, "gain": 0, "band_gain": 0, "haze": 0,
             "band_offset": 0, "saturate": 0, "noise": 0, "tear": 0}  # fmt: skip
    recipe = _recipe(views=_VIEWS | {"share": 0.6}, synth={"chips": 1, "share": 0.1}, augment=plain)
    sources = [
        [Labelled(np.full((7, 32, 32), v, np.float16), np.ones((32, 32), np.uint8), "a")]
        for v in (0.25, 0.5, 0.75)
    ]
    real, synthetic, views = sources
    chips = Chips(recipe, real, synthetic, (), views)
    drawn = [float(chips[number].image[0, 0, 0]) for number in range(600)]
    shares = [drawn.count(value) / 600 for value in (0.25, 0.5, 0.75)]
    np.testing.assert_allclose(shares, [0.3, 0.1, 0.6], atol=0.08)


@pytest.mark.parametrize(
    ("views", "problem"),
    [
        ({"share": 0.5}, "share is 0.5 but chips is 0"),
        ({"chips": 2, "detectors": []}, "no detectors"),
        ({"chips": 2, "weights": {"a": -1}}, "weight -1.0 of 'a' is negative"),
        (_VIEWS | {"share": 0.9}, "expected a sum up to 1"),
    ],
)
def test_what_cannot_be_is_refused(views: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        _recipe(views=views, synth={"chips": 4, "share": 0.2})
