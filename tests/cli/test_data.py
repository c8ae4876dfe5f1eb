from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nubila.cli import app
from nubila.datasets import COLLECTIONS
from nubila.errors import InputError, NubilaError

RUNNER = CliRunner()


def run(*arguments: object):
    result = RUNNER.invoke(app, ["data", *map(str, arguments)])
    if isinstance(result.exception, NubilaError):
        raise result.exception
    return result


def test_list() -> None:
    assert {entry["name"] for entry in json.loads(run("list", "--json").stdout)} == {*COLLECTIONS}
    shown = run("list").stdout
    assert all(name in shown for name in COLLECTIONS)


def test_generate_and_check(tmp_path: Path) -> None:
    result = run("generate", "oncloudn", tmp_path, "--count", 4, "--size", 16)
    assert result.exit_code == 0
    result = run("check", "oncloudn", tmp_path)
    assert result.exit_code == 0
    assert result.stdout == "4 samples (train 2, validation 2): all is well\n"
    (tmp_path / "train_labels/aaaa.tif").unlink()
    (tmp_path / "train_features/aaab/B08.tif").write_bytes(b"no image")
    result = run("check", "oncloudn", tmp_path)
    assert result.exit_code == 2
    assert "aaaa.tif: missing" in result.stdout
    assert "B08.tif: unreadable" in result.stdout
    assert "4 samples (train 2, validation 2): 2 problems" in result.stdout
    told = json.loads(run("check", "oncloudn", tmp_path, "--json").stdout)
    assert len(told["problems"]) == 2


def test_check_of_a_manifest(tmp_path: Path) -> None:
    run("generate", "synth", tmp_path, "--count", 2, "--size", 16)
    result = run("check", tmp_path / "manifest.csv")
    assert (result.exit_code, result.stdout) == (
        0,
        "2 samples (train 1, validation 1): all is well\n",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("check", "cloud83", "x"), "did you mean 'cloud38'"),
        (("check", "cloud38"), "name the folder"),
        (("get", "cloud38", "x"), "without an account"),
        (("generate", "cloud83", "x"), "did you mean 'cloud38'"),
    ],
)
def test_errors(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        run(*arguments)
