import json

import numpy as np
import pytest

from nubila import predict
from nubila.errors import InputError
from nubila.infer import MaskOptions
from nubila.infer.api import mask_scene, mask_to_folder
from nubila.infer.batch import mask_many
from nubila.infer.operating import point_of
from nubila.models_io import OperatingPoint, copy_with_card, load_model
from tests.infer.scenes import BANDS, counts, scene
from tests.infer.toy import toy_card, write_toy

POINT = OperatingPoint(thresholds={"cloud": 0.2, "shadow": 0.3}, min_area=8000, dilate=40)
GIVEN = {"thresholds": {"cloud": 0.2, "cloud shadow": 0.3}, "min_area": 8000, "dilate": 40}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = write_toy(tmp_path_factory.mktemp("model") / "toy.onnx", bands=BANDS)
    card = load_model(path).card
    copy_with_card(path, path, card.model_copy(update={"operating_points": {"balanced": POINT}}))
    return load_model(path)


def test_a_point_is_what_it_says(model):
    named = mask_scene(scene(), model=model, operating_point="balanced")
    given = mask_scene(scene(), model=model, **GIVEN)
    plain = mask_scene(scene(), model=model)
    np.testing.assert_array_equal(named.classes, given.classes)
    assert (named.classes != plain.classes).any(), "the point must change something"


def test_what_is_given_beside_it_wins():
    card = toy_card().model_copy(update={"operating_points": {"balanced": POINT}})
    found = point_of(MaskOptions(operating_point="balanced", thresholds={"cloud": 0.9}), card)
    assert found.thresholds == {"shadow": 0.3, "cloud": 0.9}
    assert (found.dilate, found.min_area) == (40, 8000)
    # A name by another spelling is the same class, and 0 is given too.
    options = MaskOptions(
        operating_point="balanced", thresholds={"cloud_shadow": 0.1}, dilate=0, min_area=0
    )
    found = point_of(options, card)
    assert found.thresholds == {"cloud": 0.2, "cloud_shadow": 0.1}
    assert (found.dilate, found.min_area) == (0, 0)


def test_without_a_name_the_card_says_nothing():
    card = toy_card().model_copy(update={"operating_points": {"balanced": POINT}})
    assert point_of(MaskOptions(), card) == OperatingPoint()


def test_unknown_points_are_told_before_anything_is_done(model, tmp_path):
    with pytest.raises(InputError, match=r"'balancd'; did you mean 'balanced'\? \(it has: bal"):
        mask_scene(scene(), model=model, operating_point="balancd")
    options = MaskOptions(operating_point="many")
    with pytest.raises(InputError, match="no operating point 'many'"):
        mask_many(["none.tif"], tmp_path / "out", model=model, options=options)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="has none; nubila tune makes them"):
        point_of(options, toy_card())


def test_the_item_tells_name_and_numbers(model, tmp_path):
    options = MaskOptions(operating_point="balanced", dilate=20)
    result = mask_to_folder(scene(), tmp_path, model=model, options=options)
    properties = json.loads(result.paths["item"].read_text())["properties"]
    assert properties["nubila:options"] == {"dilate": 20, "operating_point": "balanced"}
    numbers = properties["nubila:operating_point"]
    assert (numbers["dilate"], numbers["min_area"]) == (20, 8000)
    assert mask_to_folder(scene(), tmp_path, model=model, options=options).skipped


def test_arrays_take_points_by_their_resolution(model):
    image = counts() * np.float32(1e-4)
    named = predict(image, BANDS, model=model, scale=1, operating_point="balanced", resolution=20)
    fine = predict(image, BANDS, model=model, scale=1, operating_point="balanced", resolution=1)
    plain = predict(image, BANDS, model=model, scale=1, thresholds=POINT.thresholds)
    assert (named.classes != plain.classes).any()
    assert (named.classes != fine.classes).any()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"thresholds": {"cloud": None}}, "class 'cloud' must be a number from 0 to 1, got None"),
        ({"thresholds": {"cloud": "high"}}, "class 'cloud' must be a number"),
        ({"thresholds": {"cloud": True}}, "class 'cloud' must be a number"),
        ({"thresholds": 0.4}, "mapping of class names"),
        ({"thresholds": 0}, "mapping of class names"),
        ({"thresholds": {"cloud": float("nan")}}, "between 0 and 1"),
        ({"dilate": "60"}, "dilate must be a number from 0 up, got '60'"),
        ({"min_area": float("inf")}, "min_area must be a number"),
    ],
)
def test_what_is_no_number_is_told(model, tmp_path, options, said):
    with pytest.raises(InputError, match=said):
        mask_scene(scene(), model=model, **options)
    with pytest.raises(InputError, match=said):
        mask_to_folder(scene(), tmp_path / "out", model=model, options=MaskOptions(**options))
    assert not (tmp_path / "out").exists()
    if "thresholds" in options:
        with pytest.raises(InputError, match=said):
            predict(counts(), BANDS, model=model, scale=1e-4, **options)
