from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nubila.datasets import load_sample, read_manifest
from nubila.errors import BandError, ManifestError
from nubila.evaluate import evaluate, predict_sample
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
    (counted,) = evaluate(model, read_manifest(scenes)[:1]).tallies
    assert counted.table.sum() == counted.not_judged == 0


def test_tiles_do_not_show(model: Model, scenes: Path) -> None:
    # The whole image, padded to the stride, through the graph at once.
    spec = read_manifest(scenes)[0]
    sample = load_sample(spec)
    whole = np.full((1, 2, 8, 12), np.nan, np.float32)
    whole[0, 0, :6, :10] = sample.image[0]
    expected = np.array(model.card.class_codes)[model.run(whole)[0].argmax(axis=0)[:6, :10]]
    np.testing.assert_array_equal(predict_sample(model, sample, spec), expected)
