"""``nubila models``: the list, and a card, for people and as JSON."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
from typer.testing import CliRunner

from nubila.cli import app
from nubila.errors import ModelError, RecipeError
from nubila.models_io import CARD_KEY, registry
from nubila.models_io.metadata import copy_with_card
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


def test_what_a_mask_suffers_without_a_band(shelf):
    card = toy_card(BANDS)
    bands = [use.model_copy(update={"without": "sand is cloud"}) for use in card.bands[-1:]]
    told = card.model_copy(update={"bands": (*card.bands[:-1], *bands)})
    copy_with_card(shelf / "toy.onnx", shelf / "toy.onnx", told)
    assert f"without {bands[0].name}, sand is cloud" in run("show", "toy")
    assert "without" not in run("show", "visible")


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
    assert "[red] [/] brackets" in run("toy")


def test_a_file_that_is_no_model_is_an_error(shelf):
    (shelf / "visible.onnx").write_bytes((shelf / "visible.onnx").read_bytes()[:1000])
    for arguments in ([], ["visible"], ["--json"]):
        with pytest.raises(ModelError, match=r"visible\.onnx: .*cut short"):
            run(*arguments)


def test_a_name_alone_is_shown(shelf):
    assert run("toy") == run("show", "toy")


def test_the_networks_with_their_options():
    text = run("networks")
    assert "widths: [64, 128, 256, 512, 1024]" in text and "recurrences: 2" in text
    assert set(json.loads(run("networks", "--json"))) >= {"unet", "cloudnet", "library"}


def test_the_summary_of_a_network():
    pytest.importorskip("torch")
    text = run("summary", "unet", "--bands", 13, "--classes", 4, "--set", "widths=[4, 8]")
    assert "ConvTranspose2d" in text and "receptive field" in text
    options = ("--bands", 4, "--classes", 2, "--size", 224, "--json")
    assert json.loads(run("summary", "tiny", *options))["parameters"] == 543_521


def test_the_summary_of_a_recipe(tmp_path):
    pytest.importorskip("torch")
    recipe = tmp_path / "small.yaml"
    lines = ("steps: 1", "bands: [red, green, blue]", "data: {manifest: a.csv, root: .}")
    recipe.write_text("\n".join((*lines, "model: {name: simple}")))
    found = json.loads(run("summary", recipe, "--size", 64, "--json"))
    assert found["layers"][0]["shape"] == [6, 64, 64]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["unt"], "no network 'unt'; did you mean 'unet'"),
        (["unet", "--set", "width=[4, 8]"], "did you mean 'widths'"),
        (["cloudnet", "--set", "widths=[4, 8, 12]"], "width 12 is not twice 8"),
    ],
)
def test_a_summary_that_cannot_be_is_an_error(arguments, message):
    with pytest.raises(RecipeError, match=re.escape(message)):
        run("summary", *arguments)
