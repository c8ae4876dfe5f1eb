import pytest

from nubila.bands import BANDS, SENSORS, band_name, parse_bands
from nubila.errors import BandError


def test_every_sensor_speaks_common_names():
    for sensor in SENSORS.values():
        assert {name for name, _ in sensor.bands.values()} <= set(BANDS)


def test_labels_of_sentinel_2_are_understood_and_those_of_landsat_are_not_guessed():
    assert parse_bands("B02,B03,B04,B08,B8A") == ("blue", "green", "red", "nir", "nir08")
    assert band_name(" b12 ") == "swir22"
    for label in ("B5", "B10", "B11"):
        with pytest.raises(BandError, match=f"unknown band name '{label}'"):
            band_name(label)


def test_a_misspelt_band_is_answered_with_the_nearest():
    with pytest.raises(BandError, match="did you mean 'green'"):
        parse_bands("blue,gren,red")


def test_a_band_twice_is_refused_but_left_out_bands_may_be_many():
    assert parse_bands("-,blue,-") == ("-", "blue", "-")
    with pytest.raises(BandError, match="twice"):
        parse_bands("blue,green,B03")
