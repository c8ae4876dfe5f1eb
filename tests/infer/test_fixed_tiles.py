"""Networks that see a tile of one size, or the whole scene's statistics: tiling leaves no trace."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nubila.errors import InputError, ModelError
from nubila.infer import mask_scene
from nubila.infer.engine import run_scene
from nubila.infer.first_pass import first_pass
from nubila.infer.layout import lattice
from nubila.models_io import load_model
from nubila.raster import Window
from nubila.scenes.array import scene_from_array
from nubila.scenes.statistics import scene_statistics
from tests.infer.fixed import BANDS, write_fixed
from tests.infer.whole import Collected


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fixed")
    return {
        batch: load_model(write_fixed(folder / f"{batch}.onnx", batch=batch)) for batch in (None, 3)
    }


def scene(shape=(150, 91), seed=0):
    values = np.random.default_rng(seed).uniform(0, 1, (2, *shape)).astype(np.float32)
    values[0] += np.linspace(0, 1, shape[1], dtype=np.float32)
    values[:, 40:60, 10:50] = np.nan
    return scene_from_array(values, BANDS, resolution=10)


def run(scene, model, **options):
    found = Collected()
    run_scene(scene, model, sink=found, probabilities="float32", **options)
    return found.probabilities


def by_hand(values, tile=32, halo=8):
    """The probability of cloud, by walking over the lattice as its description says."""
    rows, columns = values.shape
    found = np.full(values.shape, np.nan)

    def starts(length):
        high = max(tile, -(-length // 4) * 4)
        first = list(range(0, high - tile, tile - 2 * halo))
        return [*first, high - tile]

    def kept(all_starts, k, length):
        low = all_starts[k - 1] + tile - halo if k else 0
        high = length if k + 1 == len(all_starts) else all_starts[k] + tile - halo
        return slice(low, high)

    tops, lefts = starts(rows), starts(columns)
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):
            seen = values[top : top + tile, left : left + tile]
            mean = np.nansum(seen, dtype=np.float64) / tile**2
            place = kept(tops, i, rows), kept(lefts, j, columns)
            found[place] = 1 / (1 + np.exp(-8 * (values[place] - mean)))
    return found


@pytest.mark.parametrize("shape", [(150, 91), (32, 32), (20, 70), (97, 5)])
def test_each_pixel_is_judged_in_its_tile_of_the_lattice(models, shape):
    opened = scene(shape)
    expected = by_hand(opened.read(["red"]).reflectance[0])
    np.testing.assert_allclose(run(opened, models[None])[1], expected, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    row=st.integers(0, 149), column=st.integers(0, 90), height=st.integers(1, 150),
    width=st.integers(1, 91), threads=st.integers(1, 3), batch=st.integers(1, 4),
    tile=st.none() | st.integers(1, 500), fixed=st.sampled_from([None, 3]),
)  # fmt: skip
def test_area_threads_batch_and_tile_leave_no_trace(
    models, row, column, height, width, threads, batch, tile, fixed
):
    opened = scene()
    window = Window(row, column, height, width).intersect(Window.whole((150, 91)))
    found = run(opened, models[fixed], window=window, threads=threads, batch=batch, tile=tile)
    np.testing.assert_array_equal(found, run(opened, models[None])[:, *window.slices])


@given(
    length=st.integers(1, 400), start=st.integers(0, 399), size=st.integers(1, 400),
    cells=st.integers(1, 20), stride=st.sampled_from([1, 4, 16]),
)  # fmt: skip
def test_cores_of_a_lattice_cover_an_area_once_with_a_halo(length, start, size, cells, stride):
    tile, start = cells * stride, min(start, length - 1)
    halo, stop = tile // 4, min(length, start + size)
    found = lattice(start, stop, tile=tile, halo=halo, stride=stride, length=length)
    covered = [n for span in found for n in range(span.core_start, span.core_stop)]
    assert covered == list(range(start, stop))
    for span in found:
        assert span.stop - span.start == tile
        assert span.start == 0 or span.core_start - span.start >= halo
        assert span.stop >= length or span.stop - span.core_stop >= halo
    whole = lattice(0, length, tile=tile, halo=halo, stride=stride, length=length)
    assert {s.start for s in found} <= {s.start for s in whole}


@pytest.mark.parametrize("output", ["logits", "classes", "mask"])
def test_other_outputs_give_the_same_mask(models, output, tmp_path):
    opened = scene()
    model = load_model(write_fixed(tmp_path / "other.onnx", output=output))
    expected = mask_scene(opened, model=models[None])
    np.testing.assert_array_equal(mask_scene(opened, model=model).classes, expected.classes)
    if output == "logits":
        found = mask_scene(opened, model=model, probabilities=True).probabilities
        expected = mask_scene(opened, model=models[None], probabilities=True).probabilities
        np.testing.assert_allclose(found, expected, atol=1e-6)
    else:
        with pytest.raises(InputError, match=r"no thresholds.*--output probabilities"):
            mask_scene(opened, model=model, thresholds={"cloud": 0.4})


def test_statistics_are_of_the_whole_scene_whatever_the_tiles(tmp_path):
    pytest.importorskip("nubila.scenes.statistics")
    model = load_model(write_fixed(tmp_path / "s.onnx", tile=None, statistics=("p2", "p98")))
    opened = scene()
    red = opened.read(["red"]).reflectance[0]
    expected = 1 / (1 + np.exp(-8 * (red - np.nanpercentile(red, 2))))
    whole = run(opened, model)
    np.testing.assert_allclose(whole[1], expected, atol=2e-3)
    for options in ({"tile": 40}, {"threads": 3, "tile": 24, "batch": 2}):
        np.testing.assert_array_equal(run(opened, model, **options), whole)
    window = Window(31, 17, 40, 60)
    np.testing.assert_array_equal(run(opened, model, window=window), whole[:, *window.slices])
    with pytest.raises(ModelError, match="p2, p98 of the whole scene"):
        model.run(np.zeros((1, 2, 8, 8), np.float32))


def test_statistics_of_a_large_scene_are_those_that_training_takes(tmp_path):
    model = load_model(
        write_fixed(tmp_path / "s.onnx", tile=None, statistics=("minimum", "p98", "maximum"))
    )
    names = [use.name for use in model.card.bands]
    random = np.random.default_rng(1)
    image = random.gamma(2, 0.1, (len(names), 1800, 1300)).astype(np.float32)
    found = first_pass(scene_from_array(image, names, scale=1.0, resolution=20.0), model.card)
    trained_with = scene_statistics(image, model.card.statistics)
    np.testing.assert_allclose(found, trained_with, rtol=1e-3)
    assert (trained_with[2] < 0.8 * image.max(axis=(1, 2))).all()  # means of areas, not pixels
