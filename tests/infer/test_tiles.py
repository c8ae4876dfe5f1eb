import numpy as np
import rasterio

from nubila.classes import NO_DATA, Validity
from nubila.infer.api import mask_scene
from nubila.infer.predict import predict
from nubila.infer.tiles import _raise_saturated
from nubila.models_io import load_model
from nubila.scenes.array import scene_from_array
from tests.infer.scenes import BANDS, GRID
from tests.infer.toy import write_toy


def test_an_edge_of_zeros_among_floats_is_no_data_in_the_mask(tmp_path):
    values = np.random.default_rng(0).uniform(0.05, 0.6, (len(BANDS), *GRID.shape))
    values[:, :10] = 0
    values[3, 12:20] = 0  # near infrared alone may well be 0, over water
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=len(BANDS), dtype="float32", crs=GRID.crs,
        height=GRID.shape[0], width=GRID.shape[1], transform=GRID.transform,
    ) as data:  # fmt: skip
        data.write(values.astype(np.float32))
        data.descriptions = BANDS
    mask = mask_scene(path, model=load_model(write_toy(tmp_path / "toy.onnx")))
    assert (mask.validity[:10] == Validity.NO_DATA).all()
    assert (mask.classes[:10] == NO_DATA).all()
    assert (mask.classes[10:] != NO_DATA).all()
    model = load_model(tmp_path / "toy.onnx")
    coarse = mask_scene(path, model=model, resolution=mask.grid.resolution * 2)
    assert (coarse.classes[:5] == NO_DATA).all()


def test_what_is_saturated_in_visible_bands_is_raised_towards_near_infrared(tmp_path):
    model = load_model(write_toy(tmp_path / "toy.onnx"))
    random = np.random.default_rng(0)
    values = random.uniform(0.05, 0.3, (len(BANDS), 40, 40)).astype(np.float32)
    blue, red, nir = (BANDS.index(name) for name in ("blue", "red", "nir"))
    values[[blue, red, nir], 5:20, 5:20] = np.float32([0.4, 0.4, 0.8])[:, None, None]
    values[nir, 10] = 0.2  # a saturated value is the least that it can be
    values[nir, 12] = np.nan
    values[nir, 14, 5:20] = 0.6
    by_hand = values.copy()
    for band in (blue, red):
        by_hand[band, 5:20, 5:20] = 0.8
        by_hand[band, [10, 12], 5:20] = 0.4
        by_hand[band, 14, 5:20] = 0.5  # half as much more: half of it

    def masked(image, names, **more):
        return predict(image, names, model=model, probabilities=True, nodata=np.nan, **more)

    mask = masked(values, BANDS, saturated=0.4)
    expected = masked(by_hand, BANDS).probabilities
    np.testing.assert_allclose(mask.probabilities, expected, atol=1e-6)
    assert (mask.validity[5:20, 5:20] == Validity.SATURATED).all()
    assert any("are taken to be brighter there" in n for n in mask.notes)
    # Without near infrared nothing is known, and without saturation nothing is done.
    for some, names in ((values[:3], BANDS[:3]), (values, BANDS)):
        limit = {} if len(names) > 3 else {"saturated": 0.4}
        plain = masked(some, names, **limit)
        np.testing.assert_array_equal(plain.probabilities, masked(some, names).probabilities)
        assert not any("saturated" in note for note in plain.notes)


def test_a_pixel_of_which_a_part_is_saturated_is_left_as_it_is(tmp_path):
    model = load_model(write_toy(tmp_path / "toy.onnx"))
    values = np.full((len(BANDS), 40, 40), 0.05, np.float32)
    values[BANDS.index("nir")] = 0.4
    values[:, ::10, ::10] = 0.4  # one roof in a hundred pixels of leaves

    def cover(**more):
        scene = scene_from_array(values, BANDS, scale=1.0, resolution=10.0, **more)
        return mask_scene(scene, model=model, resolution=100, probabilities=True)

    found, plain = cover(saturated=0.4), cover()
    np.testing.assert_array_equal(found.probabilities, plain.probabilities)
    assert (found.validity == Validity.SATURATED).all()


def test_either_near_infrared_tells_what_is_saturated():
    names = ("blue", "nir", "nir08")
    target = np.float32([[[0.4]], [[np.nan]], [[0.8]]])
    assert _raise_saturated(names, target, {0: np.array([[True]])})
    assert target[0] == np.float32(0.8)
    assert not _raise_saturated(names[:1], target[:1], {0: np.array([[True]])})
