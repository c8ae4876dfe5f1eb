"""Bands that a file stores pixel by pixel are decoded together: each block once for all."""

import numpy as np
import pytest
import rasterio
from affine import Affine

from nubila.infer import cache
from nubila.infer.engine import run_scene
from nubila.models_io import load_model
from nubila.raster import Window
from nubila.raster.gdal import open_source, read_together
from nubila.scenes import open_scene
from tests.infer.toy import BANDS, write_toy
from tests.infer.whole import Collected, whole_scene

ROWS, COLUMNS = 700, 300


def write(path, interleave, *, alpha=False, levels=()):
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 9000, (4, ROWS, COLUMNS), dtype=np.uint16)
    profile = {"count": 4, "height": ROWS, "width": COLUMNS, "dtype": "uint16", "nodata": 0}
    tiling = {"tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "deflate"}
    if alpha:
        counts[3] = np.where(rng.random((ROWS, COLUMNS)) < 0.1, 0, 65535)
        del profile["nodata"]
        profile |= {"photometric": "RGB", "alpha": "YES"}
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        crs="EPSG:32633",
        transform=Affine(10, 0, 3e5, 0, -10, 5e6),
        interleave=interleave,
        **profile,
        **tiling,
    ) as data:
        data.write(counts)
        data.build_overviews(list(levels), rasterio.enums.Resampling.average)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(write_toy(tmp_path_factory.mktemp("model") / "toy.onnx", bands=BANDS[:4]))


@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("resolution", [10.0, 20.0])
def test_each_block_is_decoded_once(tmp_path, model, monkeypatch, interleave, resolution):
    path = write(tmp_path / "scene.tif", interleave, levels=[2])
    scene = open_scene(path, bands=",".join(BANDS[:4]), scale=1e-4)
    together = []

    def noted(sources, factor, window):
        together.append((len(sources), factor, window.row))
        return read_together(sources, factor, window)

    monkeypatch.setattr(cache, "read_together", noted)
    found = Collected()
    run_scene(scene, model, sink=found, resolution=resolution, tile=128, probabilities="float32")
    np.testing.assert_array_equal(found.probabilities, whole_scene(scene, model, resolution))
    rows = range(0, round(ROWS * 10 / resolution), 256)
    factor = round(resolution / 10)
    wanted = [(4, factor, row) for row in rows] if interleave == "pixel" else []
    assert sorted(together) == wanted


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("alpha", [False, True])
def test_together_is_the_same_as_one_by_one(tmp_path, alpha, factor):
    path = write(tmp_path / "scene.tif", "pixel", alpha=alpha, levels=[2])
    sources = [open_source(str(path), index)[0] for index in (3, 1)]
    assert all(source.interleaved and source.masked is alpha for source in sources)
    window = Window(30, 17, 200, 90)
    for source, counts in zip(sources, read_together(sources, factor, window), strict=True):
        np.testing.assert_array_equal(counts, source.read(factor, window))
        assert bool(np.isnan(counts).any()) is alpha


def test_a_file_of_one_band_is_not_interleaved(tmp_path):
    path = tmp_path / "one.tif"
    with rasterio.open(path, "w", driver="GTiff", count=1, height=9, width=9, dtype="uint8"):
        pass
    assert not open_source(str(path))[0].interleaved
