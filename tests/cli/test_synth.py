"""``nubila synth``: what is written, and what is said about it."""

from __future__ import annotations

from pathlib import Path

import pytest
import rasterio
from typer.testing import CliRunner

from nubila.cli import app
from nubila.errors import InputError


def run(*arguments: object) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["synth", *map(str, arguments)])
    assert result.exit_code == 0, result.exception
    return result.output


def test_safe(tmp_path: Path) -> None:
    text = run(tmp_path, "--size", 60, "--level", "L2A", "--zip", "--baseline", "02.14")
    product = next(tmp_path.glob("*.zip"))
    assert product.name.startswith("S2A_MSIL2A_") and "_N0214_" in product.name
    assert f"product  {product}" in text
    for resolution in (10, 20, 60):
        truth = tmp_path / f"{product.stem}_truth_{resolution}m.tif"
        assert f"truth    {truth} ({resolution} m)" in text and truth.is_file()
    shares = [line for line in text.splitlines() if line.endswith("%")]
    assert len(shares) == 6
    assert sum(float(line.split()[-1].rstrip("%")) for line in shares) == pytest.approx(
        100, abs=0.1
    )


def test_landsat_and_geotiff(tmp_path: Path) -> None:
    run(tmp_path, "-f", "landsat", "--size", 40, "--sensor", "landsat-etm+", "--gaps")
    assert next(tmp_path.glob("LE07_L1TP_*_02_T1")).is_dir()
    run(tmp_path / "scene.tif", "-f", "geotiff", "--size", 30, "--resolution", 30, "--seed", 4)
    with rasterio.open(tmp_path / "scene.tif") as data:
        assert data.shape == (30, 30) and data.count == 13 and data.res == (30, 30)


def test_a_format_that_there_is_not(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["synth", str(tmp_path), "--format", "landsta"])
    text = " ".join(result.output.replace("│", "").split())
    assert result.exit_code == 2 and "Value error" not in text
    assert "no 'landsta'; did you mean 'landsat'? (known: safe, landsat, geotiff)" in text


def test_wrong_words(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["synth", str(tmp_path), "--preset", "snwo"])
    assert isinstance(result.exception, InputError) and "did you mean" in str(result.exception)
    result = CliRunner().invoke(app, ["synth", str(tmp_path), "--gaps"])
    assert result.exit_code == 2 and "only --format landsat" in result.output
    result = CliRunner().invoke(app, ["synth", str(tmp_path), "--sensor", "landsat-tm"])
    assert result.exit_code == 2 and "sentinel-2-msi" in result.output
    for words, said in (
        (["-f", "landsat", "--baseline", "04.00"], "only --format safe"),
        (["--resolution", "20"], "only --format geotiff"),
    ):
        result = CliRunner().invoke(app, ["synth", str(tmp_path), *words])
        assert result.exit_code == 2 and said in " ".join(result.output.replace("│", "").split())
    for wrong in ("0", "nan", "-10"):
        given = ["synth", str(tmp_path / "a.tif"), "-f", "geotiff", "--resolution", wrong]
        result = CliRunner().invoke(app, given)
        assert isinstance(result.exception, InputError), wrong
    assert not list(tmp_path.iterdir())


def test_a_geotiff_is_one_file_and_not_packed(tmp_path: Path) -> None:
    words = ("-f", "geotiff", "--size", "30")
    for name, rest, said in (
        ("a.tif", ["--zip"], "--zip"),
        ("scene", [], "scene.tif"),
        ("", [], "scene.tif"),
    ):
        result = CliRunner().invoke(app, ["synth", str(tmp_path / name), *words, *rest])
        assert isinstance(result.exception, InputError) and said in str(result.exception)
    assert not list(tmp_path.iterdir())
