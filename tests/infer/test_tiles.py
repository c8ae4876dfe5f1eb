import numpy as np
import rasterio

from nubila.classes import NO_DATA, Validity
from nubila.infer.api import mask_scene
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
