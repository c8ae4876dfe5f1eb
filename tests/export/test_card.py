import json
from pathlib import Path
from typing import Any

import pytest

from nubila.errors import InputError
from nubila.export.card import _portable, build_card, read_scores
from nubila.export.options import Shape
from nubila.nn import build_network
from nubila.recipe import Recipe, load_recipe


def test_a_card_holds_no_path_of_the_machine_that_made_it(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "steps: 1\n"
        "data: {manifest: deep/m.csv, root: deep/images}\n"
        "finetune: {start_from: runs/first}\n"
        "mask: {auxiliary: {elevation: deep/dem.tif}}\n"
        "labels: {steps: [{name: auto_mask, manifests: [deep/a.csv, deep/b.csv]}]}\n"
    )
    text = _portable(load_recipe(path))
    assert str(tmp_path) not in text and "deep" not in text
    for name in ("m.csv", "a.csv", "b.csv", "dem.tif", "first"):
        assert name in text


@pytest.mark.parametrize(
    ("drawn", "measured"),
    [
        ({0b101001, 0b10}, ("clear", "cloud")),
        ({0b100, 0b11}, ("cloud",)),  # of a label that leaves open which output, nothing is known
        ({0b1000}, ("clear",)),
        (set(), ()),
    ],
)
def test_a_card_calls_its_own_outputs_measured(drawn: set[int], measured: tuple[str, ...]) -> None:
    classes = {
        "clear": ["clear", "cloud shadow", "snow", "water"],
        "cloud": ["cloud", "thin cloud"],
    }
    given = {"steps": 1, "data": {"manifest": "m.csv", "root": "."}, "model": {"widths": [8, 8]}}
    recipe = Recipe.model_validate(given | {"classes": classes})
    network = build_network(recipe)
    card = build_card(
        recipe, network, Shape(), training=(), drawn=drawn, calibration="none", scores={}
    )
    assert card.measured == measured


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"cloud": {"iou": 0.5}}, "under 'overall'; found cloud"),
        ({"overall": {"iuo": 0.5}}, "under 'overall'; found overall"),
        ({}, "under 'overall'; found nothing"),
        ({"models": {}}, "under 'overall'; found models"),
        ({"models": {"x": {"folders": {}}}}, "under 'overall'; found folders"),
        ({"models": [1]}, "models: expected a JSON object, found [1]"),
        ({"models": {"x": 3}}, "models.x: expected a JSON object, found 3"),
        ({"overall": [0.5]}, "overall: expected a JSON object, found [0.5]"),
        ({"overall": {"scenes": 2}, "folders": 7}, "folders: expected a JSON object, found 7"),
        ({"overall": {"scenes": 2}, "folders": {"a": "b"}}, "folders.a: expected a JSON object"),
        ({"overall": {"scenes": 2}, "protocol": "x"}, "protocol: expected a JSON object"),
        (
            {"models": {"x": {"overall": {"scenes": 2}}}, "protocol": {"detectors": [1]}},
            "protocol.detectors: expected a JSON object, found [1]",
        ),
    ],
)
def test_what_is_no_scores_is_named(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as raised:
        read_scores(path, "x")
    assert str(raised.value).startswith(f"{path}: ")
    assert message in str(raised.value)


def test_scores_of_some_bands_are_no_scores_of_a_card(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    scores = {"overall": {"cloud": {"iou": 0.5}}, "protocol": {"split": "v", "bands": ["red"]}}
    path.write_text(json.dumps(scores))
    with pytest.raises(InputError, match=r"shown in red alone"):
        read_scores(path)


def test_scores_of_an_evaluation_need_no_name(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text(json.dumps({"overall": {"scenes": 2, "cloud": {"iou": 0.5, "dice": 0.6}}}))
    assert read_scores(path) == {"all": {"overall": {"scenes": 2, "cloud": {"iou": 0.5}}}}


_PART = {"overall": {"scenes": 2, "cloud": {"iou": 0.5}}}
_ALONE = {"model": "small", "model_sha256": "5ca1ab1e"}
# As nubila evaluate writes them of one model and of several, and as nubila compare does.
_FORMS: dict[str, dict[str, Any]] = {
    "evaluate": _PART | {"protocol": _ALONE},
    "evaluate several": {"models": {"small": _PART}, "protocol": {"models": {"small": _ALONE}}},
    "compare": {
        "models": {"small": _PART},
        "protocol": {"detectors": {"small": {"outputs": [], "sha256": "5ca1ab1e"}}},
    },
}


def _written(path: Path, scores: dict[str, Any]) -> Path:
    path.write_text(json.dumps(scores), encoding="utf-8")
    return path


@pytest.mark.parametrize("form", _FORMS)
def test_scores_are_of_the_file_that_carries_them(tmp_path: Path, form: str) -> None:
    path = _written(tmp_path / "scores.json", _FORMS[form])
    expected = {"all": _PART}
    assert read_scores(path, "small") == read_scores(path, "small", "5ca1ab1e") == expected
    with pytest.raises(InputError, match=r"of another file, of SHA-256 5ca1ab1e; .* 0ddba11"):
        read_scores(path, "small", "0ddba11")


@pytest.mark.parametrize("form", _FORMS)
def test_scores_at_an_operating_point_are_no_scores_of_a_card(tmp_path: Path, form: str) -> None:
    scores = json.loads(json.dumps(_FORMS[form]))
    scores["protocol"]["operating_point"] = "permissive"
    with pytest.raises(InputError, match="operating point 'permissive'"):
        read_scores(_written(tmp_path / "scores.json", scores), "small")


@pytest.mark.parametrize(
    "scores",
    [
        _PART | {"protocol": _ALONE | {"model": "somebody-elses"}},
        _PART,
        # Two models of one name go by their files', of which one may be another model's name.
        {"models": {"small": _PART}, "protocol": {"models": {"small": {"model": "large"}}}},
    ],
)
def test_scores_of_another_model_are_refused(tmp_path: Path, scores: dict[str, Any]) -> None:
    path = _written(tmp_path / "scores.json", scores)
    with pytest.raises(InputError, match=r"are of (somebody-elses|large|a model that it .*small)"):
        read_scores(path, "small")


def test_a_path_of_pretrained_weights_is_a_name_on_the_card(tmp_path: Path) -> None:
    weights = tmp_path / "encoder.pth"
    model = {"name": "library", "weights": str(weights)}
    values = {"data": {"manifest": "a.csv", "root": "."}, "steps": 1, "model": model}
    told = _portable(Recipe.model_validate(values))
    assert str(tmp_path) not in told and "encoder.pth" in told
