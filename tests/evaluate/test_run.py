from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nubila.datasets import load_sample, read_manifest
from nubila.errors import BandError, ManifestError
from nubila.evaluate import Buffer, evaluate, evaluate_together, predict_sample
from nubila.models_io import load_model
from nubila.models_io.load import Model
from tests.evaluate.conftest import write_model


def test_scores_worked_out_by_hand(model: Model, scenes: Path) -> None:
    scores = evaluate(model, read_manifest(scenes)).scores()
    assert list(scores) == ["overall", "folders", "variants", "strata", "calibration"]
    assert list(scores["folders"]) == ["alps", "coast"]
    alps, coast = scores["folders"]["alps"], scores["folders"]["coast"]
    # a and b: rows 0-2 cloud, of which 0-1 found; c: all called shadow, so no cloud found.
    assert (alps["scenes"], alps["images"]) == (2, 3)
    assert alps["cloud"]["iou"] == pytest.approx(4 / 9, abs=1e-6)
    assert alps["cloud"]["iou_scene_mean"] == pytest.approx((4 / 6 + 0) / 2, abs=1e-6)
    assert alps["cloud"]["precision"] == 1
    # shadow: row 3 is missed and row 2 called it in a and b; c has row 3 right and five rows wrong.
    assert alps["cloud shadow"]["iou"] == pytest.approx(1 / (2 * 2 + 6), abs=1e-6)
    assert alps["all_cloud_iou"] == 0.5
    assert alps["all_clear_accuracy"] == 0.5
    # coast: nothing is said of cloud, and of shadow all of it but row 3.
    assert "cloud" not in coast
    assert coast["cloud shadow"]["iou"] == 0
    assert scores["overall"]["cloud"]["iou"] == alps["cloud"]["iou"]
    assert scores["overall"]["scenes"] == 3
    # The model does not tell snow or thin cloud.
    assert not {"snow", "thin cloud"} & set(scores["overall"])


@pytest.mark.parametrize("models", [1, 2])
def test_samples_without_a_label_are_an_error(model: Model, scenes: Path, models: int) -> None:
    text = scenes.read_text()
    for codes in ("0=clear|snow;1=cloud|thin cloud;3=cloud shadow", "3=cloud shadow;*=clear|cloud"):
        text = text.replace(codes, "7=clear;8=cloud")
    scenes.write_text(text.replace("|thin cloud", ""))
    with pytest.raises(
        ManifestError, match="none of 4 samples has a pixel with data and a label"
    ) as told:
        evaluate_together([model] * models, read_manifest(scenes))
    assert "4 of 4 masks hold values" in str(told.value) and "1 (50.0 %)" in str(told.value)


def test_samples_that_cannot_be_judged_are_no_error(model: Model, scenes: Path) -> None:
    image = np.stack([np.full((6, 10), np.nan), np.full((6, 10), 30.0)])
    np.save(scenes.parent / "alps/a.npy", image)
    scenes.write_text(scenes.read_text().replace("a_mask.npy,red,", "a_mask.npy,red;nir,"))
    (counted,) = evaluate(model, read_manifest(scenes)[:1]).tallies
    assert (counted.table.sum(), counted.not_judged) == (0, 60)


def test_threads_do_not_change_the_scores(model: Model, scenes: Path) -> None:
    specs = read_manifest(scenes)
    done: list[int] = []
    several = evaluate(model, specs, threads=3, progress=done.append)
    assert several.scores() == evaluate(model, specs).scores()
    assert [t.id for t in several.tallies] == [s.id for s in specs]
    assert done == [1, 2, 3, 4]


def test_pixels_without_a_needed_band_are_not_judged(
    model: Model, scenes: Path, tmp_path: Path
) -> None:
    spec = read_manifest(scenes)[0]
    red = np.load(tmp_path / "alps/a.npy").astype(np.float32)
    red[0, 0] = np.nan
    nir = np.full_like(red, 30)
    nir[0, 1] = np.nan
    nir[1, 0] = red[1, 0] = np.nan
    np.save(tmp_path / "alps/a.npy", np.stack([red, nir]))
    text = scenes.read_text().replace("a_mask.npy,red,", "a_mask.npy,red;nir,")
    scenes.write_text(text)
    spec = read_manifest(scenes)[0]
    sample = load_sample(spec)
    classes = predict_sample(model, sample, spec)
    assert classes.shape == (6, 10)
    assert np.argwhere(classes == 255).tolist() == [[0, 0], [1, 0]]
    (counted,) = evaluate(model, [spec]).tallies
    # [1, 0] has no data at all and so no label; [0, 0] has some, and is told apart.
    assert counted.not_judged == 1
    assert counted.table.sum() == 58


def test_the_narrow_infrared_stands_in(tmp_path: Path, scenes: Path) -> None:
    text = scenes.read_text().replace("_mask.npy,red,", "_mask.npy,nir08,")
    scenes.write_text(text)
    model = load_model(write_model(tmp_path / "nir.onnx", required=("nir",)))
    spec = read_manifest(scenes)[0]
    assert (predict_sample(model, load_sample(spec), spec) != 255).all()


def test_a_needed_band_that_is_missing(model: Model, scenes: Path) -> None:
    scenes.write_text(scenes.read_text().replace("c_mask.npy,red,", "c_mask.npy,green,"))
    with pytest.raises(BandError, match=r"line 4: .*c.npy: model tiny needs the band red"):
        evaluate(model, read_manifest(scenes), threads=2)


def test_a_bad_file_surfaces_from_a_thread(model: Model, scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "alps/b.npy").write_bytes(b"no")
    with pytest.raises(ManifestError, match=r"line 3, column 'image': .*b.npy cannot be decoded"):
        evaluate(model, read_manifest(scenes), threads=2)


def test_an_image_without_any_data_counts_for_nothing(
    model: Model, scenes: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "alps/a.npy", np.full((6, 10), np.nan))
    counted, _ = evaluate(model, read_manifest(scenes)[:2]).tallies
    assert counted.table.sum() == counted.not_judged == 0


def test_tiles_do_not_show(model: Model, scenes: Path) -> None:
    # The whole image, padded to the stride, through the graph at once.
    spec = read_manifest(scenes)[0]
    sample = load_sample(spec)
    whole = np.full((1, 2, 8, 12), np.nan, np.float32)
    whole[0, 0, :6, :10] = sample.image[0]
    expected = np.array(model.card.class_codes)[model.run(whole)[0].argmax(axis=0)[:6, :10]]
    np.testing.assert_array_equal(predict_sample(model, sample, spec), expected)


def test_several_models_are_scored_on_the_same_pixels(
    model: Model, scenes: Path, tmp_path: Path
) -> None:
    # A model that needs nir gives no answer where nir has no data, so nobody is scored there.
    red = np.load(tmp_path / "alps/a.npy").astype(np.float32)
    nir = np.full_like(red, 30)
    nir[0, :4] = np.nan
    np.save(tmp_path / "alps/a.npy", np.stack([red, nir]))
    scenes.write_text(scenes.read_text().replace("a_mask.npy,red,", "a_mask.npy,red;nir,"))
    spec = read_manifest(scenes)[0]
    other = load_model(write_model(tmp_path / "nir.onnx", required=("red", "nir")))
    (alone,) = evaluate(model, [spec]).tallies
    one, two = (e.tallies[0] for e in evaluate_together([model, other], [spec]))
    assert alone.table.sum() == 60
    np.testing.assert_array_equal(one.table, two.table)
    assert one.table.sum() == 56
    assert (one.not_judged, two.not_judged) == (0, 4)


def test_a_model_that_merges_classes(model: Model, scenes: Path) -> None:
    # Its "clear" stands for shadow too, and what it calls "cloud shadow" for water only.
    stands_for = {"clear": ("clear", "cloud shadow", "snow"), "cloud shadow": ("water",)}
    card = model.card.model_copy(update={"stands_for": stands_for})
    scores = evaluate(replace(model, card=card), read_manifest(scenes)).scores()["overall"]
    assert "cloud shadow" not in scores
    assert "cloud" in scores
    # a and b: rows 0, 1 right, row 2 called water, rows 3 to 5 right; c and d as the labels say:
    # c is all called water; d calls rows 0, 1 cloud, 2 water, 3 clear (it is shadow), 4, 5 clear.
    assert scores["agreement"] == pytest.approx((5 + 5 + 0 + 5) / 24, abs=1e-6)


def test_calibration_and_buffer(model: Model, scenes: Path) -> None:
    specs = read_manifest(scenes)
    scores = evaluate(model, specs, buffer=Buffer(1)).scores()
    # Labels change below rows 2 and 3, so rows 2 to 4 of 6 are left out.
    inner = scores["variants"]["without boundaries (1 px)"]
    assert inner["pixels"] == scores["overall"]["pixels"] - 4 * 3 * 10
    assert inner["cloud"]["recall"] == pytest.approx(40 / 60, abs=1e-6)
    # Red of 0.8, 0.05 and 0.3 leaves no doubt, so each probability is nearly 0 or 1, and the error
    # is the share of wrong pixels.
    found = scores["calibration"]["cloud"]
    assert found["ece"] == pytest.approx(1 - scores["overall"]["cloud"]["accuracy"], abs=1e-3)
    assert {b["from"] for b in found["bins"]} == {0.0, 0.95}
