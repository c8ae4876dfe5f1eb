from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nubila.cli import app, main
from nubila.errors import InputError, ManifestError
from nubila.models_io import load_model
from tests.toy_run import write_toy_recipe


def test_train_then_export(tmp_path: Path) -> None:
    recipe, run, model = write_toy_recipe(tmp_path), tmp_path / "my run", tmp_path / "my toy.onnx"
    runner = CliRunner()
    arguments = ["train", str(recipe), "-o", str(run), "--set", "steps=2"]
    done = runner.invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0 and f"nubila export '{run}' -o model.onnx" in done.output
    arguments = ["export", str(run), "-o", str(model)]
    done = runner.invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0 and "largest difference from PyTorch" in done.output
    assert f"nubila mask SCENE --model '{model}'" in done.output
    assert load_model(model).card.name == "toy"


def test_a_wrong_recipe_is_one_message_and_code_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_toy_recipe(tmp_path)
    monkeypatch.setattr("sys.argv", ["nubila", "train", str(recipe), "--set", "optim.rate=1"])
    with pytest.raises(SystemExit) as exit_info:
        main()
    assert exit_info.value.code == 2
    message = capsys.readouterr().err
    assert "unknown key 'optim.rate'" in message and "Traceback" not in message


def test_a_recipe_is_checked_with_what_is_set(tmp_path: Path) -> None:
    arguments = ["recipe", "check", str(write_toy_recipe(tmp_path)), "--set", "optim.lr=0.125"]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0 and "lr: 0.125" in done.output


@pytest.mark.parametrize("command", ["train", "run"])
def test_a_list_without_splits_is_told_before_anything_is_imported_or_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    recipe, run = write_toy_recipe(tmp_path), tmp_path / "run"
    manifest = tmp_path / "toy.csv"
    manifest.write_text(manifest.read_text().replace(",train,", ",,").replace(",validation,", ",,"))
    for name in ("nubila.nn", "nubila.train.loop", "nubila.pipeline"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it would fail
    with pytest.raises(ManifestError, match=r"found: no split at all\); fill in the column split"):
        CliRunner().invoke(app, [command, str(recipe), "-o", str(run)], catch_exceptions=False)
    assert not run.exists()


def test_a_folder_of_no_run_is_told(tmp_path: Path) -> None:
    arguments = ["export", str(tmp_path), "-o", str(tmp_path / "model.onnx")]
    with pytest.raises(InputError, match=f"{tmp_path}: no run folder of nubila train"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


@pytest.mark.parametrize(
    "command", [["recipe", "check"], ["run"], ["train"], ["sweep"], ["slurm"], ["rounds"]]
)
def test_help_says_where_paths_of_a_change_are_taken_from(command: list[str]) -> None:
    done = CliRunner().invoke(app, [*command, "--help"])
    text = " ".join(done.output.replace("│", " ").split())
    assert "Paths are taken from the recipe's folder" in text
