from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nubila.recipe.data import Synth
from nubila.train import pool as pool_module
from nubila.train.pool import synthetic_pool


def _lines(spec: Synth, seed: int = 3) -> tuple[list[str], list[np.ndarray], list[np.ndarray]]:
    lines: list[str] = []
    chips = synthetic_pool(spec, seed, lines.append)
    return lines, [np.array(c.image) for c in chips], [np.array(c.label) for c in chips]


def test_chips_are_made_once_and_are_as_the_network_takes_them(tmp_path: Path) -> None:
    spec = Synth(chips=4, cache=tmp_path / "cache")
    lines, images, labels = _lines(spec)
    assert lines == [f"making 4 synthetic chips in {tmp_path / 'cache'}"]
    assert images[0].shape == (7, 256, 256) and labels[0].shape == (256, 256)
    # One class a pixel, or ignored; no cirrus at the ground, where every other chip is.
    assert set(np.unique(labels)) <= {0, 1, 2, 4, 8, 16, 32}
    assert [bool(np.isnan(image[6]).all()) for image in images] == [False, True, False, True]
    lines, again, _ = _lines(spec)
    assert lines == []
    np.testing.assert_array_equal(images, again)


def test_another_seed_makes_other_chips_and_none_need_no_folder(tmp_path: Path) -> None:
    spec = Synth(chips=1, cache=tmp_path)
    assert not np.array_equal(_lines(spec, 1)[1], _lines(spec, 2)[1], equal_nan=True)
    assert synthetic_pool(Synth(cache=tmp_path / "none"), 1, print) == []
    assert not (tmp_path / "none").exists()


def test_chips_of_an_older_generator_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = Synth(chips=2, cache=tmp_path)
    _, images, _ = _lines(spec)
    monkeypatch.setattr(pool_module, "_PRESETS", ("ocean",))
    lines, others, _ = _lines(spec)
    assert lines and not np.array_equal(images, others, equal_nan=True)


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    spec = Synth(chips=1, cache=tmp_path)
    _, images, _ = _lines(spec)
    (file,) = tmp_path.glob("*image.npy")
    file.write_bytes(file.read_bytes()[:100])
    lines, again, _ = _lines(spec)
    assert lines
    np.testing.assert_array_equal(images, again)
