from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from nubila.classes import CLASS_NAMES
from nubila.datasets import load_sample, read_manifest
from nubila.errors import ManifestError, OutputError
from nubila.recipe.data import Tiling
from nubila.tiles import TileStore, open_store, write, write_store
from nubila.tiles.split import assign_splits
from tests.tiles.toy import BANDS, contents, toy_specs, write_samples

SHAPES = [(40, 30), (16, 16), (50, 20), (33, 47), (20, 20), (64, 16)]
TILING = Tiling(size=16, overlap=4)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(write, "_SHARD_BYTES", 4 * 3 * 16 * 16 * 2)  # four tiles


def fill(specs, path, tiling=TILING, **options) -> TileStore:
    return write_store(specs, path, tiling, bands=BANDS, **{"workers": 1} | options)


def test_a_store_gives_back_every_pixel_and_says_where_it_is_from(tmp_path):
    specs = toy_specs(tmp_path / "data", SHAPES)
    store = fill(specs, tmp_path / "store")
    assert {p.name for p in tmp_path.iterdir()} == {"data", "store"}
    covered = {spec.id: np.zeros(shape, bool) for spec, shape in zip(specs, SHAPES, strict=True)}
    for tile in store:
        sample = load_sample(next(s for s in specs if s.id == tile.id))
        window = tuple(slice(start, start + 16) for start in tile.corner)
        np.testing.assert_array_equal(tile.image, sample.image[:, *window].astype(np.float16))
        np.testing.assert_array_equal(tile.label, sample.label[window])
        np.testing.assert_allclose(tile.statistics[4], sample.image.mean(axis=(1, 2)), rtol=1e-5)
        assert (tile.group, tile.folder) == (sample.meta.group, sample.meta.folder)
        covered[tile.id][window] = True
    assert all(seen.all() for seen in covered.values())


def test_the_table_counts_the_pixels_of_each_tile(tmp_path):
    store = fill(toy_specs(tmp_path / "data", SHAPES), tmp_path / "store")
    table = pd.read_parquet(tmp_path / "store" / "tiles.parquet")
    assert len(table) == len(store)
    assert table.date.unique().tolist() == [f"2020-01-0{day}" for day in range(1, 7)]
    for tile, (_, row), sets in zip(store, table.iterrows(), store.label_sets(), strict=True):
        for code, name in CLASS_NAMES.items():
            assert row[name] == np.count_nonzero(tile.label & (1 << code))
        np.testing.assert_array_equal(sets, np.bincount(tile.label.ravel(), minlength=64))


@pytest.mark.parametrize("size,overlap", [(224, 30), (256, 0), (384, 0), (512, 64)])
def test_the_sizes_of_the_five_efforts(tmp_path, size, overlap):
    store = fill(
        toy_specs(tmp_path / "data", [(600, 530)]),
        tmp_path / "s",
        Tiling(size=size, overlap=overlap),
    )
    assert store[0].image.shape == (3, size, size)
    rows, columns = np.max([tile.corner for tile in store], axis=0)
    assert (rows + size, columns + size) == (600, 530)


def test_workers_do_not_change_a_byte(tmp_path):
    specs = toy_specs(tmp_path / "data", SHAPES)
    fill(specs, tmp_path / "one")
    fill(specs, tmp_path / "three", workers=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "three")


_KILLED = """
import os, signal, sys
from nubila.datasets import read_manifest
from nubila.recipe.data import Tiling
from nubila.tiles import write
write._SHARD_BYTES = 4 * 3 * 16 * 16 * 2
whole = write.load_sample
def load(spec):
    if spec.id == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(spec)
write.load_sample = load
specs = read_manifest(sys.argv[1])
tiling = Tiling(size=16, overlap=4)
write.write_store(specs, sys.argv[2], tiling, bands=("blue", "green", "red"), workers=1)
"""


def test_a_killed_run_goes_on_where_it_was_and_ends_with_the_same_bytes(tmp_path, monkeypatch):
    manifest = write_samples(tmp_path / "data", SHAPES)
    store = tmp_path / "store"
    run = subprocess.run([sys.executable, "-c", _KILLED, manifest, store, "i4"], check=False)
    assert run.returncode == -9
    assert not store.exists()
    cut = []
    monkeypatch.setattr(write, "load_sample", lambda spec: cut.append(spec.id) or load_sample(spec))
    specs = read_manifest(manifest)
    fill(specs, store)
    assert "i0" not in cut and cut[-2:] == ["i4", "i5"] and len(cut) < len(SHAPES)
    fill(specs, tmp_path / "whole")
    assert contents(store) == contents(tmp_path / "whole")


@pytest.mark.parametrize("stop", range(1, 6))
def test_a_run_that_failed_anywhere_goes_on(tmp_path, monkeypatch, stop):
    specs = toy_specs(tmp_path / "data", SHAPES)

    def fail(spec):
        if spec.id == f"i{stop}":
            raise ManifestError("no such luck")
        return load_sample(spec)

    with monkeypatch.context() as patch:
        patch.setattr(write, "load_sample", fail)
        with pytest.raises(ManifestError, match=r"manifest.csv: line .*no such luck"):
            fill(specs, tmp_path / "store")
    journal = tmp_path / ".store.part" / "journal.jsonl"
    journal.write_text(journal.read_text() + '{"end": 3, "cor')  # a line that a kill cut off
    fill(specs, tmp_path / "store")
    fill(specs, tmp_path / "whole")
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_a_store_that_fits_is_not_made_again_and_another_is_refused(tmp_path, monkeypatch):
    specs = toy_specs(tmp_path / "data", SHAPES)
    fill(specs, tmp_path / "store")
    with monkeypatch.context() as patch:
        patch.setattr(write, "load_sample", None)
        fill(specs, tmp_path / "store")
    other = Tiling(size=16, overlap=0)
    with pytest.raises(OutputError, match=r"made of other samples.*\"overlap\": 4.*--refresh"):
        fill(specs, tmp_path / "store", other)
    assert fill(specs, tmp_path / "store", other, refresh=True).tiling["overlap"] == 0
    image = np.load(specs[0].images[0])
    np.save(specs[0].images[0], image + 1)
    os.utime(specs[0].images[0], (1, 1))
    with pytest.raises(OutputError, match="made of other samples"):
        fill(specs, tmp_path / "store", other)


@pytest.mark.parametrize("size", [16, 20])
def test_a_run_that_stopped_before_the_store_got_its_name(tmp_path, monkeypatch, size):
    specs = toy_specs(tmp_path / "data", SHAPES)
    with monkeypatch.context() as patch:
        patch.setattr(write, "_put_in_place", lambda *_: None)
        with pytest.raises(ManifestError):
            fill(specs, tmp_path / "store", Tiling(size=size, overlap=4))
    with monkeypatch.context() as patch:
        if size == 16:  # else it was of another tiling, and is cut from the first sample on
            patch.setattr(write, "load_sample", None)
        fill(specs, tmp_path / "store")
    fill(specs, tmp_path / "whole")
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_two_runs_do_not_fill_one_store_and_other_folders_are_left_alone(tmp_path):
    specs = toy_specs(tmp_path / "data", SHAPES)
    with pytest.raises(OutputError, match="no tile store"):
        fill(specs, tmp_path / "data")
    (tmp_path / ".store.part").mkdir()
    handle = os.open(tmp_path / ".store.part", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(OutputError, match="another process"):
        fill(specs, tmp_path / "store")
    os.close(handle)


def test_splits_dates_and_nothing_left(tmp_path):
    specs = toy_specs(tmp_path / "data", SHAPES)
    tiling = Tiling(size=16, splits={"train": 0.6, "test": 0.4}, dates=["2020-01-01", "2020-01-03"])
    store = fill(specs, tmp_path / "store", tiling)
    assert {tile.date for tile in store} == {"2020-01-01", "2020-01-03"}
    train, test = store.select("train"), store.select("test")
    assert len(train) + len(test) == len(store) == sum(store.splits.values())
    assert not {tile.group for tile in train} & {tile.group for tile in test}
    with pytest.raises(ManifestError, match=r"no tile has split 'tets'; did you mean 'test'"):
        store.select("tets")
    with pytest.raises(ManifestError, match=r"no sample is of tiling.dates 1999-01-01 \(found: 20"):
        fill(specs, tmp_path / "b", Tiling(dates=["1999-01-01"]))
    with pytest.raises(ManifestError, match="none of 6 samples"):
        fill(specs, tmp_path / "c", Tiling(size=16, least_share={"snow": 1}))


def test_a_choice_of_dates_leaves_every_group_in_its_split(tmp_path):
    specs = toy_specs(tmp_path, [(16, 16)] * 9)
    splits = {"train": 0.6, "validation": 0.4}
    known = dict(zip((s.group for s in specs), assign_splits(specs, splits), strict=True))
    dates = [f"2020-01-{number:02}" for number in (2, 3, 5, 7, 8)]
    found = fill(specs, tmp_path / "a", Tiling(size=16, splits=splits, dates=dates))
    some = dict(zip(found.column("group"), found.column("split"), strict=True))
    assert len(some) == 5 and some == {group: known[group] for group in some}


def test_a_store_of_nothing_or_of_the_future_is_an_error(tmp_path, monkeypatch):
    with pytest.raises(ManifestError, match="no tile store; make one with: nubila data tile"):
        open_store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(write, "VERSION", 99)
        with pytest.raises(ManifestError, match="version 99, expected 1"):
            fill(toy_specs(tmp_path / "data", SHAPES), tmp_path / "store")


def _read(job: tuple[TileStore, int]) -> np.ndarray:
    store, place = job
    return store[place].label


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_what_this_one_reads(tmp_path, method):
    specs = toy_specs(tmp_path / "data", SHAPES, split="train")
    store = fill(specs, tmp_path / "store").select("train")[2:]
    expected = [store[i].label for i in range(4)]
    with multiprocessing.get_context(method).Pool(1) as pool:
        found = pool.map_async(_read, [(store, i) for i in range(4)]).get(timeout=60)
    np.testing.assert_array_equal(found, expected)
    assert len(pickle.dumps(store)) < 3000


def test_a_forked_child_reads_through_the_open_store_itself(tmp_path):
    store = fill(toy_specs(tmp_path / "data", SHAPES), tmp_path / "store")
    expected = store[3].label  # opened here, before the fork
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=lambda: queue.put(store[3].label))
    child.start()
    np.testing.assert_array_equal(queue.get(timeout=60), expected)
    child.join()


@pytest.mark.parametrize("what", ["image", "label"])
def test_a_file_that_is_gone_is_an_error_and_not_an_empty_tile(tmp_path, what):
    store = fill(toy_specs(tmp_path / "data", SHAPES), tmp_path / "store")
    files = sorted(p for p in (tmp_path / "store" / what / "c").rglob("*") if p.is_file())
    files[0].unlink()
    with pytest.raises(ManifestError, match="a file of tile 0 is missing"):
        open_store(tmp_path / "store")[0]
    assert store[len(store) - 1].label.any()


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(write._Filler, "_write", full)
    with pytest.raises(OutputError, match="the disk is full"):
        fill(toy_specs(tmp_path / "data", SHAPES), tmp_path / "store")
