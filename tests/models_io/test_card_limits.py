"""What a card may not say, through the file that has it."""

from __future__ import annotations

import json

import pytest

from nubila.errors import ModelError
from nubila.models_io import CARD_KEY, load_model
from tests.infer.toy import toy_card, write_toy


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 3}, "format 3.*newer nubila"),
        ({"format": 3, "stride": None, "strides": [8, 8]}, "format 3.*newer nubila"),
        ({"format": 0}, "format"),
        ({"receptive_field": None}, "tile must say what the network sees"),
        ({"tile": 30}, "tile 30 is no whole number"),
        ({"classes": ["clear", "cloud", "cloud"]}, "classes name one twice"),
        ({"resolution": [30, 10]}, "smallest and the largest"),
    ],
)
def test_a_card_out_of_limits_is_told(tmp_path, change, said):
    card = json.dumps(toy_card().model_dump(mode="json") | change)
    file = write_toy(tmp_path / "toy.onnx", metadata={CARD_KEY: card})
    with pytest.raises(ModelError, match=rf"toy\.onnx(.|\n)*{said}") as caught:
        load_model(file)
    assert ("stride" in str(caught.value)) is False
