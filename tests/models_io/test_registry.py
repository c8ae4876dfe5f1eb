from __future__ import annotations

from pathlib import Path

import pytest

from nubila.errors import ModelError
from nubila.models_io import find_model, list_models, load_model, registry


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of weights of our own; finding does not open the files."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in ("large", "compact-int8", "compact"):
        (folder / f"{name}.onnx").write_bytes(b"")
    (folder / "README.txt").write_text("not a model")
    monkeypatch.setattr(registry, "WEIGHTS", folder)
    return folder


def test_models_are_listed_by_name_and_the_first_is_the_default(shelf):
    assert list(list_models()) == ["compact-int8", "compact", "large"]
    assert find_model() == shelf / "compact-int8.onnx"


def test_a_model_is_found_by_name_or_path(shelf, tmp_path):
    other = tmp_path / "mine.onnx"
    other.write_bytes(b"")
    assert find_model("large") == shelf / "large.onnx"
    assert find_model(str(other)) == find_model(other) == other


def test_a_path_is_a_file_though_a_shipped_model_is_called_so(shelf, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = Path("large")
    own.write_bytes(b"")
    assert find_model(own) == own
    assert find_model("large") == shelf / "large.onnx"


def test_the_nearest_name_is_suggested(shelf):
    with pytest.raises(ModelError, match=r"no model 'compcat'; did you mean 'compact'.*large"):
        find_model("compcat")


def test_an_installation_without_weights_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    assert list_models() == {}
    with pytest.raises(ModelError, match="no model ships"):
        find_model()


@pytest.mark.parametrize("name", sorted(list_models()))
def test_shipped_files_are_named_after_their_cards(name):
    card = load_model(name).card
    assert card.name == name
    assert card.summary and card.training


def test_without_a_name_the_default_is_loaded():
    assert load_model().card.name == next(iter(list_models()))
