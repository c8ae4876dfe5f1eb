"""Spectra, air and clouds against published values and conservation laws."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nubila.synth.atmosphere import (
    Atmosphere,
    band_optics,
    delta_direct,
    layer_tables,
    table_index,
    table_thickness,
    two_stream,
)
from nubila.synth.spectra import MATERIALS, SPECTRAL_BANDS, material_index, reflectance_table

CLEAN = Atmosphere(aerosol=0.0, vapour=2.0, elevation=0.0)
AIR = Atmosphere(aerosol=0.15, vapour=2.0, elevation=0.0)


def spectrum(material: str) -> dict[str, float]:
    row = material_index(material)
    return {band: float(reflectance_table(band)[row]) for band in SPECTRAL_BANDS}


def index(first: float, second: float) -> float:
    return (first - second) / (first + second)


def test_spectra_are_reflectances() -> None:
    for band in SPECTRAL_BANDS:
        table = reflectance_table(band)
        assert table.shape == (len(MATERIALS),)
        assert (table > 0).all() and (table < 1).all()


@pytest.mark.parametrize("name", ["conifer forest", "tropical forest", "dense crop", "green grass"])
def test_vegetation_has_a_red_edge(name: str) -> None:
    s = spectrum(name)
    assert index(s["nir"], s["red"]) > 0.7
    assert s["green"] > s["red"] and s["swir16"] > s["swir22"]


@pytest.mark.parametrize("name", ["fresh snow", "old snow", "glacier ice"])
def test_snow_is_bright_and_dark_in_the_shortwave_infrared(name: str) -> None:
    s = spectrum(name)
    assert index(s["green"], s["swir16"]) > 0.7


@pytest.mark.parametrize("name", ["clear sea", "brown lake", "silty water", "coastal water"])
def test_water_is_darker_than_visible_in_the_infrared(name: str) -> None:
    s = spectrum(name)
    assert index(s["green"], s["nir"]) > 0.2 and s["swir16"] < 0.01


def test_unknown_names_are_key_errors() -> None:
    with pytest.raises(KeyError, match="grass"):
        material_index("gras")
    with pytest.raises(KeyError, match="lwir11"):
        reflectance_table("lwir11")


def test_snow_and_ice_lie_within_points_measured_on_glaciers(shared_data: Path) -> None:
    """Summer snow and bare ice, 5th to 95th percentile of surface reflectance labelled by hand."""
    file = shared_data / "glacier_spectra" / "Sentinel-2_SR_training_data.csv"
    if not file.is_file():
        pytest.skip(f"{file} is not there")
    with file.open() as stream:
        rows = list(csv.DictReader(stream))
    labels = {"B2": "blue", "B3": "green", "B4": "red", "B8": "nir"}
    for material, code in (("old snow", 1), ("glacier ice", 3)):
        for column, band in labels.items():
            values = [float(r[column]) for r in rows if float(r["class"]) == code and r[column]]
            low, high = np.nanpercentile(values, [5, 95])
            assert low <= spectrum(material)[band] <= high, (material, band)


@pytest.mark.parametrize(
    ("band", "expected"), [("coastal", 0.236), ("green", 0.0895), ("nir08", 0.0155)]
)
def test_rayleigh_thickness_shows_in_the_direct_beam(band: str, expected: float) -> None:
    """Values of Bodhaine et al. (1999), doi:10.1175/1520-0426(1999)016<1854:ORODC>2.0.CO;2."""
    optics = band_optics(band, CLEAN, 90)
    direct = (1 - optics.diffuse) * np.exp(-0.5 * expected)
    assert -np.log(direct) == pytest.approx(expected, rel=0.03)


def test_air_is_blue_and_brighter_with_aerosol() -> None:
    paths = [band_optics(b, CLEAN, 50).path for b in ("coastal", "blue", "green", "red", "nir08")]
    assert paths == sorted(paths, reverse=True)
    assert 0.07 < paths[0] < 0.14
    assert band_optics("red", AIR, 50).path > band_optics("red", CLEAN, 50).path


def test_low_sun_sees_more_air() -> None:
    assert band_optics("blue", AIR, 20).path > band_optics("blue", AIR, 60).path
    assert band_optics("blue", AIR, 20).diffuse > band_optics("blue", AIR, 60).diffuse


def test_vapour_hides_the_ground_in_the_cirrus_band_only() -> None:
    assert band_optics("cirrus", AIR, 50).gas < 0.002
    assert band_optics("nir09", AIR, 50).gas < 0.5
    assert all(band_optics(b, AIR, 50).gas > 0.9 for b in ("blue", "red", "nir", "swir16"))


@given(
    thickness=st.floats(0, 200),
    slant=st.floats(1, 4),
    asymmetry=st.floats(0.5, 0.9),
)
def test_without_absorption_light_is_conserved(
    thickness: float, slant: float, asymmetry: float
) -> None:
    reflected, passed = two_stream(np.array([thickness]), slant, asymmetry, 0.0)
    assert reflected[0] + passed[0] == pytest.approx(1, abs=1e-3)
    slanted = (1 - asymmetry) * thickness * slant
    assert reflected[0] == pytest.approx(slanted / (2 + slanted), abs=1e-3)


@given(thickness=st.floats(0.1, 100), absorption=st.floats(1e-3, 0.1))
def test_absorption_darkens(thickness: float, absorption: float) -> None:
    reflected, passed = two_stream(np.array([thickness]), 1.3, 0.85, absorption)
    bright, _ = two_stream(np.array([thickness]), 1.3, 0.85, 0.0)
    assert 0 <= reflected[0] < bright[0]
    assert reflected[0] + passed[0] < 1


def test_tables_are_fine_enough() -> None:
    thickness = np.geomspace(0.01, 140, 500).astype(np.float32)
    nearest = table_thickness()[table_index(thickness)]
    exact, _ = two_stream(thickness.astype(np.float64), 1.4, 0.85, 0.0)
    looked_up, _ = two_stream(nearest, 1.4, 0.85, 0.0)
    assert np.abs(exact - looked_up).max() < 2e-3


def test_ice_clouds_are_darker_than_water_clouds_in_the_shortwave_infrared() -> None:
    ice, _ = layer_tables("swir16", AIR, 50, "ice", 8.0)
    liquid, _ = layer_tables("swir16", AIR, 50, "liquid", 1.5)
    thick = int(table_index(np.array([20.0], np.float32))[0])
    assert ice[thick] < 0.7 * liquid[thick]


def test_only_high_clouds_show_in_the_cirrus_band() -> None:
    at = int(table_index(np.array([2.0], np.float32))[0])
    high, _ = layer_tables("cirrus", AIR, 50, "ice", 9.0)
    low, _ = layer_tables("cirrus", AIR, 50, "liquid", 1.5)
    assert high[at] > 0.05 and low[at] < 0.01


def test_no_cloud_changes_nothing() -> None:
    glow, passed = layer_tables("blue", AIR, 50, "liquid", 1.5)
    assert glow[0] == pytest.approx(0, abs=1e-9) and passed[0] == pytest.approx(1)


def test_direct_beam_keeps_the_forward_peak() -> None:
    beer = np.exp(-2.0)
    assert beer < delta_direct(np.array([2.0]), 1.0)[0] < 1
