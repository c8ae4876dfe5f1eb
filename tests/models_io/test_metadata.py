import numpy as np
import onnx
import pytest

from nubila.errors import ModelError
from nubila.models_io import CARD_KEY, OperatingPoint, copy_with_card, load_model
from tests.infer.toy import toy_card, write_toy


@pytest.fixture
def model(tmp_path):
    return write_toy(
        tmp_path / "toy.onnx",
        metadata={"author": "somebody", CARD_KEY: toy_card().model_dump_json(), "z": "x" * 300},
    )


def other_card(name="other"):
    point = OperatingPoint(thresholds={"cloud": 0.25}, dilate=20)
    return toy_card(name=name).model_copy(update={"operating_points": {"balanced": point}})


def test_only_the_card_changes(model, tmp_path):
    target = tmp_path / "other.onnx"
    copy_with_card(model, target, other_card())
    before, after = onnx.load(model), onnx.load(target)
    # As another library reads both files.
    found = {entry.key: entry.value for entry in after.metadata_props}
    assert found == {"author": "somebody", "z": "x" * 300, CARD_KEY: other_card().model_dump_json()}
    for part in (before, after):
        del part.metadata_props[:]
    assert before == after
    graph = before.graph.SerializeToString()
    assert graph in model.read_bytes() and graph in target.read_bytes()
    onnx.checker.check_model(after)
    image = np.random.default_rng(0).random((1, 6, 8, 8)).astype(np.float32)
    old, new = load_model(model), load_model(target)
    np.testing.assert_array_equal(old.run(image), new.run(image))
    assert new.card == other_card() and old.card == toy_card()


def test_in_place_and_again_gives_the_same_bytes(model):
    copy_with_card(model, model, other_card("a much longer name than before"))
    copy_with_card(model, model, other_card())
    once = model.read_bytes()
    copy_with_card(model, model, other_card())
    assert model.read_bytes() == once
    assert [e.key for e in onnx.load(model).metadata_props].count(CARD_KEY) == 1


@pytest.mark.parametrize("content", [b"II*\x00 a TIFF file", b"\x0a\xff\xff\xff\x7f", b"\x80"])
def test_another_kind_of_file_is_told(content, tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"x\.onnx: not an ONNX file, or cut short"):
        copy_with_card(path, tmp_path / "y.onnx", toy_card())
    assert not (tmp_path / "y.onnx").exists()
