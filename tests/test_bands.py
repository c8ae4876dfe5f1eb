import pytest

from nubila.bands import (
    BANDS,
    SENSORS,
    band_name,
    label_names,
    parse_bands,
    plain_label,
    platform_name,
)
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


@pytest.mark.parametrize(
    ("text", "label"),
    [("B05", "B5"), (" b8a ", "B8A"), ("B10", "B10"), ("B3N", "B3N"), ("B", ""), ("SR_B2", "")],
)
def test_a_label_is_read_without_its_zeros(text, label):
    assert plain_label(text) == label


@pytest.mark.parametrize(
    ("platform", "name"),
    [
        ("LANDSAT_8", "Landsat 8"), ("landsat-7", "Landsat 7"), ("Sentinel-2A", "Sentinel-2A"),
        ("sentinel-2c", "Sentinel-2C"), ("PlanetScope_2", "PlanetScope_2"), ("", ""),
    ],
)  # fmt: skip
def test_platforms_are_named_as_people_write_them(platform, name):
    assert platform_name(platform) == name


@pytest.mark.parametrize("sensor", [s for s in SENSORS if s != "unknown"])
def test_labels_of_a_known_sensor_are_its_own(sensor):
    names = label_names((), sensor)
    for label, (name, _) in SENSORS[sensor].bands.items():
        assert names[plain_label(label)] == name


# HLS User Guide 2.0, NASA LP DAAC: Landsat and Sentinel-2 by one numbering.
HLS_LANDSAT = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B09", "B10", "B11"]


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (["B02", "B03", "B04", "B08"], True),
        (["b02", "b03", "b04", "b08"], True),
        (["B2", "B3", "B4", "B8A"], True),
        (["B2", "B3", "B4", "B8", "B11", "B12"], True),
        (["B02", "B03", "B04"], True),
        (["B2", "B3", "B4"], False),  # of Landsat 5 green, red, near infrared
        (["b01", "b02"], False),  # of MODIS red and near infrared
        (["B02", "B05"], False),
        (["B2", "B3", "B4", "B8"], False),  # of Landsat 8 panchromatic
        ([f"B{n}" for n in range(1, 12)], False),  # Landsat 8 in Earth Engine
        (["B01", "B02", "B3N", "B08"], False),  # ASTER
        (HLS_LANDSAT, False),
    ],
)
def test_labels_of_an_unknown_sensor_are_sentinel_2s_only_if_nothing_else_can_be(labels, shown):
    names = label_names(labels)
    assert bool(names) is shown
    if shown:
        assert all(
            names[plain_label(label)] == band_name(f"B{label[1:]:0>2}")
            for label in labels
            if label not in ("B10", "B11")
        )
    own = label_names(labels, files=["/data/T33UUU_20170216T102101_B05.jp2"])
    assert own["B5"] == "rededge071"
    assert bool(label_names(labels, files=["HLS.L30.T33UUU.2017047T102101.v2.0.B05.tif"])) is shown
