from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nubila.recipe import Recipe
from nubila.synth.measured import MeasuredSpectra
from nubila.train import pool as pool_module
from nubila.train.pool import synthetic_pool


def _recipe(cache: Path, chips: int, **changes: object) -> Recipe:
    values = {
        "steps": 1,
        "seed": 3,
        "data": {"manifest": "any.csv", "root": "."},
        "synth": {"chips": chips, "cache": cache},
    }
    return Recipe.model_validate(values | changes)


def _lines(recipe: Recipe) -> tuple[list[str], list[np.ndarray], list[np.ndarray]]:
    lines: list[str] = []
    chips = synthetic_pool(recipe, lines.append)
    return lines, [np.array(c.image) for c in chips], [np.array(c.label) for c in chips]


def test_chips_are_made_once_and_are_as_the_network_takes_them(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path / "cache", 4)
    lines, images, labels = _lines(recipe)
    assert lines == [f"making 4 synthetic chips in {tmp_path / 'cache'}, 0.0 GiB"]
    assert images[0].shape == (7, 256, 256) and labels[0].shape == (256, 256)
    # One class a pixel, or ignored; no cirrus at the ground, where every other chip is.
    assert set(np.unique(labels)) <= {0, 1, 2, 4, 8, 16, 32}
    assert [bool(np.isnan(image[6]).all()) for image in images] == [False, True, False, True]
    lines, again, _ = _lines(recipe)
    assert lines == []
    np.testing.assert_array_equal(images, again)


def test_another_seed_makes_other_chips_and_none_need_no_folder(tmp_path: Path) -> None:
    one, other = (_lines(_recipe(tmp_path, 1, seed=seed))[1] for seed in (1, 2))
    assert not np.array_equal(one, other, equal_nan=True)
    assert len(synthetic_pool(_recipe(tmp_path / "none", 0), print)) == 0
    assert not (tmp_path / "none").exists()


def test_recipes_of_other_bands_keep_chips_of_their_own(tmp_path: Path) -> None:
    bands = ("elevation", "red", "green", "blue", "rededge071", "nir08")
    _, images, _ = _lines(_recipe(tmp_path, 1, bands=bands))
    _, seven, _ = _lines(_recipe(tmp_path, 1))
    assert np.isnan(images[0][0]).all() and not np.isnan(images[0][1:]).all(axis=(1, 2)).any()
    np.testing.assert_allclose(images[0][[3, 2, 1]], seven[0][:3], atol=0.02)
    assert _lines(_recipe(tmp_path, 1, bands=bands))[0] == []
    assert _lines(_recipe(tmp_path, 1))[0] == []


def test_chips_of_an_older_generator_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = _recipe(tmp_path, 2)
    _, images, _ = _lines(recipe)
    monkeypatch.setattr(pool_module, "_PRESETS", ("ocean",))
    lines, others, _ = _lines(recipe)
    assert lines and not np.array_equal(images, others, equal_nan=True)


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, 1)
    _, images, _ = _lines(recipe)
    (file,) = tmp_path.glob("*image.npy")
    file.write_bytes(file.read_bytes()[:100])
    lines, again, _ = _lines(recipe)
    assert lines
    np.testing.assert_array_equal(images, again)


@pytest.mark.parametrize(("like_snow", "said"), [("any cloud", 6), ("open", 22)])
def test_thin_cloud_that_looks_like_snow_may_stay_open(
    tmp_path: Path, like_snow: str, said: int
) -> None:
    synth = {"chips": 26, "cache": tmp_path, "like_snow": like_snow}
    recipe = _recipe(tmp_path, 26, synth=synth)
    thin = either = 0
    for chip in synthetic_pool(recipe, print):
        bands = {name: chip.image[n].astype(np.float32) for n, name in enumerate(recipe.bands)}
        darkest = np.min([bands[name] for name in ("blue", "green", "red")], axis=0)
        index = (bands["green"] - bands["swir16"]) / (bands["green"] + bands["swir16"])
        icy = (darkest > 0.351) & (index > 0.401)  # beyond the rounding of half precision
        assert not ((chip.label == 4) & icy).any()
        plain = (darkest < 0.349) | (index < 0.399)
        assert not ((chip.label == said) & plain).any()
        thin, either = thin + (chip.label == 4).sum(), either + (chip.label == said).sum()
    assert thin > either > 1000
    told = [chip.label for chip in synthetic_pool(_recipe(tmp_path, 26), print)]
    assert sum(int((label == 4).sum()) for label in told) == thin + either
    assert not any((label == said).any() for label in told)


def test_storms_come_at_both_levels_and_leave_the_other_kinds_as_they_are(tmp_path: Path) -> None:
    synth = {"chips": 30, "cache": tmp_path, "storms": True}
    with_storms = synthetic_pool(_recipe(tmp_path, 30, synth=synth), print)
    without = synthetic_pool(_recipe(tmp_path, 7), print)
    for number in range(7):
        np.testing.assert_array_equal(with_storms[number].label, without[number].label)
    cloudy = [np.mean(with_storms[number].label == 2) for number in (13, 14, 28, 29)]
    assert np.mean(cloudy) > 0.5


def test_veils_are_thin_and_come_beside_storms(tmp_path: Path) -> None:
    synth = {"chips": 34, "cache": tmp_path, "storms": True, "veils": True}
    both = synthetic_pool(_recipe(tmp_path, 34, synth=synth), print)
    storms = synthetic_pool(
        _recipe(tmp_path, 15, synth={**synth, "chips": 15, "veils": False}), print
    )
    for number in range(15):
        np.testing.assert_array_equal(both[number].label, storms[number].label)
    thin, thick = (
        np.mean([np.mean(both[number].label == kind) for number in (15, 16, 32, 33)])
        for kind in (4, 2)
    )
    assert thin > max(0.2, thick)


def test_about_half_of_the_chips_have_measured_ground_and_are_kept_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grey = np.full((20, 13), 0.3, np.float32)
    measured = MeasuredSpectra({code: [grey] for code in "134"})
    monkeypatch.setattr(MeasuredSpectra, "read", lambda _folder: measured)
    monkeypatch.setattr(pool_module, "_PRESETS", ("snow",))  # some of it in every chip
    synth = {"chips": 12, "cache": tmp_path}
    without = _recipe(tmp_path, 12, synth=synth, seed=4)
    having = _recipe(tmp_path, 12, synth=synth | {"spectra": tmp_path}, seed=4)
    (_, plain, labels), (_, mixed, same) = _lines(without), _lines(having)
    np.testing.assert_array_equal(labels, same)
    alike = [np.array_equal(*pair, equal_nan=True) for pair in zip(plain, mixed, strict=True)]
    assert 4 <= sum(alike) <= 8
    assert _lines(without)[0] == _lines(having)[0] == []  # neither was put in the other's place
