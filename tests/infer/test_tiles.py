import numpy as np
import rasterio

from nubila.classes import NO_DATA, Validity
from nubila.infer.api import mask_scene
from nubila.infer.predict import predict
from nubila.models_io import load_model
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


def test_what_is_saturated_in_visible_bands_is_as_bright_as_near_infrared(tmp_path):
    model = load_model(write_toy(tmp_path / "toy.onnx"))
    random = np.random.default_rng(0)
    values = random.uniform(0.05, 0.3, (len(BANDS), 40, 40)).astype(np.float32)
    blue, red, nir = (BANDS.index(name) for name in ("blue", "red", "nir"))
    values[[blue, red, nir], 5:20, 5:20] = np.float32([0.4, 0.4, 0.8])[:, None, None]
    values[nir, 10] = 0.2  # a saturated value is the least that it can be
    values[nir, 12] = np.nan
    by_hand = values.copy()
    for band in (blue, red):
        by_hand[band] = np.where((values[band] == 0.4) & (values[nir] == 0.8), 0.8, values[band])
    assert (by_hand != values).sum() == 2 * 15 * 13 + np.isnan(values).sum()

    def masked(image, names, **more):
        return predict(image, names, model=model, probabilities=True, nodata=np.nan, **more)

    mask = masked(values, BANDS, saturated=0.4)
    np.testing.assert_array_equal(mask.probabilities, masked(by_hand, BANDS).probabilities)
    assert (mask.validity[5:20, 5:20] == Validity.SATURATED).all()
    assert any("are taken to be as bright there as in near infrared" in n for n in mask.notes)
    # Without near infrared nothing is known, and without saturation nothing is done.
    for some, names in ((values[:3], BANDS[:3]), (values, BANDS)):
        limit = {} if len(names) > 3 else {"saturated": 0.4}
        plain = masked(some, names, **limit)
        np.testing.assert_array_equal(plain.probabilities, masked(some, names).probabilities)
        assert not any("saturated" in note for note in plain.notes)
