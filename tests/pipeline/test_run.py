from __future__ import annotations

import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from nubila.curate.origin import sample_digest
from nubila.datasets import SampleSpec
from nubila.errors import BatchError, InputError, ManifestError, ModelError, RecipeError
from nubila.models_io import find_model, load_model
from nubila.pipeline import run_recipe
from nubila.pipeline.chips import predict_chips
from nubila.pipeline.run import _STAGES
from nubila.recipe import Recipe, load_recipe
from nubila.recipe.stages import STAGES, Stage
from nubila.train.folder import checkpoint_hashes, describe_data
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


def test_a_chip_without_data_is_written_as_no_cloud(tmp_path: Path) -> None:
    _chip(tmp_path / "features", "empty", np.zeros((32, 48), bool))
    _chip(tmp_path / "features", "full", np.ones((32, 48), bool))
    for path in (tmp_path / "features/empty").iterdir():
        with rasterio.open(path, "r+") as data:
            data.nodata = 0
            data.write(np.zeros((1, 32, 48), np.uint16))
    model = load_model(find_model("compact"))
    paths = predict_chips(model, tmp_path / "features", tmp_path / "out", report=print)
    assert [path.name for path in paths] == ["empty.tif", "full.tif"]
    with rasterio.open(paths[0]) as data:
        assert data.shape == (32, 48) and not data.read(1).any()


class _Toys:
    """Stages that write small files in place of training and exporting; `did` lists them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.did: list[str] = []
        self.weights = b"1"
        self.breaks = False
        for stage in ("train", "export", "evaluate", "mask"):
            patch.setitem(_STAGES, stage, partial(self._do, stage))

    def _do(self, stage: Stage, job: Any) -> tuple[Path, ...]:
        self.did.append(stage)
        files = {"train": "best.ckpt", "export": f"{job.recipe.export.name}.onnx"}
        output = job.folder / files.get(stage, f"{stage}.txt")
        before = job.folder / "best.ckpt"
        job.begin()
        output.write_bytes(self.weights if stage == "train" else before.read_bytes())
        if self.breaks:
            raise KeyboardInterrupt
        if stage == "train":
            (job.folder / "result.json").write_text("{}")
        return (output,)


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> _Toys:
    return _Toys(monkeypatch)


def test_what_rests_on_a_stage_that_ran_anew_is_done_again(tmp_path: Path, toys: _Toys) -> None:
    recipe, run = load_recipe(write_toy_recipe(tmp_path)), tmp_path / "run"

    def done(*stages: Stage) -> list[str]:
        toys.did = []
        run_recipe(recipe, run, stages=stages or STAGES, report=lambda _: None)
        return toys.did

    assert done() == ["train", "export", "evaluate", "mask"]
    assert done() == []
    (run / "best.ckpt").unlink()
    assert done() == ["train"]  # the same weights came out
    (run / "best.ckpt").unlink()
    toys.weights = b"2"
    assert done("train") == ["train"]
    assert done("evaluate", "mask") == []  # the model is the same as yet
    assert done() == ["export", "evaluate", "mask"]
    assert done() == []


def test_a_run_from_a_checkpoint_that_was_trained_anew_is_trained_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, run, resumed = tmp_path / "first.ckpt", tmp_path / "run", []
    recipe = load_recipe(write_toy_recipe(tmp_path), [f"finetune.start_from={first}"])

    def toy_fit(recipe: Recipe, folder: Path, *, resume: bool, report: Any) -> Path:
        resumed.append(resume)
        describe_data(folder, [], [], {}, checkpoint_hashes(recipe))
        (folder / "best.ckpt").write_bytes(first.read_bytes())
        (folder / "result.json").write_text("{}")
        return folder / "best.ckpt"

    def train() -> bool:
        (result,) = run_recipe(recipe, run, stages=("train",), report=lambda _: None)
        return result.skipped

    monkeypatch.setattr("nubila.pipeline.run.fit", toy_fit)
    monkeypatch.setattr("nubila.pipeline.run.write_run_report", lambda folder: folder)
    first.write_bytes(b"1")
    assert (train(), train()) == (False, True)
    first.write_bytes(b"2")
    assert (train(), train()) == (False, True)
    assert resumed == [True, False]
    first.unlink()  # a run that is done needs it no more
    assert train()


def test_a_stage_that_broke_off_is_not_done(tmp_path: Path, toys: _Toys) -> None:
    recipe, run = load_recipe(write_toy_recipe(tmp_path)), tmp_path / "run"
    run_recipe(recipe, run, report=lambda _: None)
    (run / "best.ckpt").unlink()
    toys.breaks = True
    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe, run, report=lambda _: None)
    assert (run / "best.ckpt").is_file()
    toys.breaks, toys.did = False, []
    run_recipe(recipe, run, report=lambda _: None)
    assert toys.did == ["train"]


def test_labels_changed_in_place_are_told_before_the_training(tmp_path: Path, toys: _Toys) -> None:
    pytest.importorskip("zarr")
    sets = ["data.tiles=tiles.zarr", "tiling.size=32"]
    recipe, run = load_recipe(write_toy_recipe(tmp_path), sets), tmp_path / "run"

    def skipped() -> list[bool]:
        found = run_recipe(recipe, run, stages=("tile", "train"), report=lambda _: None)
        return [result.skipped for result in found]

    assert (skipped(), skipped()) == ([False, False], [True, True])
    mask = tmp_path / "places/mask0.tif"
    with rasterio.open(mask) as data:
        labels, profile = 1 - data.read(), data.profile
    with rasterio.open(mask, "w", **profile | {"compress": "deflate"}) as out:
        out.write(labels)
    with pytest.raises(ManifestError, match="delete the folder, and nubila fills it again"):
        skipped()
    shutil.rmtree(recipe.data.tiles)
    assert skipped() == [False, False]


def _paint_over(path: Path) -> None:
    """Write other values in place of a raster's own, the file as large as before."""
    with rasterio.open(path, "r+") as data:
        data.write(1 - np.clip(data.read(), 0, 1))
    os.utime(path, (2, 2))  # on a clock of coarse ticks it might be the time of before


@pytest.mark.parametrize(
    ("name", "due"),
    [
        ("mask0", ["train", "export"]),
        ("image0", ["train", "export"]),
        ("mask2", ["train", "export", "evaluate"]),  # of validation, which is scored on
        ("image2", ["train", "export", "evaluate"]),
    ],
)
def test_a_stage_is_done_again_on_images_and_labels_that_were_changed_in_place(
    tmp_path: Path, toys: _Toys, name: str, due: list[str]
) -> None:
    recipe, run = load_recipe(write_toy_recipe(tmp_path)), tmp_path / "run"

    def done() -> list[str]:
        toys.did = []
        run_recipe(recipe, run, report=lambda _: None)
        return toys.did

    assert (done(), done()) == (["train", "export", "evaluate", "mask"], [])
    _paint_over(tmp_path / f"places/{name}.tif")
    assert (done(), done()) == (due, [])


def test_samples_that_were_copied_or_are_gone_or_were_not_told_of_are_no_others(
    tmp_path: Path, toys: _Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, run = load_recipe(write_toy_recipe(tmp_path)), tmp_path / "run"
    digested: list[str] = []

    def digest(spec: SampleSpec) -> str:
        digested.append(spec.id)
        return sample_digest(spec)

    def done() -> tuple[list[str], bool]:
        toys.did.clear()
        digested.clear()
        run_recipe(recipe, run, report=lambda _: None)
        return toys.did, bool(digested)

    monkeypatch.setattr("nubila.pipeline.seen.sample_digest", digest)
    assert done() == (["train", "export", "evaluate", "mask"], True)
    assert done() == ([], False)  # times of change are enough
    for path in (tmp_path / "places").iterdir():
        os.utime(path, (1, 1))
    assert done() == ([], True)
    assert done() == ([], False)
    record = json.loads((run / "stages.json").read_text())
    (tmp_path / "places").rename(tmp_path / "moved")
    assert done() == ([], False)
    (tmp_path / "moved").rename(tmp_path / "places")
    for entry in record.values():
        entry.pop("samples", None)
    (run / "stages.json").write_text(json.dumps(record))
    _paint_over(tmp_path / "places/mask2.tif")
    assert done() == ([], False)  # a run of before samples were told of


def test_a_training_does_not_go_on_with_labels_made_better_since(tmp_path: Path) -> None:
    recipe, run = load_recipe(write_toy_recipe(tmp_path), ["steps=1"]), tmp_path / "run"
    told: list[str] = []
    run_recipe(recipe, run, stages=("train",), report=told.append)
    _paint_over(tmp_path / "places/mask2.tif")
    for _ in range(2):
        with pytest.raises(
            RecipeError, match=r"to validation\); start anew with nubila train --no"
        ):
            run_recipe(recipe, run, report=told.append)
    assert "train: images or labels are others than when it was done" in told


def test_a_model_is_scored_again_on_labels_made_better(tmp_path: Path) -> None:
    recipe, run = load_recipe(write_toy_recipe(tmp_path)), tmp_path / "run"
    model = Path(find_model("compact"))

    def scored() -> tuple[bool, float]:
        (result,) = run_recipe(
            recipe, run, stages=("evaluate",), model=model, report=lambda _: None
        )
        scores = json.loads((run / "scores/scores.json").read_text())
        return result.skipped, scores["overall"]["cloud"]["iou"]

    _, first = scored()
    assert scored() == (True, first)
    _paint_over(tmp_path / "places/mask2.tif")
    skipped, second = scored()
    assert not skipped and second != first


def test_a_training_that_was_broken_off_is_not_exported(tmp_path: Path) -> None:
    from nubila.train.loop import _validate

    path, run = write_toy_recipe(tmp_path), tmp_path / "run"
    recipe = load_recipe(path)

    def do(*stages: Stage, recipe: Recipe = recipe) -> list[bool]:
        found = run_recipe(recipe, run, stages=stages, report=lambda _: None)
        return [result.skipped for result in found]

    def break_off(*given: Any) -> None:
        _validate(*given)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("nubila.train.loop._validate", break_off)
        do("train")
    assert (run / "best.ckpt").is_file()
    with pytest.raises(RecipeError, match=r"broken off.*do the stage train first"):
        do("export", "evaluate")
    with pytest.raises(RecipeError, match="steps differ"):
        do("export", recipe=load_recipe(path, ["steps=12"]))
    assert not (run / "toy.onnx").exists()
    assert do("train") == [False]
    (run / "result.json").unlink()  # as a new training does, before it is broken off
    assert do("train") == [False]


def test_a_model_of_another_training_is_not_scored_as_the_recipe_s(
    tmp_path: Path, toys: _Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, run = write_toy_recipe(tmp_path), tmp_path / "run"
    run_recipe(load_recipe(path), run, report=lambda _: None)
    other = load_recipe(path, ["optim.lr=0.5"])
    stages: tuple[Stage, ...] = ("evaluate", "mask")
    for stage in stages:
        with pytest.raises(RecipeError, match=r"toy.onnx: is not what.*do the stage export first"):
            run_recipe(other, run, stages=(stage,), report=lambda _: None)
    toys.did = []
    run_recipe(other, run, stages=stages, model=run / "toy.onnx", report=lambda _: None)
    assert toys.did == ["evaluate", "mask"]


def test_tiles_stand_for_images_that_were_copied_or_are_gone(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    sets = ["data.tiles=tiles.zarr", "tiling.size=32"]
    recipe, run = load_recipe(write_toy_recipe(tmp_path), sets), tmp_path / "run"

    def skipped() -> bool:
        (result,) = run_recipe(recipe, run, stages=("tile",), report=lambda _: None)
        return result.skipped

    assert not skipped()
    os.utime(tmp_path / "places/mask0.tif", (1, 1))
    os.utime(tmp_path / "places/image0.tif", (1, 1))
    assert skipped()
    shutil.rmtree(tmp_path / "places")
    assert skipped()


def test_a_tile_store_that_was_emptied_is_cut_and_not_done_already(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    sets = ["data.tiles=tiles.zarr", "tiling.size=32"]
    recipe, run = load_recipe(write_toy_recipe(tmp_path), sets), tmp_path / "run"
    for _ in range(2):
        (result,) = run_recipe(recipe, run, stages=("tile",), report=lambda _: None)
        assert not result.skipped
        shutil.rmtree(recipe.data.tiles)
        recipe.data.tiles.mkdir()


def test_a_stage_that_cannot_start_stays_done(tmp_path: Path) -> None:
    recipe, run = load_recipe(write_toy_recipe(tmp_path)), tmp_path / "run"
    model, broken = Path(find_model("compact")), tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")

    def scored(path: Path) -> bool:
        (result,) = run_recipe(recipe, run, stages=("evaluate",), model=path, report=lambda _: None)
        return result.skipped

    assert (scored(model), scored(model)) == (False, True)
    with pytest.raises(RecipeError, match=r"typo.onnx: no such model"):
        scored(tmp_path / "typo.onnx")
    with pytest.raises(ModelError):
        scored(broken)
    assert scored(model)


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


def test_chips_that_were_added_or_changed_are_predicted(tmp_path: Path) -> None:
    features = tmp_path / "features"
    _chip(features, "abcd", np.zeros((32, 32), bool))
    recipe = load_recipe(write_toy_recipe(tmp_path), [f"mask.chips={features}"])
    model = Path(find_model("compact"))

    def masked() -> tuple[bool, list[float]]:
        (result,) = run_recipe(
            recipe, tmp_path / "run", stages=("mask",), model=model, report=lambda _: None
        )
        return result.skipped, [rasterio.open(path).read().mean() for path in result.outputs]

    assert masked() == (False, [0.0])
    _chip(features, "efgh", np.zeros((32, 32), bool))
    assert masked() == (False, [0.0, 0.0])
    assert masked() == (True, [0.0, 0.0])
    shutil.rmtree(features / "abcd")
    _chip(features, "abcd", np.ones((32, 32), bool))
    assert masked() == (False, [1.0, 0.0])


def test_a_scene_that_was_replaced_is_masked_anew(tmp_path: Path) -> None:
    paths = _write_scenes(tmp_path)
    listed = ",".join(str(path) for path in paths)
    recipe = load_recipe(write_toy_recipe(tmp_path), [f"mask.scenes=[{listed}]"])

    def statuses() -> list[str]:
        told: list[str] = []
        model = Path(find_model("compact"))
        run_recipe(recipe, tmp_path / "run", stages=("mask",), model=model, report=told.append)
        return [json.loads(line)["status"] for line in told if line.startswith("  ")]

    assert statuses() == ["written", "written"]
    assert statuses() == []  # the stage is done
    with rasterio.open(paths[0], "r+") as data:
        data.write(np.full((4, 64, 64), 7000, np.uint16))
    assert statuses() == ["written", "skipped"]
    assert statuses() == []


def _write_scenes(folder: Path) -> list[Path]:
    paths = []
    for name, clouds in (("one", np.zeros((64, 64), bool)), ("two", np.eye(64, dtype=bool))):
        _chip(folder, name, clouds)
        bands = [folder / name / f"{band}.tif" for band in ("B02", "B03", "B04", "B08")]
        paths.append(folder / f"{name}.tif")
        with rasterio.open(bands[0]) as like:
            profile = like.profile | {"count": len(bands)}
        with rasterio.open(paths[-1], "w", **profile) as out:
            out.scales = [1e-4] * len(bands)
            for number, colour in enumerate(("blue", "green", "red", "nir"), start=1):
                with rasterio.open(bands[number - 1]) as data:
                    out.write(data.read(1), number)
                out.set_band_description(number, colour)
    return paths


def test_masks_of_another_model_give_way_and_those_of_the_same_stay(tmp_path: Path) -> None:
    paths = _write_scenes(tmp_path)
    recipe = load_recipe(
        write_toy_recipe(tmp_path), [f"mask.scenes=[{','.join(str(path) for path in paths)}]"]
    )

    def statuses(name: str) -> list[str]:
        told: list[str] = []
        model = Path(find_model(name))
        run_recipe(recipe, tmp_path / "run", stages=("mask",), model=model, report=told.append)
        return [json.loads(line)["status"] for line in told if line.startswith("  ")]

    masks = tmp_path / "run/masks"
    assert statuses("compact") == ["written", "written"]
    assert statuses("compact-int8") == ["written", "written"]
    item = json.loads((masks / "one.json").read_text())
    assert item["properties"]["nubila:model"] == "compact-int8"
    (tmp_path / "run/stages.json").unlink()  # killed after the first scene
    (masks / "two.json").unlink()
    assert statuses("compact-int8") == ["skipped", "written"]
    (masks / "two_mask.tif").write_bytes(b"of somebody else")
    with pytest.raises(BatchError, match="1 of 2 scenes failed"):
        statuses("compact")
    assert (masks / "two_mask.tif").read_bytes() == b"of somebody else"


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


def test_scores_of_other_pixels_than_the_tiles_are_told_so(tmp_path: Path) -> None:
    sets = ["data.tiles=tiles.zarr", "tiling.resolution=20", "tiling.dates=[2020-01-01]"]
    recipe, lines = load_recipe(write_toy_recipe(tmp_path), sets), list[str]()
    model = Path(find_model("compact"))
    run_recipe(recipe, tmp_path / "run", stages=("evaluate",), model=model, report=lines.append)
    text = "\n".join(lines)
    assert "scored at the images' own resolution; tiles were brought to 20 m" in text
    assert "scored on images of all dates" in text
