from __future__ import annotations

from dataclasses import replace

from nubila.infer import mask_scene
from nubila.infer.statistics import Statistics
from nubila.models_io import load_model
from tests.infer.scenes import BANDS, scene
from tests.infer.toy import write_toy


def test_a_mask_is_printed_in_a_line_without_its_arrays(tmp_path):
    mask = mask_scene(scene("X1"), model=load_model(write_toy(tmp_path / "toy.onnx", bands=BANDS)))
    few = replace(mask, statistics=Statistics({0: 9_998, 1: 2}, {0: 10_000}, 400.0))
    rows, columns = mask.grid.shape
    assert repr(few) == (
        f"<CloudMask of X1: {rows} x {columns} at {mask.grid.resolution:g} m, clear 100.0 %, "
        f"cloud < 0.1 %; model {mask.card.name}, version {mask.card.version}>"
    )
    empty = replace(mask, statistics=Statistics({0: 0}, {0: 0}, 400.0))
    assert "m, no data; model" in repr(empty)
