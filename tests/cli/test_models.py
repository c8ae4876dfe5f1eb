"""``nubila models``: the list, and a card, for people and as JSON."""

from __future__ import annotations

import hashlib
import json

import pytest
from typer.testing import CliRunner

from nubila.cli import app
from nubila.errors import ModelError
from nubila.models_io import CARD_KEY, registry
from tests.infer.toy import BANDS, toy_card, write_toy


def run(*arguments: object) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["models", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result.output


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    write_toy(tmp_path / "toy.onnx")
    write_toy(tmp_path / "visible.onnx", bands=BANDS[:3])
    return tmp_path


def test_the_list_for_people(shelf):
    text = run()
    assert "toy" in text and "visible" in text
    assert "blue green red (nir) (cirrus) (swir16)" in text
    assert "10-60" in text


def test_the_list_as_json(shelf):
    found = json.loads(run("--json"))
    assert [m["card"]["name"] for m in found] == ["toy", "visible"]
    assert found[1]["sha256"] == hashlib.sha256((shelf / "visible.onnx").read_bytes()).hexdigest()


def test_a_card_by_name_and_by_path(shelf):
    assert json.loads(run("toy", "--json"))["card"] == toy_card().model_dump(mode="json")
    assert run("visible") == run(shelf / "visible.onnx")
    assert "random weights" in run("toy") and "nir (optional)" in run("toy")


def test_an_empty_shelf_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    assert "no model ships" in run()
    assert json.loads(run("--json")) == []


def test_an_unknown_name_is_an_error(shelf):
    with pytest.raises(ModelError, match="did you mean 'visible'"):
        run("visibel")


def test_brackets_are_no_markup(shelf):
    card = toy_card().model_copy(update={"summary": "weights of [red] [/] brackets"})
    write_toy(shelf / "toy.onnx", metadata={CARD_KEY: card.model_dump_json()})
    assert "[red] [/] brackets" in run() and "[red] [/] brackets" in run("toy")


def test_a_file_that_is_no_model_is_an_error(shelf):
    (shelf / "visible.onnx").write_bytes((shelf / "visible.onnx").read_bytes()[:1000])
    for arguments in ([], ["visible"], ["--json"]):
        with pytest.raises(ModelError, match=r"visible\.onnx: .*cut short"):
            run(*arguments)
