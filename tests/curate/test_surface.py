import numpy as np
import pytest

from nubila.classes import class_set
from nubila.curate.surface import SURFACE, UNKNOWN, snow_line, surface_sets
from nubila.detect import View

_BANDS = ("green", "red", "nir", "swir16")


def _view(*pixels, bands=_BANDS):
    """One row of pixels, each its reflectance in the bands."""
    return View(np.array(pixels, np.float32).T[:, None, :], bands)


# Reflectances of textbook spectra; what each can be is known without the index.
@pytest.mark.parametrize(
    ("pixel", "expected"),
    [
        ((0.80, 0.82, 0.80, 0.10), ["snow"]),
        ((0.06, 0.04, 0.02, 0.01), ["water"]),
        ((0.08, 0.05, 0.35, 0.18), ["clear"]),  # vegetation
        ((0.25, 0.32, 0.40, 0.50), ["clear"]),  # sand
        ((0.13, 0.12, 0.09, 0.15), ["clear"]),  # asphalt through haze: wet by NDWI alone
        ((0.30, 0.30, 0.22, 0.16), ["clear", "snow"]),  # thawing or patchy snow stays open
    ],
)
def test_textbook_pixels(pixel, expected):
    assert surface_sets(_view(pixel))[0, 0] == class_set(expected)


def test_without_short_wave_infrared_snow_stays_open():
    sets = surface_sets(_view((0.8, 0.82, 0.8), bands=("green", "red", "nir")))
    assert sets[0, 0] == class_set(["clear", "snow"])


@pytest.mark.parametrize(
    "pixel",
    [
        (0.08, 0.07, 0.12),  # too dark
        (0.30, 0.25, 0.45),  # leaves through haze
    ],
)
def test_without_short_wave_infrared_leaves_and_dark_ground_are_no_snow(pixel):
    sets = surface_sets(_view(pixel, bands=("green", "red", "nir")))
    assert sets[0, 0] == class_set(["clear"])


def test_without_data_or_bands_everything_stays_open():
    assert surface_sets(_view((np.nan,) * 4))[0, 0] == SURFACE
    assert surface_sets(_view((0.1,), bands=("red",)))[0, 0] == SURFACE


@pytest.mark.parametrize(
    ("pixel", "lost", "expected"),
    [
        ((0.80, 0.82, 0.80, 0.10), "swir16", ["clear", "snow"]),
        ((0.80, 0.82, 0.80, 0.10), "red", ["snow"]),  # not asked
        ((0.80, 0.82, 0.80, 0.10), "green", ["clear", "snow", "water"]),
        ((0.80, 0.82, 0.80, 0.10), "nir", ["clear", "snow", "water"]),
        ((0.06, 0.04, 0.02, 0.01), "swir16", ["clear", "snow", "water"]),
        ((0.06, 0.04, 0.02, 0.01), "nir", ["clear", "snow", "water"]),
        ((0.08, 0.05, 0.35, 0.18), "green", ["clear", "snow"]),  # swir alone rules water out
    ],
)
def test_where_a_band_has_no_data_its_index_rules_nothing_out(pixel, lost, expected):
    view = _view(pixel, (0.08, 0.05, 0.35, 0.18))
    view.image[_BANDS.index(lost), 0, 0] = np.nan
    sets = surface_sets(view)[0]
    assert sets.tolist() == [class_set(expected), class_set(["clear"])]


@pytest.mark.parametrize(
    ("pixel", "bands", "expected"),
    [
        ((np.nan, 0.05, 0.35), ("green", "red", "nir"), ["clear", "snow", "water"]),
        ((0.08, np.nan, 0.35), ("green", "red", "nir"), ["clear", "snow"]),  # no red in NDWI
        ((0.08, 0.05, np.nan), ("green", "red", "nir"), ["clear", "snow", "water"]),
        ((np.nan, 0.18), ("green", "swir16"), ["clear", "snow"]),  # too bright for water
        ((np.nan, 0.01), ("green", "swir16"), ["clear", "snow", "water"]),
        ((0.06, np.nan), ("green", "swir16"), ["clear", "snow", "water"]),
    ],
)
def test_so_it_is_with_the_indices_that_stand_in(pixel, bands, expected):
    other = (0.08, 0.05, 0.35) if "nir" in bands else (0.08, 0.18)
    sets = surface_sets(_view(pixel, other, bands=bands))[0]
    assert sets[0] == class_set(expected)
    assert sets[1] == class_set(["clear"] if "nir" in bands else ["clear", "snow"])


def test_where_only_the_height_is_known_the_ground_stays_open():
    pixels = [(0.08, 0.05, 0.35, 0.18, 0.5), (np.nan, np.nan, np.nan, np.nan, 0.5)]
    sets = surface_sets(_view(*pixels, bands=(*_BANDS, "elevation")), below=np.ones((1, 2), bool))
    assert sets[0].tolist() == [class_set(["clear"]), SURFACE]


def test_some_class_always_stays_possible():
    random = np.random.default_rng(0)
    view = View(random.uniform(0, 1.2, (4, 200, 200)).astype(np.float32), _BANDS)
    sets = surface_sets(view)
    assert (sets != 0).all()
    assert (sets & ~np.uint8(SURFACE) == 0).all()


def _hills(snowy_from):
    """A slope from 0 to 2000 m, with snow above a line, and bright sand like snow at its foot."""
    metres = np.linspace(0, 1999, 2000, dtype=np.float32)
    pixels = np.where(
        metres[:, None] >= snowy_from, (0.80, 0.82, 0.80, 0.10), (0.08, 0.05, 0.35, 0.18)
    )
    pixels[:5] = (0.80, 0.82, 0.80, 0.10)
    image = np.concatenate([pixels.T, metres[None] / 1000])[:, None, :].astype(np.float32)
    return View(image, (*_BANDS, "elevation")), metres


@pytest.mark.parametrize("snowy_from", [800, 1230, 1500])
def test_the_snow_line_is_two_bands_below_the_lowest_snow(snowy_from):
    view, metres = _hills(snowy_from)
    # By counting: the first band of 100 m with more than a tenth of snow, and 200 m less.
    snow = (metres >= snowy_from) | (metres < 5)
    lowest = min(b for b in range(20) if snow[b * 100 : b * 100 + 100].mean() > 0.1)
    assert snow_line(view, np.ones((1, 2000), bool)) == 100 * lowest - 200


@pytest.mark.parametrize(("clear_pixels", "line"), [(10, 1000), (11, 300)])
def test_a_band_of_which_a_tenth_is_clear_or_less_sets_no_snow_line(clear_pixels, line):
    view, metres = _hills(1200)
    gap = (metres >= 500) & (metres < 500 + clear_pixels)  # of the 100 pixels of its band
    view.image[:4, 0, gap] = np.array((0.80, 0.82, 0.80, 0.10), np.float32)[:, None]
    clear = gap | (metres < 500) | (metres >= 600)
    assert snow_line(view, clear[None]) == line


@pytest.mark.parametrize("lost", _BANDS[:2] + _BANDS[3:])
def test_pixels_of_which_a_band_has_no_data_are_not_taken_for_bare_ones(lost):
    view, metres = _hills(1200)
    view.image[_BANDS.index(lost), 0, (metres >= 1200) & (metres < 1295)] = np.nan
    assert snow_line(view, np.ones((1, 2000), bool)) == 1000


def test_no_line_without_snow_without_elevation_or_under_cloud():
    view, _ = _hills(5000)
    view.image[:, 0, :5] = view.image[:, 0, 5:10]
    assert snow_line(view, np.ones((1, 2000), bool)) is None
    snowy, _ = _hills(1000)
    assert snow_line(snowy, np.zeros((1, 2000), bool)) is None
    assert snow_line(View(snowy.image[:4], _BANDS), np.ones((1, 2000), bool)) is None


def test_below_the_line_there_is_no_snow():
    view = _view((0.80, 0.82, 0.80, 0.10), (0.80, 0.82, 0.80, 0.10), (0.30, 0.30, 0.22, 0.16))
    sets = surface_sets(view, below=np.array([[True, False, True]]))
    assert sets[0].tolist() == [class_set(n) for n in (["clear"], ["snow"], ["clear"])]


@pytest.mark.parametrize(
    ("pixel", "mapped", "expected"),
    [
        ((0.06, 0.04, 0.02, 0.01), 1, ["water"]),
        ((0.06, 0.04, 0.02, 0.01), 0, ["clear", "water"]),  # flooded: nobody is believed alone
        ((0.06, 0.04, 0.02, 0.01), UNKNOWN, ["water"]),
        ((0.08, 0.05, 0.35, 0.18), 1, ["water"]),
        ((0.08, 0.05, 0.35, 0.18), 0, ["clear"]),
        ((0.80, 0.82, 0.80, 0.10), 1, ["snow", "water"]),  # a frozen lake
        ((0.80, 0.82, 0.80, 0.10), 0, ["snow"]),
    ],
)
def test_a_map_of_water_takes_the_place_of_the_index(pixel, mapped, expected):
    sets = surface_sets(_view(pixel), water_map=np.array([[mapped]], np.uint8))
    assert sets[0, 0] == class_set(expected)


@pytest.mark.parametrize(
    ("pixel", "expected"),
    [
        ((0.06, 0.01), ["water"]),
        ((0.80, 0.10), ["clear", "snow"]),  # as high an index, but far too bright for water
        ((0.08, 0.18), ["clear", "snow"]),
    ],
)
def test_without_near_infrared_the_modified_index_tells_water(pixel, expected):
    assert surface_sets(_view(pixel, bands=("green", "swir16")))[0, 0] == class_set(expected)
