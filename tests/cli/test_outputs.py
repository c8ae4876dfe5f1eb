"""Outputs never replace what a command reads, or a table that it has not made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nubila.cli import main
from nubila.curate.review import ReviewStore
from nubila.models_io import find_model
from tests.curate.samples import write_samples


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    random = np.random.default_rng(3)
    images = [random.uniform(0, 0.6, (4, 32, 32)) for _ in range(6)]
    masks = [(image[0] > 0.3).astype(np.uint8) for image in images]
    cells = [{"group": str(number), "split": "train"} for number in range(6)]
    return write_samples(tmp_path, images, masks, cells)


def _ends(
    arguments: list[object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["nubila", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), " ".join(capsys.readouterr().err.split())


def test_no_command_replaces_what_it_reads(
    labels: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = labels.with_name("own.onnx")
    model.write_bytes(find_model("small-int8").read_bytes())
    before = {path: path.read_bytes() for path in (labels, model)}
    commands: list[list[object]] = [
        ["audit", labels, "-o", labels],
        ["ensemble", model, "small", "--data", labels, "-o", model],
        ["tune", model, "--data", labels, "--split", "train", "--trials", "1", "-o", model],
        ["pseudo-label", labels, "--by", "brightness", "-o", labels.parent],
        ["auto-mask", labels, "--clouds", "brightness", "-o", labels.parent],
    ]
    for command in commands:
        code, said = _ends(command, monkeypatch, capsys)
        assert code == 2, command
        assert "is read and would be replaced" in said, command
        assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(
    "command", [["pseudo-label", "--by", "brightness"], ["auto-mask", "--clouds", "brightness"]]
)
def test_a_table_of_another_hand_is_not_replaced(
    labels: Path,
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = labels.with_name("images.csv")
    other.write_bytes(labels.read_bytes())
    code, said = _ends([*command, other, "-o", labels.parent], monkeypatch, capsys)
    assert code == 2
    assert "manifest.csv: is there already and has no column 'sure'" in said
    assert labels.read_bytes() == other.read_bytes()
    again = [*command, other, "-o", labels.with_name("out")]
    for _ in range(2):  # its own it replaces
        assert _ends(again, monkeypatch, capsys)[0] == 0


def test_exported_decisions_do_not_replace_the_manifest(
    labels: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ReviewStore(labels.with_suffix(".review.db")).close()
    before = labels.read_bytes()
    code, said = _ends(["review", labels, "--export", labels], monkeypatch, capsys)
    assert code == 2
    assert "is read and would be replaced" in said
    assert labels.read_bytes() == before


@pytest.mark.parametrize("command", [["ensemble", "compact", "small"], ["tune", "small"]])
@pytest.mark.parametrize(
    ("name", "message"),
    [("both.csv", "both.csv: expected a name that ends in .onnx"), ("", "this is a folder")],
)
def test_a_model_is_written_to_an_onnx_file(
    labels: Path,
    command: list[str],
    name: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = labels.parent / name
    before = set(labels.parent.rglob("*"))
    arguments = [*command, "--data", labels, "--split", "train", "-o", target]
    code, said = _ends(arguments, monkeypatch, capsys)
    assert code == 2
    assert message in said
    assert set(labels.parent.rglob("*")) == before


def test_a_run_is_exported_to_an_onnx_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = _ends(["export", tmp_path / "run", "-o", "model.txt"], monkeypatch, capsys)
    assert code == 2
    assert "model.txt: expected a name that ends in .onnx" in said
