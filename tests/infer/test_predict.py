import numpy as np
import pytest

import nubila
from nubila.classes import Validity
from nubila.errors import BandError, InputError
from nubila.models_io import load_model
from tests.infer.scenes import BANDS, GRID, counts, scene
from tests.infer.toy import write_toy


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(write_toy(tmp_path_factory.mktemp("model") / "toy.onnx", bands=BANDS))


def test_an_array_is_masked_like_the_scene_that_holds_it(model):
    array = nubila.predict(counts(), "blue,green,red,nir", model=model, scale=1e-4, nodata=0)
    found = nubila.mask_scene(scene(), model=model)
    np.testing.assert_array_equal(array.classes, found.classes)
    assert array.statistics.classes == found.statistics.classes
    assert array.grid.crs is None and array.grid.resolution == 10


def test_counts_and_reflectance_agree(model):
    reflectance = counts().astype(np.float32) * np.float32(1e-4)
    reflectance[:, :, :20] = np.nan
    one = nubila.predict(reflectance, BANDS, model=model, probabilities=True)
    two = nubila.predict(
        counts(), BANDS, model=model, scale=1e-4, nodata=0, grid=GRID, probabilities=True
    )
    np.testing.assert_allclose(one.probabilities, two.probabilities, atol=1e-5)
    assert two.grid == GRID


def test_an_array_without_data_gives_no_class(model):
    mask = nubila.predict(np.full((4, 30, 40), np.nan, np.float32), BANDS, model=model)
    assert (mask.classes == 255).all()
    assert (mask.validity == Validity.NO_DATA).all()
    assert mask.cover == {}


def test_nan_and_infinity_are_no_data(model):
    array = np.full((4, 32, 32), 0.3, np.float32)
    array[:, 3, 4] = np.nan
    array[1, 5, 6] = np.inf
    array[2, 7, 8] = -np.inf
    mask = nubila.predict(array, BANDS, model=model)
    assert mask.validity[3, 4] == Validity.NO_DATA
    assert mask.validity[5, 6] == mask.validity[7, 8] == Validity.NOT_JUDGED
    assert np.argwhere(mask.classes == 255).tolist() == [[3, 4], [5, 6], [7, 8]]


def test_a_missing_band_and_a_wrong_shape_are_told(model):
    with pytest.raises(BandError, match="red"):
        nubila.predict(np.zeros((2, 8, 8), np.float32), "blue,green", model=model)
    with pytest.raises(InputError, match="4 bands are named"):
        nubila.predict(np.zeros((3, 8, 8), np.float32), BANDS, model=model)


def test_what_a_masked_array_masks_is_no_data(model):
    values = counts(empty=False)
    hidden = np.zeros(values.shape[1:], bool)
    hidden[40:90, 30:150] = True
    stack = np.ma.masked_array(values, np.broadcast_to(hidden, values.shape))
    found = nubila.predict(stack, BANDS, model=model, scale=1e-4)
    reflectance = values * np.float32(1e-4)
    reflectance[:, hidden] = np.nan
    expected = nubila.predict(reflectance, BANDS, model=model)
    np.testing.assert_array_equal(found.classes == 255, hidden)
    np.testing.assert_array_equal(found.classes, expected.classes)
    for other in (stack * np.float32(1e-4), list(stack * np.float32(1e-4))):
        again = nubila.predict(other, BANDS, model=model)
        np.testing.assert_array_equal(again.classes, expected.classes)


def test_integers_without_a_scale_are_refused(model):
    with pytest.raises(InputError, match=r"uint16.*scale=1e-4.*offset=-0\.1"):
        nubila.predict(counts(), BANDS, model=model)
    flat = np.ones((4, 16, 16), np.uint8)
    given = nubila.predict(flat, BANDS, model=model, scale=1)
    expected = nubila.predict(flat.astype(np.float32), BANDS, model=model)
    np.testing.assert_array_equal(given.classes, expected.classes)


def test_floating_point_counts_without_a_scale_are_refused(model):
    values = counts(empty=False).astype(np.float32)
    with pytest.raises(InputError, match=r"band blue has values to \d{4}.*scale=1e-4"):
        nubila.predict(values, BANDS, model=model)
    nubila.predict(values, BANDS, model=model, scale=1.0)  # at one's word
    # Few outliers, no data and what is masked do not make reflectance counts.
    values *= np.float32(1e-4)
    values[:, :2, :60] = 20
    values[:, 100:] = 30000
    nubila.predict(values, BANDS, model=model, nodata=30000)
    nubila.predict(np.ma.masked_equal(values, 30000), BANDS, model=model)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_0_in_every_band_is_no_data_unless_something_is_said_to_be(model, dtype):
    values = counts(empty=False).astype(dtype)
    values[:, :, :20] = 0
    given = {"model": model, "scale": 1e-4, "offset": -0.1}
    untold, stated = (nubila.predict(values, BANDS, nodata=n, **given) for n in (None, 0))
    np.testing.assert_array_equal(untold.classes, stated.classes)
    values[0, :30] = 0  # one band alone may well be 0
    empty = (values == 0).all(axis=0)
    found = nubila.predict(values, BANDS, **given)
    np.testing.assert_array_equal(found.validity == Validity.NO_DATA, empty)
    np.testing.assert_array_equal(found.classes == 255, empty)
    assert any("exactly 0 in every band" in note for note in found.notes)
    for nodata in (np.nan, 65535):
        meant = nubila.predict(values, BANDS, nodata=nodata, **given)
        assert (meant.classes != 255).all() and not meant.notes
    hidden = np.ma.masked_array(values, np.zeros(values.shape, bool))
    hidden[:, 100:] = np.ma.masked
    masked = nubila.predict(hidden, BANDS, **given)
    assert (masked.classes[:100] != 255).all() and not masked.notes
    whole = nubila.predict(values[:, :, 20:], BANDS, **given)
    assert not whole.notes


def test_0_in_the_bands_that_the_model_takes_is_noted_whatever_the_others_are(model):
    values = counts(empty=False)
    values[:, :, :20] = 0
    other = np.full_like(values[:1], 500)
    both = np.concatenate([other, values])
    found = nubila.predict(both, ["coastal", *BANDS], model=model, scale=1e-4)
    assert (found.classes[:, :20] == 255).all()
    (note,) = found.notes
    assert note.startswith("pixels of exactly 0 in every band") and "nodata=nan" in note


def test_lists_become_arrays_or_are_refused(model):
    values = counts((16, 16)) * 1e-4
    found = nubila.predict(values.tolist(), BANDS, model=model)
    np.testing.assert_array_equal(found.classes, nubila.predict(values, BANDS, model=model).classes)
    for wrong in ([[1.0, 2.0], [3.0]], ["a"], [[["a"]]] * 4):
        with pytest.raises(InputError, match="array must"):
            nubila.predict(wrong, BANDS, model=model)


def test_a_number_that_no_reflectance_has_is_refused_without_nodata(model):
    values = np.full((len(BANDS), 32, 32), 0.2, np.float32)
    values[:, :8] = -9999
    with pytest.raises(InputError, match=r"down to -9999(.|\n)*nodata=-9999"):
        nubila.predict(values, BANDS, model=model)
    found = nubila.predict(values, BANDS, model=model, nodata=-9999).classes
    np.testing.assert_array_equal(found == 255, values[0] == -9999)


@pytest.mark.parametrize("bands", [None, 3, [1, 2, 3, 4], [None] * 4])
def test_what_is_no_name_of_a_band_is_told(model, bands):
    with pytest.raises(BandError, match="bands are names in order"):
        nubila.predict(counts(), bands, model=model, scale=1e-4)
    assert nubila.predict(counts(), iter(BANDS), model=model, scale=1e-4).grid.shape == GRID.shape


@pytest.mark.parametrize("resolution", ["x", None, [1, 2], True, 0])
def test_what_is_no_resolution_is_told(model, resolution):
    with pytest.raises(InputError, match="resolution"):
        nubila.predict(counts(), BANDS, model=model, scale=1e-4, resolution=resolution)
