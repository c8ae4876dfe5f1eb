from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from nubila.errors import InputError, ModelError, RecipeError
from nubila.models_io import find_model, load_model
from nubila.pipeline import run_recipe
from nubila.pipeline.chips import predict_chips
from nubila.recipe import load_recipe
from tests.toy_run import write_toy_recipe


def _chip(folder: Path, name: str, clouds: np.ndarray) -> None:
    (folder / name).mkdir(parents=True)
    counts = np.where(clouds, 7000, 700).astype(np.uint16)
    profile = {"width": clouds.shape[1], "height": clouds.shape[0], "count": 1, "dtype": "uint16"}
    profile |= {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 5e6)}
    for band in ("B02", "B03", "B04", "B08"):
        with rasterio.open(folder / name / f"{band}.tif", "w", driver="GTiff", **profile) as out:
            out.write(counts, 1)


def test_chips_are_predicted_as_the_competition_takes_them(tmp_path: Path) -> None:
    clouds = np.zeros((128, 96), bool)
    clouds[:64] = True
    _chip(tmp_path / "features", "adwp", clouds)
    model = load_model(find_model("compact"))
    (path,) = predict_chips(model, tmp_path / "features", tmp_path / "out", report=print)
    assert path.name == "adwp.tif"
    with rasterio.open(path) as data:
        predicted = data.read(1)
        assert data.dtypes == ("uint8",) and data.crs.to_epsg() == 32633
    assert set(np.unique(predicted)) <= {0, 1}
    assert (predicted == clouds).mean() > 0.8


def test_a_chip_without_a_band_is_named(tmp_path: Path) -> None:
    _chip(tmp_path / "features", "adwp", np.zeros((32, 32), bool))
    (tmp_path / "features/adwp/B08.tif").unlink()
    with pytest.raises(InputError, match=r"adwp/B08.tif"):
        predict_chips(
            load_model(find_model("compact")), tmp_path / "features", tmp_path / "out", report=print
        )
    assert not list((tmp_path / "out").iterdir())


def test_a_stage_whose_ground_is_missing_says_which(tmp_path: Path) -> None:
    recipe = load_recipe(write_toy_recipe(tmp_path))
    with pytest.raises(RecipeError, match="do the stage train first"):
        run_recipe(recipe, tmp_path / "run", stages=("export",), report=print)
    with pytest.raises(RecipeError, match="do the stage export first"):
        run_recipe(recipe, tmp_path / "run", stages=("evaluate",), report=print)


def test_inference_alone_takes_a_model_of_elsewhere(tmp_path: Path) -> None:
    _chip(tmp_path / "features", "abcd", np.zeros((32, 32), bool))
    recipe = load_recipe(write_toy_recipe(tmp_path), [f"mask.chips={tmp_path / 'features'}"])
    model = Path(find_model("compact"))
    (result,) = run_recipe(recipe, tmp_path / "run", stages=("mask",), model=model, report=print)
    assert [path.name for path in result.outputs] == ["abcd.tif"]
    (again,) = run_recipe(recipe, tmp_path / "run", stages=("mask",), model=model, report=print)
    assert again.skipped
    other = tmp_path / "other.onnx"
    other.write_bytes(model.read_bytes())
    (moved,) = run_recipe(recipe, tmp_path / "run", stages=("mask",), model=other, report=print)
    assert moved.skipped  # the file counts, not its name
    other.write_bytes(model.read_bytes() + b"\0")
    with pytest.raises(ModelError):
        run_recipe(recipe, tmp_path / "run", stages=("mask",), model=other, report=print)


def test_a_model_of_elsewhere_is_scored_where_nothing_was_trained(tmp_path: Path) -> None:
    recipe = load_recipe(write_toy_recipe(tmp_path))
    model = Path(find_model("compact"))
    (result,) = run_recipe(
        recipe, tmp_path / "run", stages=("evaluate",), model=model, report=print
    )
    assert "scores.json" in {path.name for path in result.outputs}


def test_a_changed_export_section_reaches_a_run_that_is_done(tmp_path: Path) -> None:
    path, run = write_toy_recipe(tmp_path), tmp_path / "run"
    for summary in ("First.", "Second."):
        recipe = load_recipe(path, ["steps=1", f"export.summary={summary}"])
        run_recipe(recipe, run, stages=("train", "export"), report=lambda _: None)
        assert load_model(run / "toy.onnx").card.summary == summary
    recipe = load_recipe(path, ["steps=1", "export.summary=Third."])
    run_recipe(recipe, run, stages=("export",), report=lambda _: None)
    assert load_model(run / "toy.onnx").card.summary == "Third."
