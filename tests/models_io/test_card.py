import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nubila.models_io import BandUse, CalibrationError, ModelCard, OperatingPoint
from tests.infer.toy import BANDS, CLASSES, toy_card


@given(field=st.integers(0, 300), stride=st.integers(1, 64))
def test_the_halo_is_the_fewest_strides_that_hold_the_receptive_field(field, stride):
    card = toy_card().model_copy(update={"receptive_field": field, "stride": stride})
    assert card.halo % stride == 0
    assert card.halo - stride < field <= card.halo


def test_a_card_comes_back_from_its_json():
    few = OperatingPoint(thresholds={"cloud": 0.7}, min_area=400, dilate=30, about="for x")
    error = CalibrationError(split="validation", ece={"cloud": 0.02}, before={"cloud": 0.1})
    card = toy_card().model_copy(
        update={"operating_points": {"few": few}, "calibration_error": error}
    )
    assert ModelCard.model_validate_json(card.model_dump_json()) == card


def test_codes_and_required_bands_go_by_the_order_of_the_card():
    card = toy_card().model_copy(update={"classes": ("water", "shadow", "cloud")})
    assert card.class_codes == (5, 3, 1)
    assert toy_card(required=2).required_bands == BANDS[:2]
    assert toy_card().class_codes == tuple(range(len(CLASSES)))


def test_bands_go_by_their_common_names():
    assert BandUse(name=" SWIR1 ", required=True).name == "swir16"


def test_two_names_of_one_band_are_one_band():
    bands = [{"name": "swir1", "required": True}, {"name": "swir16", "required": False}]
    with pytest.raises(ValidationError, match="bands name one twice"):
        ModelCard.model_validate(toy_card().model_dump() | {"bands": bands})


def test_a_card_is_not_changed():
    with pytest.raises(ValidationError, match="frozen"):
        toy_card().stride = 8


def test_points_of_older_cards_are_thresholds_alone():
    old = toy_card().model_dump() | {"operating_points": {"few": {"cloud": 0.7, "snow": 0.2}}}
    (point,) = ModelCard.model_validate(old).operating_points.values()
    assert point == OperatingPoint(thresholds={"cloud": 0.7, "snow": 0.2})
    assert (point.dilate, point.min_area) == (0, 0)
    assert ModelCard.model_validate(toy_card().model_dump() | {"operating_points": {"x": {}}})


@pytest.mark.parametrize(
    ("point", "told"),
    [
        ({"dilate": -1}, "greater than or equal to 0"),
        ({"min_area": float("inf")}, "finite"),
        ({"thresholds": {"cloud": 1.2}}, "'few': 'cloud' = 1.2"),
        ({"thresholds": dict.fromkeys(CLASSES, 0.5)}, "every class has a threshold"),
        ({"thresholds": {"cloud": 0.5}, "dilation": 20}, "Extra inputs"),
    ],
)
def test_a_point_that_does_not_hold(point, told):
    with pytest.raises(ValidationError, match=told):
        ModelCard.model_validate(toy_card().model_dump() | {"operating_points": {"few": point}})
