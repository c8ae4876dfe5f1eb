from __future__ import annotations

import json

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from nubila.cli.data_tiles import show, stats, tile
from nubila.datasets import read_manifest
from nubila.errors import InputError, ManifestError, NubilaError
from nubila.tiles import open_store
from tests.tiles.toy import write_samples

app = typer.Typer()
for command in (tile, stats, show):
    app.command()(command)


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if isinstance(result.exception, NubilaError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_samples(tmp_path_factory.mktemp("data"), [(40, 50), (32, 32), (20, 70)])


@pytest.fixture(scope="module")
def store(manifest):
    path = manifest.parent / "store"
    output = run("tile", manifest, "-o", path, "--size", 16, "--overlap", 4,
                 "--deal", "train=0.6", "--deal", "test=0.4", "--workers", 2)  # fmt: skip
    assert "of 16 x 16" in output and "split    train" in output
    return path


def test_tile_cuts_a_manifest(store):
    found = open_store(store)
    assert found.bands == ("blue", "green", "red")
    assert found.tiling["overlap"] == 4 and set(found.splits) == {"train", "test"}


def test_tile_takes_bands_windows_dates_and_shares(manifest, tmp_path):
    run("tile", manifest, "-o", tmp_path / "s", "--size", 16, "--bands", "nir,B04", "--required",
        "red", "--windows", 3, "--date", "2020-01-02", "--least-share", "cloud=0.01")  # fmt: skip
    found = open_store(tmp_path / "s")
    assert found.bands == ("nir", "red") and len(found) == 3
    assert {t.date for t in found} == {"2020-01-02"}


@pytest.mark.parametrize(
    "arguments,message",
    [
        (("--size", 8), "--size: .*16"),
        (("--overlap", 256), "overlap 256 is not smaller"),
        (("--least-share", "fog=0.1"), "--least-share: no class 'fog'"),
        (("--least-share", "cloud"), "expected name=share"),
        (("--date", "May"), "--dates: 'May' is no date"),
        (("--required", "nir"), "band nir is absent"),
    ],
)
def test_tile_says_what_is_wrong(manifest, tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        run("tile", manifest, "-o", tmp_path / "s", *arguments)
    assert not (tmp_path / "s").exists()


def test_stats_of_a_manifest_and_of_a_store(manifest, store, tmp_path):
    output = run("stats", manifest, "-o", tmp_path / "a")
    found = json.loads((tmp_path / "a" / "statistics.json").read_text())
    assert found["images"] == len(read_manifest(manifest))
    assert f"pos_weight {found['pos_weight']:.4f}" in output
    assert Image.open(tmp_path / "a" / "statistics.png").width > 800
    run("stats", store, "-o", tmp_path / "b", "--split", "test",
        "--classes", "ground=clear|snow|water;shadow=shadow;cloud=cloud|thin")  # fmt: skip
    found = json.loads((tmp_path / "b" / "statistics.json").read_text())
    assert list(found["counts"]) == ["ground", "shadow", "cloud"] and found["pos_weight"] is None
    assert found["images"] == open_store(store).splits["test"]


def test_show_draws_a_sheet_of_samples_or_tiles(manifest, store, tmp_path):
    for source, count in ((manifest, 3), (store, 5)):
        run("show", source, "-o", tmp_path / "sheet.png", "--count", count, "--side", 64)
        page = Image.open(tmp_path / "sheet.png")
        assert page.height == -(-count // 2) * (64 + 24) + 30
    with pytest.raises(InputError, match="no id holds it"):
        run("show", store, "-o", tmp_path / "sheet.png", "--match", "nowhere")


def test_a_source_that_is_none_says_so(tmp_path, store):
    with pytest.raises(ManifestError, match="say where it lies: --root"):
        run("stats", "cloud38", "-o", tmp_path)
    with pytest.raises(ManifestError, match="neither a manifest nor a tile store"):
        run("stats", tmp_path, "-o", tmp_path)
    with pytest.raises(InputError, match="a tile store already"):
        run("tile", store, "-o", tmp_path / "s")
