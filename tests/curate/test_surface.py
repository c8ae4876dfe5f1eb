import numpy as np
import pytest

from nubila.classes import class_set
from nubila.curate.surface import SURFACE, surface_sets
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


def test_without_data_or_bands_everything_stays_open():
    assert surface_sets(_view((np.nan,) * 4))[0, 0] == SURFACE
    assert surface_sets(_view((0.1,), bands=("red",)))[0, 0] == SURFACE


def test_some_class_always_stays_possible():
    random = np.random.default_rng(0)
    view = View(random.uniform(0, 1.2, (4, 200, 200)).astype(np.float32), _BANDS)
    sets = surface_sets(view)
    assert (sets != 0).all()
    assert (sets & ~np.uint8(SURFACE) == 0).all()
