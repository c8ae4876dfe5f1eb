from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import fbeta_score, jaccard_score

from nubila.datasets import read_manifest
from nubila.errors import InputError
from nubila.evaluate import evaluate
from nubila.evaluate.tune import Trial, Tuned, check_split, tune
from nubila.evaluate.tune_bench import Bench
from nubila.evaluate.tune_goals import GOALS, difference, held_out
from nubila.evaluate.tune_report import tuning_document, write_tuned
from nubila.infer import MaskOptions
from nubila.models_io import CalibrationError, Model, OperatingPoint, load_model
from tests.evaluate.tuning import write_scenes


def _counts(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    pairs = [truth & found, ~truth & found, truth & ~found, ~truth & ~found]
    return np.array([np.count_nonzero(p) for p in pairs], float)


def test_goals_agree_with_sklearn() -> None:
    rng = np.random.default_rng(0)
    truth, found = rng.random((2, 500)) < np.array([[0.3], [0.6]])
    other = rng.random(500) < 0.2
    table = np.stack([_counts(truth, found), _counts(other, found)])
    for name, beta in (("conservative", 2), ("permissive", 0.5)):
        expected = fbeta_score(truth, found, beta=beta)
        assert GOALS[name].score(table, shadow=False) == pytest.approx(expected)
        both = 0.75 * expected + 0.25 * fbeta_score(other, found, beta=beta)
        assert GOALS[name].score(table, shadow=True) == pytest.approx(both)
    iou = GOALS["balanced"].score(table, shadow=False)
    assert iou == pytest.approx(jaccard_score(truth, found))
    assert np.isnan(GOALS["permissive"].score(np.zeros((2, 4)), shadow=False))


def test_held_out_takes_the_trial_that_is_best_on_the_others() -> None:
    rng = np.random.default_rng(1)
    trials = [rng.integers(1, 50, (4, 2, 4)).astype(float) for _ in range(5)]
    goal = GOALS["balanced"]
    chosen = held_out(goal, trials, shadow=False)
    for scene in range(4):
        rest = [n for n in range(4) if n != scene]
        sums = [sum(trial[n, 0] for n in rest) for trial in trials]
        best = max(range(5), key=lambda t: sums[t][0] / sums[t][:3].sum())
        np.testing.assert_array_equal(chosen[scene], trials[best][scene])


def test_a_trial_does_not_gain_on_itself() -> None:
    table = np.random.default_rng(2).integers(1, 50, (5, 2, 4)).astype(float)
    assert difference(GOALS["conservative"], table, table, shadow=True) == (0, (0, 0))
    assert difference(GOALS["balanced"], table[:1], table[:1], shadow=True)[1] == (None, None)


def test_a_trial_counts_what_an_evaluation_does(model: Model, tmp_path: Path) -> None:
    specs = read_manifest(write_scenes(tmp_path, shadows=3))
    point = OperatingPoint(thresholds={"cloud": 0.1}, min_area=900 * 15, dilate=30)
    options = MaskOptions(thresholds=point.thresholds, min_area=point.min_area, dilate=point.dilate)
    expected = evaluate(model, specs, options=options)
    (cache := tmp_path / "cache").mkdir()
    found = Bench(model, specs, cache, threads=2).tallies(point)
    plain = evaluate(model, specs)
    for one, other, third in zip(found, expected.tallies, plain.tallies, strict=True):
        np.testing.assert_array_equal(one.table, other.table)
        assert (one.id, one.scene, one.sets, one.called) == (
            *(other.id, other.scene, other.sets, other.called),
        )
        assert (one.table != third.table).any()
        for name, table in other.reliability.items():
            np.testing.assert_array_equal(one.reliability[name], table)


def test_a_better_threshold_is_found_and_again_the_same(model: Model, tmp_path: Path) -> None:
    specs = read_manifest(write_scenes(tmp_path))
    tuned = tune(model, specs, trials=10)
    for name in ("balanced", "conservative"):
        threshold = tuned.points[name].thresholds["cloud"]
        assert 0.018 < threshold <= 0.27  # between what is clear and what is cloud
        counts = tuned.chosen(GOALS[name]).counts[:, 0].sum(axis=0)
        assert counts[1:3].sum() == 0
    assert tuned.trials[0].point == OperatingPoint()
    assert not tuned.shadow and "cloud shadow" not in tuned.points["balanced"].thresholds
    again = tune(model, specs, trials=10, threads=3)
    assert again.points == tuned.points


def test_a_point_that_is_to_keep_clear_pixels_only_takes_clouds_away(
    model: Model, tmp_path: Path
) -> None:
    specs = read_manifest(write_scenes(tmp_path, shadows=5))
    goal = GOALS["permissive"]
    tuned = tune(model, specs, trials=8)
    allowed = tuned.allowed(goal)
    assert 8 < len(allowed) < len(tuned.trials)
    for trial in allowed:
        assert all(least >= 0.5 for least in trial.point.thresholds.values())
        assert trial.point.dilate == 0
    assert goal.allows(tuned.points["permissive"])
    for thresholds, dilate in (({"cloud": 0.48}, 0), ({}, 10)):
        assert not goal.allows(OperatingPoint(thresholds=thresholds, dilate=dilate))
        assert GOALS["conservative"].allows(OperatingPoint(thresholds=thresholds, dilate=dilate))


def test_shadow_is_tuned_where_enough_scenes_have_it(model: Model, tmp_path: Path) -> None:
    specs = read_manifest(write_scenes(tmp_path, shadows=5))
    tuned = tune(model, specs, trials=2)
    assert tuned.shadow
    assert any("cloud shadow" in trial.point.thresholds for trial in tuned.trials)


def test_nothing_better_leaves_the_most_probable_class(model: Model, tmp_path: Path) -> None:
    path = write_scenes(tmp_path, scenes=2)
    for file in tmp_path.glob("?.npy"):  # no pixel between cloud and clear
        red = np.load(file)
        np.save(file, np.where(red == 49, 80, red))
    tuned = tune(model, read_manifest(path), trials=2)
    assert all(point == OperatingPoint() for point in tuned.points.values())
    document = tuning_document(tuned, model, read_manifest(path), split="held")
    assert document["points"]["balanced"]["goal"]["gain"] == 0


def test_what_gains_on_no_scene_held_out_is_not_chosen() -> None:
    # Each of four trials mends one scene and harms the others a little: chance, of which a choice
    # that has not seen the scene has nothing.
    plain = np.zeros((4, 2, 4))
    plain[:, 0] = 50, 10, 10, 30
    trials = [Trial(OperatingPoint(), plain)]
    for scene in range(4):
        counts = plain.copy()
        counts[:, 0] += 0, 1, 0, -1
        counts[scene, 0] = 60, 0, 0, 40
        trials.append(Trial(OperatingPoint(dilate=10 * (scene + 1)), counts))
    tuned = Tuned({}, {}, tuple(trials), shadow=False)
    for goal in GOALS.values():
        assert goal.score(trials[1].counts.sum(axis=0), False) > goal.score(
            plain.sum(axis=0), False
        )
        assert tuned.chosen(goal) is trials[0]


def test_what_is_written(model: Model, tmp_path: Path) -> None:
    specs = read_manifest(write_scenes(tmp_path))
    tuned = tune(model, specs, trials=12)
    paths = write_tuned(tuned, model, specs, tmp_path / "tuned.onnx", split="held")
    assert set(paths) == {"model", "table", "tuning"}  # the tiny model has no STAC item
    card = load_model(paths["model"]).card
    for name, point in tuned.points.items():
        kept = card.operating_points[name]
        assert kept.model_copy(update={"about": ""}) == point
        assert "tuned on the split held of manifest.csv (6 scenes)" in kept.about
    document = json.loads(paths["tuning"].read_text())
    scored = evaluate(load_model(paths["model"]), specs)
    ece = scored.scores()["calibration"]["cloud"]["ece"]
    assert card.calibration_error.split == "held"
    assert card.calibration_error.ece["cloud"] == ece
    named = evaluate(
        load_model(paths["model"]), specs, options=MaskOptions(operating_point="balanced")
    )
    found = document["points"]["balanced"]
    assert found["scores"]["cloud"]["iou"] == named.scores()["overall"]["cloud"]["iou"] == 1
    assert found["goal"]["gain"] == pytest.approx(1 - found["goal"]["plain"])
    assert found["goal"]["gain_interval"][0] > 0
    assert found["difference"]["cloud"]["iou"] == pytest.approx(found["goal"]["gain"])
    assert str(tmp_path) not in paths["tuning"].read_text() + card.model_dump_json()
    assert "held" in document["protocol"]["warning"]
    rows = paths["table"].read_text().splitlines()
    assert [row.partition(",")[0] for row in rows] == ["point", "plain", *GOALS]


def test_what_a_card_says_of_calibration(model: Model, tmp_path: Path) -> None:
    specs = read_manifest(write_scenes(tmp_path))
    tuned = tune(model, specs, trials=1)
    told = CalibrationError(split="held", ece={"cloud": 0.4}, before={"cloud": 0.5})
    model = replace(model, card=model.card.model_copy(update={"calibration_error": told}))
    for split, before in (("held", {"cloud": 0.5}), ("other", {})):
        paths = write_tuned(tuned, model, specs, tmp_path / f"{split}.onnx", split=split)
        error = load_model(paths["model"]).card.calibration_error
        assert error is not None
        assert (error.split, error.before) == (split, before)
        assert set(error.ece) == {"cloud"}, "of classes that labels rule out nothing is said"


def test_never_on_a_test_split(tmp_path: Path) -> None:
    check_split("validation", read_manifest(write_scenes(tmp_path)))
    for split in ("latest", "contested", "attestation-2", "tested"):
        check_split(split, ())
    for split in ("test", "Test-2", "test_2020", "test2", "own test", "2020tests"):
        with pytest.raises(InputError, match="never tuned on a test split"):
            check_split(split, ())
    with pytest.raises(InputError, match="never tuned on a test split"):
        check_split("", read_manifest(write_scenes(tmp_path, split="test")))


def test_nothing_to_tune(model: Model, tmp_path: Path) -> None:
    path = write_scenes(tmp_path, scenes=1)
    path.write_text(path.read_text().replace("1=cloud|thin cloud", "1=clear|cloud|thin cloud"))
    with pytest.raises(InputError, match="nothing to tune on"):
        tune(model, read_manifest(path), trials=1)
