"""Tiling leaves no trace: tiles give what the whole scene gives at once, bit for bit.

ONNX Runtime's convolutions on one thread give the same bits whatever the size of the image, so no
tolerance is needed: classes and probabilities must be equal.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from nubila.infer.engine import run_scene
from nubila.models_io import load_model
from nubila.scenes.array import scene_from_array
from tests.infer.band_files import band_scene
from tests.infer.strategies import SLOW, least_block, tiles, windows
from tests.infer.toy import BANDS, RECEPTIVE_FIELD, write_toy
from tests.infer.whole import Collected, classes_of, watched, whole_scene


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Number of bands -> model; the first three (or all) bands are required."""
    folder = tmp_path_factory.mktemp("models")
    return {
        n: load_model(write_toy(folder / f"toy{n}.onnx", bands=BANDS[:n], required=min(n, 3)))
        for n in (1, 3, 4, 6)
    }


def with_receptive_field(model, pixels):
    return replace(model, card=model.card.model_copy(update={"receptive_field": pixels}))


def array_scene(seed, bands, shape, holes):
    """Bright and dark pixels, with holes of no data over all bands or over some."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0, 1.2, (bands, *shape)).astype(np.float32)
    for _ in range(holes):
        row, column = (int(rng.integers(0, n)) for n in shape)
        part = np.s_[row : row + int(rng.integers(1, 60)), column : column + int(rng.integers(60))]
        for band in np.flatnonzero(rng.random(bands) < rng.choice([0.3, 1.0])):
            values[band, *part] = np.nan
    return scene_from_array(values, BANDS[:bands], resolution=10, name=f"array {seed}")


def run(scene, model, **options):
    found = Collected()
    run_scene(scene, model, sink=found, probabilities="float32", **options)
    return found


def assert_same(found, expected, card, window=None):
    if window is not None:
        expected = expected[:, *window.slices]
    np.testing.assert_array_equal(found.probabilities, expected)
    np.testing.assert_array_equal(found.classes, classes_of(expected, card))


@settings(SLOW, max_examples=120)
@given(data=st.data())
def test_tiles_add_up_to_the_whole_scene(models, data):
    bands = data.draw(st.sampled_from(sorted(models)), "bands")
    field = data.draw(st.integers(RECEPTIVE_FIELD, 30), "receptive field")
    model = with_receptive_field(models[bands], field)
    shape = data.draw(st.tuples(*[st.integers(100, 260) | st.integers(1, 100)] * 2), "shape")
    tile = data.draw(tiles(model.card), "tile")
    window = data.draw(windows(shape), "window")
    scene = array_scene(
        data.draw(st.integers(0, 2**16), "seed"), bands, shape, data.draw(st.integers(0, 4))
    )
    block = data.draw(st.tuples(*[st.integers(1, 100)] * 2), "rows and columns of a block")
    in_blocks, _ = watched(scene, block)
    least = data.draw(st.tuples(st.integers(1, 256), st.integers(1, 40_000)), "decoded at once")
    with least_block(*least):
        found = run(
            in_blocks,
            model,
            window=window,
            tile=tile,
            batch=data.draw(st.integers(1, 4), "batch"),
            threads=data.draw(st.integers(1, 4), "threads"),
        )
    event(f"{len(found.strips)} rows of tiles" if len(found.strips) < 3 else "many rows of tiles")
    assert_same(found, whole_scene(scene, model), model.card, window)


@pytest.mark.parametrize("halo", [0, RECEPTIVE_FIELD - 3])
def test_a_halo_that_is_too_small_shows(models, halo):
    """Without the halo the test above would fail: not only at zero, but a stride too few."""
    scene = array_scene(0, 3, (150, 170), 0)
    model = with_receptive_field(models[3], halo)
    assert model.card.halo < RECEPTIVE_FIELD
    found = run(scene, model, tile=64)
    assert (found.probabilities != whole_scene(scene, model)).any()


def test_what_is_beyond_the_tile_is_not_looked_at_when_all_fits_in_one(models):
    scene = array_scene(1, 4, (61, 75), 2)
    found = run(scene, models[4])
    assert len(found.strips) == 1
    assert_same(found, whole_scene(scene, models[4]), models[4].card)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return band_scene(tmp_path_factory.mktemp("files"))


def test_the_files_have_blocks_and_levels_of_many_kinds(files):
    sources = {name: band.finest.source for name, band in files.bands.items()}
    assert len({source.block for source in sources.values()}) == len(BANDS)
    assert [sources[n].factors for n in ("blue", "green", "red")] == [(1, 2), (1, 2, 4), (1,)]


@settings(SLOW, max_examples=25)
@given(data=st.data())
def test_files_of_several_resolutions_give_the_whole_scene(models, files, data):
    model = models[6]
    resolution = data.draw(st.sampled_from([10, 15, 20, 24, 30, 40, 60, 77.7]), "resolution")
    shape = files.grid_at(resolution).shape
    tile = data.draw(tiles(model.card), "tile")
    window = data.draw(windows(shape), "window")
    least = data.draw(st.sampled_from([(48, 1), (48, 9000), (256, 2_000_000)]), "decoded at once")
    with least_block(*least):
        found = run(
            files,
            model,
            resolution=resolution,
            window=window,
            tile=tile,
            batch=data.draw(st.integers(1, 3), "batch"),
            threads=data.draw(st.integers(1, 3), "threads"),
        )
    assert_same(found, whole_scene(files, model, resolution), model.card, window)
