from __future__ import annotations

import os
import re
import tracemalloc

import numpy as np
import pytest

from nubila.errors import ModelError
from nubila.evaluate.compare_report import _speed_section
from nubila.evaluate.compare_speed import (
    ROUNDS,
    Speed,
    measure_speed,
    speed_document,
    speed_view,
)


def test_each_in_a_process_of_its_own() -> None:
    steps: list[int] = []
    names = {"bright": "brightness", "product": "product", "all": "all-cloud"}
    found = measure_speed(names, side=128, progress=steps.append)
    assert [speed.name for speed in found] == ["bright", "all"], "the image has no mask of its own"
    for speed in found:
        assert len(speed.wall) == len(speed.cpu) == ROUNDS
        assert min(speed.wall) > 0
        # Python with NumPy and ONNX Runtime; the test's own process is larger by pytest at least.
        assert 20 << 20 < speed.before <= speed.peak < 1 << 30
    assert steps[-1] == 3 + 2 * ROUNDS


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(ModelError, match=r"what: its speed cannot be measured: .*nothing-like-it"):
        measure_speed({"what": "nothing-like-it"}, side=64)


def test_a_process_that_warns_a_lot_is_not_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    # More than a pipe holds, said before the process opens its detector.
    monkeypatch.setenv("PYTHONVERBOSE", "2")
    (found,) = measure_speed({"all": "all-cloud"}, side=64)
    assert found.name == "all"


def test_ratios_are_of_the_medians() -> None:
    mib = 1 << 20
    found = [
        Speed("ours", (0.9, 0.9, 0.9), (0.5, 0.1, 0.2), before=100 * mib, peak=150 * mib),
        Speed("peer", (9.0,) * 3, (2.0, 4.0, 2.0), before=100 * mib, peak=900 * mib),
    ]
    document = speed_document(found, side=1000, threads=1, peer="peer")
    ours, peer = document["detectors"].values()
    assert ours["megapixels_per_cpu_second"] == 5
    assert ours["times_first"] == 1
    assert ours["times_peer"] == 10
    assert peer["times_first"] == 0.1
    assert (ours["own_mib"], peer["peak_mib"]) == (50, 900)
    assert speed_document(found[:1], side=9, threads=1, peer="peer")["peer"] is None


def test_the_image_is_the_same_each_time_and_is_reflectance() -> None:
    view = speed_view(100)
    np.testing.assert_array_equal(view.image, speed_view(100).image)
    assert view.image.shape == (13, 100, 100)
    assert 0 < view.image.min() < view.image.max() <= 1.5


@pytest.mark.parametrize("side", [64, 100])
def test_the_image_is_what_all_bands_at_once_would_give(side: int) -> None:
    random = np.random.default_rng(0)
    coarse = random.normal(size=(1, 3 + side // 64, 3 + side // 64))
    blobs = np.kron(coarse, np.ones((64, 64)))[0, :side, :side]
    noise = random.normal(0, 0.01, (13, side, side))
    whole = np.clip(0.1 + 0.5 * (1 / (1 + np.exp(-3 * blobs))) + noise, 0.001, 1.5)
    np.testing.assert_array_equal(speed_view(side).image, whole.astype(np.float32))


def test_making_the_image_holds_little_more_than_the_image() -> None:
    tracemalloc.start()
    size = speed_view(512).image.nbytes
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < peak < 1.5 * size


def _can_forget() -> bool:
    return os.access("/proc/self/clear_refs", os.W_OK)


@pytest.mark.skipif(not _can_forget(), reason="this system cannot count a peak anew")
def test_memory_before_is_what_is_held_with_the_image_and_not_what_making_it_took() -> None:
    small, large = (measure_speed({"all": "all-cloud"}, side=side)[0] for side in (64, 1024))
    image = 13 * 1024 * 1024 * 4
    assert 0.9 * image < large.before - small.before < 1.15 * image


@pytest.mark.parametrize(("side", "times"), [(512, 4), (1024, 2.25), (5490, 1.7)])
def test_how_much_more_ukis_csmask_judges_is_as_the_report_says(side: int, times: float) -> None:
    utils = pytest.importorskip("ukis_csmask.utils")
    image = np.zeros((side, side, 1), np.uint8)
    tiles = utils.tile_array(image, xsize=256, ysize=256, overlap=0.2)
    assert len(tiles) * 256**2 / side**2 == pytest.approx(times, abs=0.01)
    speed = speed_document(
        [Speed("ukis-csmask-4", (0.1,), (0.1,), before=1, peak=2)], side=side, threads=1, peer=None
    )
    assert re.search(
        rf"\b{times} times (the pixels|those) of {side} x {side}", _speed_section(speed)
    )


def test_a_report_without_ukis_csmask_says_nothing_of_its_tiles() -> None:
    speed = speed_document(
        [Speed("ours", (0.1,), (0.1,), before=1, peak=2)], side=512, threads=1, peer=None
    )
    page = _speed_section(speed)
    assert "own MiB" in page
    assert "ukis-csmask" not in page
