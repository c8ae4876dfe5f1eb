"""``nubila info``: everything that was understood is printed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from typer.testing import CliRunner

from nubila.cli import app
from tests.scenes.landsat_product import LandsatProduct
from tests.scenes.safe_product import SafeSpec, write_safe
from tests.scenes.test_stac import planetary_sentinel


def info(*arguments: object) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["info", *map(str, arguments)])
    assert result.exit_code == 0, result.exception
    return result.output


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_safe(tmp_path_factory.mktemp("info"), SafeSpec(level="L2A"))


def test_text(product: Path) -> None:
    text = info(product)
    for said in (
        product.stem,
        "Sentinel-2A (sentinel-2-msi)",
        "L2A",
        "05.09",
        "2023-08-21T10:10:21",
        "48 x 48 at 10 m, EPSG:32633",
        "300000 4999560 300480 5000040",
        "longitude 12.000 to 13.000, latitude 44.000 to 45.000",
        "elevation 49.5, azimuth 150.2",
        "scl",
        "BOA quantification 10000, BOA_ADD_OFFSET -1000",
    ):
        assert said in text
    blue = next(line.split() for line in text.splitlines() if line.startswith("blue"))
    assert blue == ["blue", "B02", "10/20/60", "0.0001", "-0.1", "0", "65535"]


def test_json(product: Path) -> None:
    facts = json.loads(info(product, "--json"))
    assert facts["id"] == product.stem
    assert facts["shape"] == [48, 48]
    assert facts["missing"] == {}
    bands = {band["name"]: band for band in facts["bands"]}
    assert len(bands) == 12
    assert bands["red"]["resolutions"] == [10, 20, 60]
    assert bands["red"]["offset"] == pytest.approx(-0.1)
    assert np.allclose(facts["footprint"]["coordinates"][0][0], [12, 45])


def test_missing_files_are_named(tmp_path: Path) -> None:
    product = write_safe(tmp_path, SafeSpec())
    lost = next(product.rglob("*_B04.jp2"))
    lost.unlink()
    assert f"missing: {lost.relative_to(product).as_posix()}" in info(product)
    assert list(json.loads(info(product, "--json"))["missing"]) == ["red"]


def test_a_band_that_another_stands_in_for_is_told_as_not_listed(tmp_path: Path) -> None:
    product = write_safe(tmp_path, SafeSpec(level="L2A"))
    for path in product.rglob("*_10m.jp2"):
        path.unlink()
    text = " ".join(info(product).split())
    assert "missing: 3 files:" in text and "note: 4 of the " in text
    assert "B08 (nir, 10 m) is not there, but not listed as missing" in text


def test_platforms_have_the_names_that_people_use(tmp_path: Path) -> None:
    assert "Landsat 8 (landsat-oli)" in info(LandsatProduct().write(tmp_path))


def test_many_missing_files_are_one_line_a_folder(tmp_path: Path) -> None:
    product = write_safe(tmp_path, SafeSpec(level="L2A"))
    for path in product.rglob("*.jp2"):
        path.unlink()
    lines = [line for line in info(product).splitlines() if "missing:" in line]
    folder = "GRANULE/L2A_T33UUU_A042640_20230821T101024/IMG_DATA/R10m"
    expected = f"4 files: {folder}/T33UUU_20230821T101021_{{B02, B03, B04, B08}}_10m.jp2"
    assert f"  missing: {expected}" in lines
    assert len(lines) == 3
    missing = json.loads(info(product, "--json"))["missing"]
    assert sum(map(len, missing.values())) == 25


def test_bands_scaled_alike_are_one_line(tmp_path: Path) -> None:
    item, _ = planetary_sentinel(tmp_path, baseline="05.09")
    (tmp_path / "item.json").write_text(json.dumps(item))
    (line,) = [t for t in info(tmp_path / "item.json").splitlines() if "scale and offset" in t]
    assert line.endswith("asset '{B02, B04, B05 and 4 more}': processing baseline 05.09")
    item["assets"]["B04"]["raster:bands"] = [{"scale": 1e-4, "offset": -0.1}]
    (tmp_path / "item.json").write_text(json.dumps(item))
    lines = [t for t in info(tmp_path / "item.json").splitlines() if "scale and offset" in t]
    assert len(lines) == 2 and "asset 'B04': scale and offset in the item" in lines[1]


def test_rasters_one_a_band(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}_patch_1.tif" for name in ("blue", "green", "red")]
    for path in paths:
        with rasterio.open(
            path, "w", driver="GTiff", count=1, height=8, width=8, dtype="uint16",
            crs="EPSG:32633", transform=Affine(10, 0, 3e5, 0, -10, 5e6),
        ) as data:  # fmt: skip
            data.write(np.full((1, 8, 8), 500, np.uint16))
            data.scales = (1e-4,)
    text = info(";".join(map(str, paths)), "--bands", "blue,green,red")
    assert text.startswith("patch_1\n")
    assert f"from: tags of {tmp_path}/{{blue, green, red}}_patch_1.tif" in text


def test_several_granules(tmp_path: Path) -> None:
    tiles = ("T33UUU", "T33UVU")
    spec = SafeSpec(layout="old", baseline="02.01", offset=None, size=24, tiles=tiles)
    product = write_safe(tmp_path, spec)
    text = info(product)
    assert all(f"{product.stem}_{tile}" in text or tile in text for tile in tiles)
    assert len(json.loads(info(product, "--json"))) == 2


def test_real_metadata(shared_data: Path) -> None:
    for path in sorted(shared_data.glob("sentinel2_metadata/*.SAFE")):
        text = info(path)
        assert "metadata alone" in text
        assert "quantification 10000" in text
        assert "B02, B03" in text


def test_brackets_in_names_are_no_markup_and_nan_is_json(tmp_path: Path) -> None:
    folder = tmp_path / "[old] [bold]"
    folder.mkdir()
    path = folder / "a[red].tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=2, height=8, width=8, dtype="float32",
        crs="EPSG:32633", transform=Affine(10, 0, 3e5, 0, -10, 5e6), nodata=float("nan"),
    ) as data:  # fmt: skip
        data.write(np.full((2, 8, 8), 0.1, np.float32))
        data.descriptions = ("blue", "[/y]")
    text = info(path)
    assert text.startswith("a[red]")
    assert f"band 2 of {path} ([/y]) is none that nubila knows" in text.replace("\n", "")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    facts = json.loads(info(path, "--json"), parse_constant=refuse)
    assert facts["bands"][0]["nodata"] == "nan"
