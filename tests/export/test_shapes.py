"""Outputs, fixed sizes and flips, held to NumPy; and networks that see whole tiles or scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from nubila.detect import View, open_detector
from nubila.errors import InputError
from nubila.export import ExportOptions, export_onnx
from nubila.infer import predict
from nubila.infer.decide import decide
from nubila.models_io import load_model
from nubila.train import load_recipe
from tests.toy_run import write_toy_recipe

_TWO = {
    "bands": ["blue", "green", "red", "nir"],
    "classes": {"clear": ["clear", "cloud shadow", "water"], "cloud": ["cloud", "thin cloud"]},
    "export": {"name": "two"},
}


def untrained(folder: Path, name: str, changes: dict[str, object]) -> Path:
    """Make a run folder of a network with random weights."""
    import yaml

    import nubila.nn  # noqa: F401 (mends torchvision, which State brings in)
    from nubila.train.state import State

    recipe = load_recipe(folder / "toy.yaml")
    changed = type(recipe).model_validate(recipe.model_dump() | changes)
    run = folder / name
    run.mkdir()
    (run / "recipe.yaml").write_text(
        yaml.safe_dump(changed.model_dump(mode="json"), sort_keys=False)
    )
    State.start(changed).save(run / "best.ckpt")
    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("shapes")
    write_toy_recipe(made)
    return made


@pytest.fixture(scope="module")
def two(folder: Path) -> Path:
    return untrained(folder, "two", _TWO)


def export(run: Path, name: str, **options: object) -> tuple[Path, list[str]]:
    lines: list[str] = []
    path = export_onnx(run, run / name, options=ExportOptions(**options), report=lines.append)
    return path, lines


def outputs(path: Path, image: np.ndarray) -> np.ndarray:
    """What a runtime that knows nothing of nubila gives."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"reflectance": image})
    return found


def image(shape: tuple[int, ...]) -> np.ndarray:
    values = np.random.default_rng(1).uniform(0, 1.2, shape).astype(np.float32)
    values[:, 3, :5] = np.nan
    return values


@pytest.fixture(scope="module")
def plain(two: Path) -> Path:
    return export(two, "plain.onnx")[0]


def test_the_tiny_contract(two: Path, plain: Path) -> None:
    path, _ = export(two, "mask.onnx", output="mask", size=224)
    assert path.stat().st_size < 250e6
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,), (gives,) = session.get_inputs(), session.get_outputs()
    assert given.type == "tensor(float)" and given.shape[1:] == [4, 224, 224]
    assert gives.shape[1:] == [224, 224]
    for number in (1, 3):
        seen = image((number, 4, 224, 224))
        found = outputs(path, seen)
        assert found.shape == (number, 224, 224) and set(np.unique(found)) <= {0, 1}
        expected = outputs(plain, seen)
        sure = np.abs(expected[:, 1] - 0.5) > 1e-4
        np.testing.assert_array_equal(found[sure], expected.argmax(axis=1)[sure])
    card = load_model(path).card
    assert card.classes == ("clear", "cloud") and card.tile == 224
    assert card.stands_for["cloud"] == ("cloud", "thin cloud")
    # nubila runs it too, on any size.
    seen = image((1, 4, 300, 250))[0]
    mask = predict(seen, "blue,green,red,nir", model=path)
    assert set(np.unique(mask.classes)) <= {0, 1, 255}


def test_flips_are_means_over_turned_images_and_a_fixed_batch_holds(two: Path) -> None:
    plain, _ = export(
        two, "logits.onnx", output="logits", size=32, batch=2, flips="eight", force=True
    )
    seen = image((2, 4, 32, 32))
    with pytest.raises(Exception, match="Got: 1 Expected: 2"):
        outputs(plain, seen[:1])

    def softmax(turned: np.ndarray, path: Path = plain) -> np.ndarray:
        values = np.exp(outputs(path, np.ascontiguousarray(turned)))
        return values / values.sum(axis=1, keepdims=True)

    found = softmax(seen, two / "logits-flips-eight.onnx")
    total = np.zeros_like(found)
    for quarter in range(4):
        for mirrored in (False, True):
            turned = np.rot90(seen, quarter, axes=(2, 3))
            turned = turned[..., ::-1] if mirrored else turned
            answer = softmax(turned)
            answer = answer[..., ::-1] if mirrored else answer
            total += np.rot90(answer, -quarter, axes=(2, 3))
    np.testing.assert_allclose(found, total / 8, atol=1e-5)
    assert load_model(two / "logits-flips-eight.onnx").batch == 2


@pytest.mark.parametrize("over", ["chip", "scene"])
def test_a_network_that_sees_whole_tiles_or_scenes(folder: Path, over: str) -> None:
    changes = {"chip": 64, "normalise": {"name": "percentiles", "over": over}}
    path, lines = export(untrained(folder, over, _TWO | changes), "whole.onnx")
    assert any("largest difference" in line for line in lines)
    card = load_model(path).card
    if over == "chip":
        assert card.receptive_field is None and card.tile == 64 and card.halo == 16
    else:
        assert card.tile is None and card.statistics == ("p2", "p98")
    seen = image((1, 4, 100, 150))[0]
    asked = {"bands": "blue,green,red,nir", "model": path, "probabilities": True}
    one, two = (predict(seen, threads=threads, **asked) for threads in (1, 2))
    np.testing.assert_array_equal(one.probabilities, two.probabilities)


def test_what_does_not_fit_is_told(two: Path) -> None:
    with pytest.raises(InputError, match=r"size 30 is no multiple of 4.*give 32"):
        export(two, "x.onnx", size=30)
    with pytest.raises(InputError, match="flips must be one of none, horizontal"):
        ExportOptions(flips="sixteen")
    with pytest.raises(InputError, match="prune is a share"):
        ExportOptions(prune=30)


def test_a_network_that_decides_by_kind_does_so_in_every_form(folder: Path) -> None:
    # So biased that cloud and ground are about as likely.
    biases = {"cloud": 0.35, "thin cloud": 0.3, "clear": -0.3}
    about = {"name": "kinds", "decision": "kind", "biases": biases}
    run = untrained(folder, "kinds", {"export": about})
    plain, _ = export(run, "kinds.onnx")
    card = load_model(plain).card
    assert card.decision == "kind" and len(card.classes) == 6
    seen = image((1, len(card.bands), 64, 64))
    shares = outputs(plain, seen)[0]
    decided = decide(shares, card)
    assert (decided != np.array(card.class_codes)[shares.argmax(axis=0)]).any()
    assert 0.02 < np.isin(decided, (1, 2)).mean() < 0.98
    called = outputs(export(run, "classes.onnx", output="classes")[0], seen)[0]
    np.testing.assert_array_equal(called, decided)
    cloudy = outputs(export(run, "mask.onnx", output="mask")[0], seen)[0]
    np.testing.assert_array_equal(cloudy == 1, np.isin(decided, (1, 2)))
    view = View(seen[0], tuple(band.name for band in card.bands), resolution=10.0)
    for name in (str(plain), f"{plain}+hflip"):
        assert open_detector(name).detect(view).decision == "kind"
    found = open_detector(str(plain)).detect(view)
    judged = found.classes != 255
    np.testing.assert_array_equal(found.classes[judged], decided[judged])
