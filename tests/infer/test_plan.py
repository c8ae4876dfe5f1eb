from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nubila.errors import BandError, GridError, InputError, MissingFileError
from nubila.infer.plan import make_plan
from nubila.models_io import BandUse
from nubila.raster import Window
from nubila.scenes.array import scene_from_array
from tests.infer.toy import BANDS, STRIDE, toy_card
from tests.infer.whole import watched


def array_scene(shape=(200, 300), bands=BANDS, resolution=10):
    values = np.ones((len(bands), *shape), np.uint16)
    return scene_from_array(values, bands, scale=1e-4, resolution=resolution, name="flat")


def plan(scene, card=None, *, resolution=None, window=None, threads=1, tile=None):
    card = card or toy_card()
    return make_plan(scene, card, resolution=resolution, window=window, threads=threads, tile=tile)


@settings(deadline=None)
@given(
    shape=st.tuples(st.integers(1, 30_000), st.integers(1, 30_000)),
    threads=st.integers(1, 64),
    field=st.integers(0, 200),
)
def test_tiles_of_its_own_choice_stay_within_memory(shape, threads, field):
    values = np.broadcast_to(np.uint16(1), (3, *shape))
    scene = scene_from_array(values, BANDS[:3], scale=1e-4, name="large")
    card = toy_card(BANDS[:3], halo=field)
    found = plan(scene, card, threads=threads)
    height, width = found.rows[0][0].seen.shape
    # With a great halo no tile is that small: then it is the smallest that is worth it.
    least = (4 * card.halo + 64 + STRIDE) ** 2
    assert height * width <= max(1_000_000, 2_800_000 // threads, least)
    assert sum(t.core.height * t.core.width for row in found.rows for t in row) == np.prod(shape)


def test_tiles_keep_many_threads_busy():
    found = plan(array_scene((5490, 5490), BANDS[:3]), toy_card(BANDS[:3]), threads=8)
    assert sum(len(row) for row in found.rows) % 8 in (0, 7)


def test_a_tile_that_is_mostly_halo_is_refused():
    card = toy_card()
    least = 2 * card.halo + STRIDE
    assert plan(array_scene(), card, tile=least)
    with pytest.raises(InputError, match=f"tile of {least - 1} .* at least {least}"):
        plan(array_scene(), card, tile=least - 1)
    # What fits into one tile needs no halo.
    assert len(plan(array_scene((20, 32)), card, tile=32).rows) == 1


@pytest.mark.parametrize(
    "window",
    [
        Window(0, 0, 201, 300),
        Window(0, 0, 0, 10),
        Window(-1, 0, 10, 10),
        Window(0, 299, 1, 2),
        Window(500, 500, 1, 1),
    ],
)
def test_a_window_beyond_the_scene_is_refused(window):
    with pytest.raises(GridError, match=r"flat.*200 x 300 pixels at 10 m"):
        plan(array_scene(), window=window)


def test_required_bands_that_lack_are_all_named_before_anything_is_read():
    scene, log = watched(array_scene(bands=("blue", "nir")))
    with pytest.raises(BandError, match=r"flat: .* needs the bands green, red .*has: blue, nir"):
        plan(scene)
    assert not log


def test_a_scene_of_other_bands_altogether_is_refused():
    card = toy_card(required=0)
    with pytest.raises(BandError, match="none of the bands"):
        plan(array_scene(bands=("coastal", "pan")), card)


def test_files_that_are_not_there_are_named():
    scene = array_scene(bands=("blue", "red"))
    scene = replace(scene, missing={"green": ("B03_20m.jp2",)})
    with pytest.raises(MissingFileError, match=r"B03_20m\.jp2"):
        plan(scene)


def test_optional_bands_are_those_that_the_scene_has():
    found = plan(array_scene(bands=("blue", "green", "red", "swir16")))
    assert (found.required, found.optional) == (("blue", "green", "red"), ("swir16",))


def test_narrow_near_infrared_stands_in_for_the_wide_one_but_not_for_both():
    scene = array_scene(bands=("blue", "green", "red", "nir08"))
    assert plan(scene).optional == ("nir",)
    both = toy_card().model_copy(
        update={"bands": tuple(BandUse(name=n, required=False) for n in ("blue", "nir", "nir08"))}
    )
    assert plan(scene, both).optional == ("blue", "nir08")


@pytest.mark.parametrize("resolution", [1e9, 2000.1, 0.99, 1e-6])
def test_a_resolution_out_of_range_is_refused_before_anything_is_read(resolution):
    """200 x 300 pixels of 10 m: the smaller side is 2000 m, and 1 m is 100 pixels for each."""
    scene, log = watched(array_scene())
    with pytest.raises(GridError, match=r"flat: .* from 1 m .* to 2000 m") as caught:
        plan(scene, resolution=resolution)
    assert f"{resolution:g} m" in str(caught.value)
    assert not log


@pytest.mark.parametrize("resolution", [0, -10, float("nan"), float("inf")])
def test_a_resolution_that_is_no_length_is_refused(resolution):
    with pytest.raises(GridError, match="positive number"):
        plan(array_scene(), resolution=resolution)


def test_the_resolutions_at_the_ends_of_the_range_are_taken():
    assert plan(array_scene(), resolution=2000).grid.shape == (1, 2)
    assert plan(array_scene((20, 30)), resolution=1).grid.shape == (200, 300)
    # A scene's own choice holds, though a scene of one pixel is smaller than it.
    assert plan(replace(array_scene((1, 1)), default_resolution=20.0)).grid.shape == (1, 1)


def test_what_no_band_of_the_model_needs_is_not_even_opened():
    class Closed:
        name, shape = "closed", (200, 300)

        @property
        def factors(self):
            raise AssertionError("opened")

        block = read = factors

    scene = array_scene(bands=(*BANDS, "coastal"))
    coastal = scene.bands["coastal"]
    closed = replace(coastal, files=(replace(coastal.files[0], source=Closed()),))
    scene = replace(scene, bands={**scene.bands, "coastal": closed})
    found = plan(scene)
    needs = found.needs(found.batches(1))
    assert {need.source.name for batch in needs for need in batch} == {
        f"flat ({band})" for band in BANDS
    }
