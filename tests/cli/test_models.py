"""``nubila models``: the list, and a card, for people and as JSON."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
from typer.testing import CliRunner

from nubila.cli import app
from nubila.errors import InputError, ModelError, RecipeError
from nubila.models_io import CARD_KEY, ModelCard, registry
from nubila.models_io.metadata import copy_with_card
from tests.infer.toy import BANDS, toy_card, write_toy


def run(*arguments: object) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["models", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result.output


def told(*arguments: object) -> str:
    """Return what is printed, each line without the blanks at its ends."""
    return "\n".join(line.strip() for line in run(*arguments).splitlines())


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
    assert "random weights" in run("toy")
    assert "needs blue, green, red\n" in told("toy")
    assert "uses nir, cirrus, swir16 where" in told("toy")


@pytest.fixture
def known(shelf):
    """A model of which the card tells everything."""
    figures = {"iou": 0.8463, "iou_interval": [0.78, 0.9], "iou_scene_mean_scenes": 48}
    one = {"iou": 0.135, "iou_interval": [None, None], "iou_scene_mean_scenes": 1}
    scores = {
        "overall": {"scenes": 54, "all_cloud_iou": 0.4826, "cloud": figures, "cloud shadow": one},
        "alps": {"scenes": 1, "cloud": one | {"iou": 0.975, "precision": None}},
    }
    card = ModelCard.model_validate(
        toy_card().model_dump()
        | {
            "name": "known",
            "measured": ["cloud", "cloud shadow"],
            "stands_for": {"clear": ["clear", "water"]},
            "calibration": "temperature 0.7",
            "calibration_error": {"split": "validation", "ece": {"cloud": 0.02}},
            "operating_points": {"shy": {"thresholds": {"cloud": 0.22}, "about": "few [missed]"}},
            "training": [{"name": "drawn", "licence": "MIT", "images": 7, "url": "there"}],
            "recipe": "seed: 1\nsteps: 2000\n",
            "scores": {"validation": scores},
            "limits": ["Salt looks like cloud.", "Shores look like shadow."],
            "licence": "Apache-2.0",
            "parameters": 1211080,
        }
    )
    return write_toy(shelf / "known.onnx", metadata={CARD_KEY: card.model_dump_json()})


def test_a_screen_has_what_to_know_before_using_a_model(known):
    text = told("known")
    order = [
        "known, version 0",
        "measured on labels of people: cloud, cloud shadow",
        "not measured so: clear, thin cloud, snow, water",
        "clear is any of clear, water",
        "split validation, 54 scenes; all called cloud gives 48.3",
        "- Salt looks like cloud.",
        "shy: cloud from 22 %",
        "few [missed]",
        "split validation: cloud 2.0",
        "drawn (7)",
        "1,211,080 weights",
        "Apache-2.0",
        hashlib.sha256(known.read_bytes()).hexdigest(),
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert re.search(r"cloud +84\.6 +78\.0 to 90\.0 +- +- +- +48", text)
    assert re.search(r"cloud shadow +13\.5 +- +- +- +- +1\b", text)
    assert not re.search("steps: 2000|MIT|alps|[{}]", text)
    assert text.count("\n") < 40


def test_what_was_not_scored_is_not_called_measured(known):
    card = json.loads(run("known", "--json"))["card"] | {"scores": {}}
    text = told(write_toy(known, metadata={CARD_KEY: json.dumps(card)}))
    assert "clear, cloud, thin cloud, cloud shadow, snow, water\n" in text
    assert "clear is any of clear, water" in text and "labels of people" not in text


def test_all_of_a_card(known):
    text, screen = told("known", "--full"), told("known")
    assert text.startswith(screen[: screen.index("The rest")].rstrip())
    assert text.endswith("recipe\nseed: 1\nsteps: 2000\n")
    assert "alps of split validation, 1 scene\n" in text
    assert re.search(r"cloud +97\.5 ", text)
    for words in ("drawn MIT, there", "probabilities of clear, cloud", "15 pixels to each side"):
        assert words in text
    with pytest.raises(InputError, match="say of which model"):
        run("show", "--full")


def test_nothing_of_a_narrow_page_is_cut(known):
    narrow = CliRunner(env={"COLUMNS": "60"}).invoke(app, ["models", "known", "--full"]).output
    assert "…" not in narrow
    assert max(map(len, narrow.splitlines())) <= 60


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
