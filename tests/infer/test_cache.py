"""Counts are decoded once and held no longer than needed."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nubila.infer.cache import CountCache
from nubila.infer.engine import run_scene
from nubila.infer.plan import make_plan
from nubila.models_io import load_model
from nubila.raster import Window
from nubila.scenes.array import scene_from_array
from tests.infer.band_files import band_scene
from tests.infer.strategies import SLOW, least_block, tiles, windows
from tests.infer.toy import BANDS, toy_card, write_toy
from tests.infer.whole import Collected, watched


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(write_toy(tmp_path_factory.mktemp("model") / "toy.onnx"))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return band_scene(tmp_path_factory.mktemp("files"))


def by_level(log):
    """Return the windows read of each level of each file, and hold that they share no pixel."""
    levels = {}
    for name, factor, window in log:
        levels.setdefault((name, factor), []).append(window)
    for level, read in levels.items():
        times = np.zeros((max(w.stop_row for w in read), max(w.stop_column for w in read)), int)
        for window in read:
            times[window.slices] += 1
        assert times.max() == 1, level
    return levels


@settings(SLOW, max_examples=25)
@given(data=st.data())
def test_no_level_and_no_block_is_read_twice(model, files, data):
    resolution = data.draw(st.sampled_from([10, 15, 20, 24, 30, 40, 60, 77.7]), "resolution")
    window = data.draw(windows(files.grid_at(resolution).shape), "window")
    pixels = data.draw(st.sampled_from([1, 9000, 2_000_000]), "decoded at once")
    scene, log = watched(files)
    with least_block(48, pixels):
        run_scene(
            scene,
            model,
            sink=Collected(),
            resolution=resolution,
            window=window,
            tile=data.draw(tiles(model.card), "tile"),
            threads=data.draw(st.integers(1, 3), "threads"),
        )
    levels = by_level(log)
    assert len({name for name, _ in levels}) == len(levels) == len(BANDS)
    for (name, factor), read in levels.items():
        shape, block = next(
            (f.source.shape, f.source.block)
            for band in files.bands.values()
            for f in band.files
            if f.source.name == name
        )
        height = -(-48 // block[0]) * block[0]
        width = -(-pixels // (height * block[1])) * block[1]
        bottom = -(-shape[0] // factor)
        left, right = min(w.column for w in read), max(w.stop_column for w in read)
        assert all(w.row % height == 0 for w in read)
        assert all(w.stop_row == min(w.row + height, bottom) for w in read)
        assert all(w.column == left or w.column % width == 0 for w in read)
        assert all(w.stop_column in (right, (w.column // width + 1) * width) for w in read)


def test_two_bands_of_one_file_are_read_once(model):
    """A model that takes nir of a scene with nir08 alone reads it for both names once."""
    scene = scene_from_array(np.ones((4, 90, 80), np.uint16), (*BANDS[:3], "nir08"), scale=1e-4)
    scene, log = watched(scene, (16, 500))
    with least_block(1):
        run_scene(scene, model, sink=Collected(), tile=60)
    assert len(by_level(log)) == 4


def test_only_the_columns_of_an_area_are_read(model):
    scene = scene_from_array(np.ones((4, 400, 500), np.uint16), BANDS[:4], scale=1e-4)
    scene, log = watched(scene, (16, 500))
    with least_block(1):
        run_scene(scene, model, sink=Collected(), window=Window(200, 300, 10, 10))
    halo = model.card.halo
    for read in by_level(log).values():
        assert {w.column for w in read} <= set(range(300 - halo - 8, 300 - halo + 1))
        assert {w.stop_column for w in read} <= set(range(310 + halo, 310 + halo + 8))
        assert read[0].row >= 200 - halo - 20 and read[-1].stop_row <= 210 + halo + 20


class Counting(CountCache):
    """Notes how many counts it holds at most."""

    def __init__(self, needs):
        super().__init__(needs)
        self.held = self.most = 0

    def decode(self, block):
        super().decode(block)
        self.held = sum(c.size for c in list(self._counts.values()))
        self.most = max(self.most, self.held)


def most_held(model, monkeypatch, shape, threads):
    made = []

    def make(needs):
        made.append(Counting(needs))
        return made[-1]

    monkeypatch.setattr("nubila.infer.engine.CountCache", make)
    values = np.broadcast_to(np.uint16(500), (4, *shape))
    scene, _ = watched(scene_from_array(values, BANDS[:4], scale=1e-4), (16, 32))
    with least_block(1):
        run_scene(scene, model, sink=Collected(), tile=80, threads=threads)
    (cache,) = made
    assert not cache._counts, "nothing is held when all is done"
    return cache.most


@pytest.mark.parametrize("threads", [1, 3])
def test_what_is_held_does_not_grow_with_the_length_of_the_scene(model, monkeypatch, threads):
    """At most the counts of four rows of tiles: two that run, one ahead, one not yet dropped."""
    bands, halo_and_blocks, columns = 4, 2 * 16, 64
    most = 4 * bands * (80 + halo_and_blocks) * columns
    for rows in (600, 6000):
        held = most_held(model, monkeypatch, (rows, columns), threads)
        assert held <= most < bands * rows * columns


@pytest.mark.parametrize("threads", [1, 3])
def test_of_a_wide_scene_little_more_than_a_row_of_tiles_is_held(model, monkeypatch, threads):
    """What its tiles see, and of the next row what the few tiles ahead see."""
    bands, columns = 4, 4000
    rows_of_blocks = 80 + 2 * 16
    held = most_held(model, monkeypatch, (600, columns), threads)
    assert held <= bands * rows_of_blocks * (columns + (threads + 3) * 80)


def test_a_slow_sink_does_not_make_the_engine_run_ahead(model):
    """While the sink has the first strip, at most the tasks that were handed out run on."""
    values = np.broadcast_to(np.uint16(500), (4, 4000, 64))
    scene, log = watched(scene_from_array(values, BANDS[:4], scale=1e-4), (16, 500))
    seen = []

    def sink(strip):
        if strip.row == 0:
            time.sleep(0.3)
            seen.append(max(w.stop_row for _, _, w in log))

    with least_block(1):
        run_scene(scene, model, sink=sink, tile=80, threads=2)
    assert seen[0] < 500


def blocks_of(scene, **options):
    plan = make_plan(
        scene,
        toy_card(),
        **{"resolution": None, "window": None, "threads": 1, "tile": 80} | options,
    )
    needs = plan.needs(plan.batches(1))
    return needs, CountCache(needs)


def test_every_block_arrives_once_before_it_leaves_once(files):
    with least_block(16):
        needs, cache = blocks_of(files, resolution=20)
    arriving = {b: i for i, row in enumerate(cache.arriving) for b in row}
    leaving = {b: i for i, row in enumerate(cache.leaving) for b in row}
    assert sum(len(row) for row in cache.arriving) == len(arriving) > 10
    assert sum(len(row) for row in cache.leaving) == len(leaving)
    assert arriving.keys() == leaving.keys()
    assert all(arriving[b] <= leaving[b] for b in arriving)
    assert len(needs) > 1


def test_a_window_is_put_together_from_its_blocks(files):
    with least_block(16):
        by_batch, cache = blocks_of(files, resolution=10)
        for blocks in cache.arriving:
            for block in blocks:
                cache.decode(block)
        needs = [need for batch in by_batch for need in batch]
        rng = np.random.default_rng(0)
        scene = cache.over(files)
        cached = {b.finest.source.name: b.finest.source for b in scene.bands.values()}
        for need in needs:
            window = need.window
            first = window.row + int(rng.integers(window.height))
            part = Window(
                first, window.column + 1, window.stop_row - first, max(1, window.width - 2)
            )
            expected = need.source.read(need.factor, part)
            np.testing.assert_array_equal(
                cached[need.source.name].read(need.factor, part), expected
            )


def test_what_was_not_foreseen_is_read_from_the_file(files):
    scene, log = watched(files)
    _, cache = blocks_of(scene, resolution=10)
    over = cache.over(scene)
    log.clear()
    found = over.read(["blue"], Window(10, 10, 5, 5), 10)
    np.testing.assert_array_equal(
        found.reflectance, files.read(["blue"], Window(10, 10, 5, 5), 10).reflectance
    )
    assert len(log) == 1
