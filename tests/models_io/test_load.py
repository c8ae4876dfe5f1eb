from __future__ import annotations

import hashlib
import json

import numpy as np
import onnx
import onnxruntime
import pytest

from nubila.errors import ModelError
from nubila.models_io import CARD_KEY, load_model
from tests.infer.toy import BANDS, CLASSES, STRIDE, toy_card, write_toy


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("load") / "toy.onnx")


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).random((2, len(BANDS), 24, 32)).astype(np.float32)


def test_what_a_model_says_of_itself(file):
    model = load_model(file)
    assert model.card == toy_card()
    assert model.path == str(file)
    assert model.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_running_gives_what_the_plain_runtime_gives(file, image):
    plain = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    wanted = plain.run(None, {"reflectance": image})[0]
    model = load_model(file)
    out = np.zeros((2, len(CLASSES), 24, 32), np.float32)
    np.testing.assert_allclose(model.run(image), wanted, atol=1e-6)
    assert model.run(image, out) is out
    assert np.array_equal(out, model.run(image))


def test_the_number_of_threads_does_not_change_the_answer(file, image):
    one, three = (load_model(file, threads=n).run(image) for n in (1, 3))
    np.testing.assert_allclose(one, three, atol=1e-4)


def test_an_input_that_does_not_fit_is_told(file):
    wrong = np.zeros((1, len(BANDS) + 1, 4 * STRIDE, 4 * STRIDE), np.float32)
    with pytest.raises(ModelError, match=r"toy\.onnx.*shape \(1, 7, 16, 16\)"):
        load_model(file).run(wrong)


def damaged(kind, file, folder):
    """Write a file that is no usable model."""
    path = folder / "wrong.onnx"
    if kind == "no card":
        return write_toy(path, metadata={"author": "somebody"})
    if kind == "card not JSON":
        return write_toy(path, metadata={CARD_KEY: "{"})
    if kind == "card without stride":
        card = toy_card().model_dump_json(exclude={"stride"})
        return write_toy(path, metadata={CARD_KEY: card})
    if kind == "card of another model":
        return write_toy(path, metadata={CARD_KEY: toy_card(BANDS[:4]).model_dump_json()})
    if kind == "other names":
        model = onnx.load(file)
        for node in model.graph.node:
            node.input[:] = ["image" if n == "reflectance" else n for n in node.input]
        model.graph.input[0].name = "image"
        onnx.save(model, path)
        return path
    whole = file.read_bytes()
    contents = {"cut short": whole[: len(whole) // 2], "empty": b"", "text": b"hello"}
    path.write_bytes(contents[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("no card", f"{CARD_KEY}' is missing.*author.*nubila export"),
        ("card not JSON", "does not hold"),
        ("card without stride", "stride"),
        ("card of another model", "by the card it is any x 4 x any x any"),
        ("other names", "no input 'reflectance'.*image"),
        ("cut short", "cut short"),
        ("empty", "not an ONNX model"),
        ("text", "not an ONNX model"),
    ],
)
def test_what_is_no_model_is_told(kind, told, file, tmp_path):
    path = damaged(kind, file, tmp_path)
    with pytest.raises(ModelError, match=told) as caught:
        load_model(path)
    assert str(path) in str(caught.value)


def test_a_file_cut_short_anywhere_is_told(file, tmp_path):
    whole = file.read_bytes()
    path = tmp_path / "short.onnx"
    for length in (*range(0, len(whole), 997), *range(len(whole) - 700, len(whole), 53)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match=r"short\.onnx"):
            load_model(path)


BLUE = {"name": "blue", "required": True}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"bands": [{"name": "blu", "required": True}]}, "did you mean 'blue'"),
        ({"bands": [BLUE, BLUE]}, "bands name one twice"),
        ({"bands": []}, "bands"),
        ({"classes": ["clear", "clowd"]}, "did you mean 'cloud'"),
        ({"classes": ["shadow", "cloud shadow"]}, "classes name one twice"),
        ({"format": 3}, "format"),
        ({"colour": "red"}, "colour: Extra inputs"),
        ({"stride": 0}, "stride: .*greater than or equal to 1"),
        ({"receptive_field": -1}, "receptive_field"),
        ({"resolution": [60, 10]}, "smallest and the largest, got 60.0, 10.0"),
        ({"operating_points": {"few": {"cloud": 1.5}}}, "'few': 'cloud' = 1.5"),
        ({"operating_points": {"few": {"fog": 0.5}}}, "unknown class 'fog'"),
    ],
)
def test_a_card_that_does_not_hold_is_told(change, told, tmp_path):
    card = json.loads(toy_card().model_dump_json()) | change
    path = write_toy(tmp_path / "toy.onnx", metadata={CARD_KEY: json.dumps(card)})
    with pytest.raises(ModelError, match=told) as caught:
        load_model(path)
    assert str(path) in str(caught.value)


def test_a_graph_of_other_numbers_is_told(tmp_path):
    kind = onnx.TensorProto.DOUBLE
    ports = [
        onnx.helper.make_tensor_value_info(name, kind, ["n", channels, "h", "w"])
        for name, channels in (("reflectance", 6), ("probabilities", 6))
    ]
    node = onnx.helper.make_node("Identity", ["reflectance"], ["probabilities"])
    graph = onnx.helper.make_graph([node], "double", ports[:1], ports[1:])
    made = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.helper.set_model_props(made, {CARD_KEY: toy_card().model_dump_json()})
    onnx.save(made, tmp_path / "double.onnx")
    with pytest.raises(
        ModelError, match=r"double\.onnx: input 'reflectance' is a tensor\(double\)"
    ):
        load_model(tmp_path / "double.onnx")


def test_an_absent_file_is_told(tmp_path):
    with pytest.raises(ModelError, match=r"no model '.*absent\.onnx' \(shipped: .*no such file"):
        load_model(tmp_path / "absent.onnx")


@pytest.mark.parametrize(
    ("provider", "told"),
    [
        ("tpu", "unknown provider 'tpu'"),
        ("cuda", "install onnxruntime-gpu"),
        ("openvino", "install onnxruntime-openvino"),
    ],
)
def test_a_provider_that_is_not_there_is_told(provider, told, file, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ModelError, match=told):
        load_model(file, provider=provider)


def test_halo_is_the_receptive_field_in_whole_strides():
    card = toy_card()
    halos = {n: card.model_copy(update={"receptive_field": n}).halo for n in (0, 1, 4, 5)}
    assert halos == {0: 0, 1: 4, 4: 4, 5: 8}


def test_an_input_off_the_stride_or_an_output_of_another_shape_is_told(file, image):
    model = load_model(file)
    with pytest.raises(ModelError, match="failed on an input of shape"):
        model.run(np.ascontiguousarray(image[:, :, :23]))
    with pytest.raises(ModelError, match="failed on an input of shape"):
        model.run(image, np.zeros((2, len(CLASSES), 20, 32), np.float32))


def test_an_input_that_is_a_view_gives_the_same_answer(file, image):
    model = load_model(file)
    turned = np.asfortranarray(image)
    assert np.array_equal(model.run(turned), model.run(image))
