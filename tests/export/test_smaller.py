from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnxruntime.quantization.calibrate import HistogramCalibrater

from nubila.export.smaller import quantise
from nubila.models_io import load_model
from nubila.models_io.registry import WEIGHTS


def test_ranges_are_taken_image_by_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # All activations of all images at once are gigabytes for a large network.
    given: list[int] = []
    collect: Callable[[Any, Any], None] = HistogramCalibrater.collect_data

    def counted(self: Any, reader: Any) -> None:
        inputs = []
        while (one := reader.get_next()) is not None:
            inputs.append(one)
        given.append(len(inputs))
        left = iter(inputs)
        collect(self, type("Reader", (), {"get_next": lambda _: next(left, None)})())

    monkeypatch.setattr(HistogramCalibrater, "collect_data", counted)
    model = load_model(WEIGHTS / "small.onnx")
    random = np.random.default_rng(1)
    images = [random.uniform(0, 1, (1, 7, 64, 64)).astype(np.float32) for _ in range(5)]
    images[1][:, 4:] = np.nan  # bands that an image lacks
    card = model.card.model_copy(update={"name": "small-int8"})
    target = tmp_path / "int8.onnx"
    quantise(WEIGHTS / "small.onnx", card, target, ({"reflectance": one} for one in images))
    assert given == [1] * 5
    made = load_model(target)
    assert made.card.name == "small-int8"
    for image in images:
        assert np.abs(made.run(image) - model.run(image)).mean() < 0.03
