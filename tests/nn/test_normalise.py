from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from nubila.errors import ManifestError, RecipeError
from nubila.nn.normalise import Standardise, build_normalise, fit_normalise
from nubila.recipe.normalise import Normalise
from nubila.scenes.statistics import SCENE_STATISTICS, scene_statistics

_SECTION: TypeAdapter[Any] = TypeAdapter(Normalise)
_BANDS = ("blue", "nir", "cirrus", "elevation")
_GIVEN = {
    "mean": dict(zip(_BANDS, (0.2, 0.3, 0.01, 1.0), strict=True)),
    "std": dict(zip(_BANDS, (0.1, 0.2, 0.05, 0.7), strict=True)),
}
_ALL: dict[str, dict[str, Any]] = {
    "counts": {"name": "counts"},
    "min_max": {"name": "min_max"},
    "chip_min_max": {"name": "min_max", "over": "chip"},
    "percentiles": {"name": "percentiles"},
    "scene_percentiles": {"name": "percentiles", "over": "scene"},
    "two_sigma": {"name": "two_sigma"},
    "chip_two_sigma": {"name": "two_sigma", "over": "chip"},
    "standardise": {"name": "standardise"} | _GIVEN,
    "dynamic_world": {"name": "dynamic_world"},
}


def _build(key: str) -> Any:
    return build_normalise(_SECTION.validate_python(_ALL[key]), _BANDS)


def _scenes(rows: int = 20, columns: int = 30, seed: int = 0) -> NDArray[np.float32]:
    """Return scenes with holes, one band of the second constant and another without data."""
    random = np.random.default_rng(seed)
    scenes = random.gamma(2, 0.1, (2, len(_BANDS), rows, columns)).astype(np.float32)
    scenes[random.random(scenes.shape) < 0.2] = np.nan
    scenes[1, 0] = 0.3
    scenes[1, 1] = np.nan
    return scenes


def _statistics(scenes: NDArray[np.float32], names: tuple[str, ...]) -> Tensor:
    return torch.from_numpy(np.stack([scene_statistics(scene, names) for scene in scenes]))


def _low_and_high(key: str, band: NDArray[np.float32]) -> tuple[float, float]:
    values = band.astype(np.float64)
    if "min_max" in key:
        return np.nanmin(values), np.nanmax(values)
    if "percentiles" in key:
        return np.nanpercentile(values, 2), np.nanpercentile(values, 98)
    mean, std = np.nanmean(values), np.nanstd(values)
    return mean - 2 * std, mean + 2 * std


@pytest.mark.parametrize("key", [k for k in _ALL if "min_max" in k or "perc" in k or "sigma" in k])
def test_stretches(key: str) -> None:
    scenes = _scenes()
    module = _build(key)
    given = _statistics(scenes, module.statistics) if module.statistics else None
    found = module(torch.from_numpy(scenes), given).numpy()
    for place in np.ndindex(2, len(_BANDS)):
        band = scenes[place]
        if place == (1, 0) or place == (1, 1):  # constant, and no data
            assert (found[place] == 0).all()
            continue
        low, high = _low_and_high(key, band)
        expected = np.nan_to_num(np.clip((band - low) / (high - low), 0, 1), nan=0.0)
        np.testing.assert_allclose(found[place], expected, atol=2e-6)


@pytest.mark.parametrize("key", ["min_max", "scene_percentiles", "two_sigma"])
def test_a_part_of_a_scene_is_what_the_scene_has_there(key: str) -> None:
    scenes = _scenes()
    module = _build(key)
    given = _statistics(scenes, module.statistics)
    whole = module(torch.from_numpy(scenes), given)
    part = module(torch.from_numpy(scenes[..., 3:9, 5:20]), given)
    torch.testing.assert_close(part, whole[..., 3:9, 5:20], rtol=0, atol=0)
    alone = module(torch.from_numpy(scenes), None)  # without any, the chip's own, and close to them
    torch.testing.assert_close(alone, whole, rtol=0, atol=1e-5)


def test_over_a_chip_other_statistics_are_not_looked_at() -> None:
    scenes = _scenes()
    module = _build("percentiles")
    assert module.statistics == () and _build("min_max").statistics == ("minimum", "maximum")
    given = torch.ones(2, 2, len(_BANDS))
    assert torch.equal(module(torch.from_numpy(scenes), given), module(torch.from_numpy(scenes)))


@settings(max_examples=60, deadline=None)
@given(
    key=st.sampled_from(sorted(_ALL)),
    level=st.sampled_from([-0.2, 0.0, 1e-6, 0.5, 20.0]),
    spread=st.sampled_from([0.0, 1e-7, 0.3]),
    gone=st.sampled_from([0.0, 0.5, 1.0]),
    absent=st.booleans(),
    size=st.integers(1, 5),
)
def test_never_nan(
    key: str, level: float, spread: float, gone: float, absent: bool, size: int
) -> None:
    random = np.random.default_rng(0)
    chip = (level + spread * random.random((1, len(_BANDS), size, size))).astype(np.float32)
    chip[random.random(chip.shape) < gone] = np.nan
    module = _build(key)
    # A coarse first pass may have seen no data where the chip has some.
    nothing = torch.full((1, len(module.statistics), len(_BANDS)), torch.nan)
    given = nothing if absent else _statistics(chip, module.statistics)
    found = module(torch.from_numpy(chip), given if module.statistics else None)
    assert found.shape == chip.shape and torch.isfinite(found).all()
    assert (found.numpy()[np.isnan(chip)] == 0).all()


def test_dynamic_world_goes_through_its_points() -> None:
    bands = ("coastal", "swir22", "cirrus", "elevation")
    module = build_normalise(_SECTION.validate_python({"name": "dynamic_world"}), bands)
    counts = np.array([[1390, 9084, 3000], [151, 3295, 0], [16, 504, -300], [0, 0, 0]])
    chip = (counts / 10000).astype(np.float32)
    chip[3] = 0, 2.5, 5
    found = module(torch.from_numpy(chip).view(1, 4, 1, 3)).view(4, 3).numpy()  # type: ignore[misc]
    np.testing.assert_allclose(found[:3, :2], [[0.15, 0.85]] * 2 + [[0.15, 0.85]], atol=1e-4)
    # In another way: the straight line through the two logits, in decades.
    decades = np.log10(3000 / 1390) / np.log10(9084 / 1390)
    odds = np.exp(-1.7346 + decades * 2 * 1.7346)
    assert found[0, 2] == pytest.approx(odds / (1 + odds), abs=1e-5)
    assert 0 < found[1, 2] < 0.01 and 0 < found[2, 2] < 0.15  # counts below 1 are taken as 1
    np.testing.assert_allclose(found[3], [0, 0.5, 1], atol=1e-6)


def test_standardise_measured_on_images() -> None:
    images = [_scenes(seed=1)[0].astype(np.float16), _scenes(7, 9, seed=2)[0].astype(np.float16)]
    for image in images:
        image[2] = np.nan
    module = build_normalise(_SECTION.validate_python({"name": "standardise"}), _BANDS)
    assert isinstance(module, Standardise) and not module.fitted
    assert module(torch.zeros(1, 4, 2, 2)).isnan().all()
    fit_normalise(module, images)
    assert module.fitted
    for band in (0, 1, 3):
        values = np.concatenate([image[band].astype(np.float64).ravel() for image in images])
        assert float(module.mean[band]) == pytest.approx(np.nanmean(values), rel=1e-5)
        assert float(module.std[band]) == pytest.approx(np.nanstd(values), rel=1e-5)
    assert torch.isfinite(module(torch.from_numpy(_scenes()))).all()
    # A scene may have a band that no training image had, whose weights are as they were drawn.
    assert module(torch.full((1, 4, 1, 1), 0.5))[0, 2].abs() < 1e-5
    before = module.mean.clone()
    fit_normalise(module, images[:1])  # measured once
    assert torch.equal(module.mean, before)
    twin = build_normalise(_SECTION.validate_python({"name": "standardise"}), _BANDS)
    assert twin is not None
    twin.load_state_dict(module.state_dict())
    assert twin.fitted
    fit_normalise(None, [])
    with pytest.raises(ManifestError, match="no training image has any data"):
        fit_normalise(build_normalise(_SECTION.validate_python({"name": "standardise"}), "ab"), [])


def test_standardise_with_given_numbers() -> None:
    found = _build("standardise")(torch.full((1, 4, 1, 1), 0.5)).flatten()
    torch.testing.assert_close(found, torch.tensor([3.0, 1.0, 9.8, -0.5 / 0.7]))


def test_reflectance_needs_nothing() -> None:
    assert build_normalise(_SECTION.validate_python({"name": "reflectance"}), _BANDS) is None


@pytest.mark.parametrize(
    ("section", "bands", "words"),
    [
        ({"name": "dynamic_world"}, ("blue", "pan"), "normalise.p30: no number for band 'pan'"),
        ({"name": "standardise"} | _GIVEN, ("red",), "normalise.mean: no number for band 'red'"),
    ],
)
def test_no_number_for_a_band(section: dict[str, Any], bands: tuple[str, ...], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        build_normalise(_SECTION.validate_python(section), bands)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"name": "standardise", "mean": {"red": 0.1}}, "both mean and std"),
        ({"name": "standardise", "mean": {"red": 0.1}, "std": {"red": 0}}, "greater than 0"),
        ({"name": "standardise", "mean": {"rde": 1}, "std": {"red": 1}}, "did you mean 'red'"),
        ({"name": "dynamic_world", "p30": {"red": 9}, "p70": {"red": 9}}, "1 <= p30 < p70"),
        ({"name": "dynamic_world", "p30": {"red": 9}}, "only one of p30 and p70"),
        ({"name": "dynamic_world", "elevation": [2, 2]}, "does not rise"),
        ({"name": "min_max", "over": "tile"}, "'scene' or 'chip'"),
        ({"name": "minmax"}, "min_max"),
    ],
)
def test_wrong_sections(section: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        _SECTION.validate_python(section)


_EXPORTED = ("counts", "min_max", "percentiles", "chip_two_sigma", "standardise", "dynamic_world")


class _Exported(nn.Module):
    """Every kind of normalisation side by side, for one export."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(_build(key) for key in _EXPORTED)

    def forward(self, reflectance: Tensor, statistics: Tensor) -> tuple[Tensor, ...]:
        found = []
        for part in self.parts:
            rows = [SCENE_STATISTICS.index(name) for name in part.statistics]
            found.append(part(reflectance, statistics[:, rows] if rows else None))
        return tuple(found)


def test_onnx_gives_the_same(tmp_path: Path) -> None:
    network = _Exported().eval()
    example = torch.zeros(3, len(_BANDS), 8, 12), torch.zeros(3, 6, len(_BANDS))
    batch, rows, columns = (torch.export.Dim(name) for name in ("batch", "rows", "columns"))
    program = torch.onnx.export(
        network,
        example,
        dynamo=True,
        opset_version=18,
        input_names=["reflectance", "statistics"],
        dynamic_shapes=({0: batch, 2: rows, 3: columns}, {0: batch}),
        verbose=False,
    )
    assert program is not None
    program.save(tmp_path / "all.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "all.onnx")
    for size in ((20, 30), (1, 1)):
        scenes = _scenes(*size)
        given = _statistics(scenes, SCENE_STATISTICS)
        feed = {"reflectance": scenes, "statistics": given.numpy()}
        expected = network(torch.from_numpy(scenes), given)
        for key, theirs, ours in zip(_EXPORTED, session.run(None, feed), expected, strict=True):
            np.testing.assert_allclose(theirs, ours.numpy(), atol=1e-6, err_msg=key)
