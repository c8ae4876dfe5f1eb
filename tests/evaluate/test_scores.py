from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import accuracy_score, jaccard_score, precision_score, recall_score

from nubila.classes import CLASS_NAMES, class_set
from nubila.datasets import parse_codes
from nubila.evaluate.scores import (
    SCORED,
    Counts,
    SampleTally,
    bootstrap_interval,
    count_class,
    summarise,
    tally,
)

ALL = tuple(CLASS_NAMES.values())
CLOUD_OR_NOT = "0=clear|cloud shadow|snow|water;1=cloud|thin cloud"


def sample(
    codes: str, mask: list[int], classes: list[int], *, group: str = "g", folder: str = "f"
) -> SampleTally:
    parsed = parse_codes(codes)
    label = parsed.apply(np.array([mask], np.uint8))
    table = tally(label, np.array([classes], np.uint8))
    return SampleTally(f"{folder}/{group}", folder, group, table, parsed.all_sets)


codes_drawn = hnp.arrays(np.uint8, (6, 7), elements=st.integers(0, 5))


@given(truth=codes_drawn, predicted=codes_drawn, name=st.sampled_from(list(SCORED)))
def test_whole_labels_agree_with_sklearn(
    truth: np.ndarray, predicted: np.ndarray, name: str
) -> None:
    counts = count_class(tally((1 << truth).astype(np.uint8), predicted), SCORED[name])
    wanted = [code for code in CLASS_NAMES if SCORED[name] >> code & 1]
    true, called = np.isin(truth, wanted).ravel(), np.isin(predicted, wanted).ravel()
    if (true | called).any():
        assert counts.iou == pytest.approx(jaccard_score(true, called))
    else:
        assert counts.iou is None
    assert counts.accuracy == pytest.approx(accuracy_score(true, called))
    for found, other in ((counts.precision, precision_score), (counts.recall, recall_score)):
        expected = other(true, called, zero_division=np.nan)
        assert (found is None and math.isnan(expected)) or found == pytest.approx(expected)


labels_drawn = hnp.arrays(np.uint8, (5, 5), elements=st.integers(0, 63))
predictions_drawn = hnp.arrays(np.uint8, (5, 5), elements=st.sampled_from([0, 1, 2, 3, 4, 5, 255]))


@given(label=labels_drawn, predicted=predictions_drawn, name=st.sampled_from(list(SCORED)))
def test_partial_labels_agree_with_a_loop(
    label: np.ndarray, predicted: np.ndarray, name: str
) -> None:
    wanted = {code for code in CLASS_NAMES if SCORED[name] >> code & 1}
    found = [0, 0, 0, 0]
    for bits, code in zip(label.ravel().tolist(), predicted.ravel().tolist(), strict=True):
        allowed = {c for c in CLASS_NAMES if bits >> c & 1}
        if not allowed or code == 255:
            continue
        if allowed <= wanted:
            found[0 if code in wanted else 2] += 1
        elif not allowed & wanted:
            found[1 if code in wanted else 3] += 1
    assert count_class(tally(label, predicted), SCORED[name]) == Counts(*found)


@given(labels_drawn, predictions_drawn, labels_drawn, predictions_drawn)
def test_tables_of_parts_sum_to_that_of_the_whole(
    label: np.ndarray, predicted: np.ndarray, other_label: np.ndarray, other: np.ndarray
) -> None:
    whole = tally(np.vstack([label, other_label]), np.vstack([predicted, other]))
    np.testing.assert_array_equal(whole, tally(label, predicted) + tally(other_label, other))


def test_right_if_either_is_predicted() -> None:
    scores = summarise([sample(CLOUD_OR_NOT, [1, 1, 1, 0, 0, 0], [1, 2, 0, 3, 5, 1])], ALL)
    assert scores["cloud"]["iou"] == pytest.approx(2 / 4)
    assert scores["cloud"]["precision"] == pytest.approx(2 / 3, abs=1e-6)
    assert scores["agreement"] == pytest.approx(4 / 6, abs=1e-6)
    # Neither thin cloud nor shadow nor clear can be told from such labels.
    assert not {"thin cloud", "cloud shadow", "clear", "snow", "water"} & set(scores)


def test_baselines() -> None:
    scores = summarise([sample(CLOUD_OR_NOT, [1, 0, 0, 0], [0, 0, 0, 0])], ALL)
    assert scores["all_cloud_iou"] == 0.25
    assert scores["all_clear_accuracy"] == scores["cloud"]["accuracy"] == 0.75
    everything = summarise([sample(CLOUD_OR_NOT, [1, 0, 0, 0], [1, 1, 1, 1])], ALL)
    assert everything["cloud"]["iou"] == everything["all_cloud_iou"]


def test_structure_of_the_scores() -> None:
    codes = "64=cloud shadow;128=clear|snow|water;192=thin cloud;255=cloud"
    scores = summarise([sample(codes, [64, 128, 192, 255], [3, 0, 2, 1])], ALL)
    assert list(scores)[:6] == [
        "scenes",
        "cloud",
        "thin cloud",
        "cloud shadow",
        "all_cloud_iou",
        "all_clear_accuracy",
    ]
    for name in ("cloud", "thin cloud", "cloud shadow"):
        assert list(scores[name])[:6] == [
            "iou",
            "iou_scene_mean",
            "iou_interval",
            "precision",
            "recall",
            "accuracy",
        ]
        assert scores[name]["iou"] == 1
    json.dumps(scores, allow_nan=False)


def test_shadow_painted_and_nothing_said_of_cloud() -> None:
    codes = "1=cloud shadow;*=clear|cloud|thin cloud|snow|water"
    scores = summarise([sample(codes, [1, 1, 0, 0], [3, 0, 1, 3])], ALL)
    assert scores["cloud shadow"]["iou"] == pytest.approx(1 / 3, abs=1e-6)
    assert "cloud" not in scores
    assert scores["all_cloud_iou"] is None


def test_images_whose_labels_leave_a_class_open_do_not_count_for_it() -> None:
    drawn = sample("64=cloud shadow;128=clear|snow|water;255=cloud", [64, 128], [3, 0], group="a")
    not_drawn = sample("128=clear|cloud shadow|snow|water;255=cloud", [255, 128], [3, 3], group="b")
    scores = summarise([drawn, not_drawn], ALL)
    assert scores["cloud shadow"]["precision"] == 1
    assert scores["cloud shadow"]["scenes"] == 1
    assert scores["cloud"]["recall"] == 0
    assert scores["cloud"]["scenes"] == 2


def test_a_folder_without_cloud_still_tells_false_alarms() -> None:
    scores = summarise([sample("0=clear|snow|water", [0, 0, 0, 0], [0, 1, 4, 5])], ALL)
    assert (scores["cloud"]["iou"], scores["cloud"]["precision"]) == (0, 0)
    assert scores["cloud"]["recall"] is None
    assert scores["cloud"]["accuracy"] == 0.75


def test_classes_that_the_model_does_not_tell_are_left_out() -> None:
    codes = "0=clear;1=cloud;3=cloud shadow"
    scores = summarise([sample(codes, [0, 1, 3], [0, 1, 0])], ["clear", "cloud"])
    assert "cloud shadow" not in scores
    assert {"cloud", "clear"} <= set(scores)


def test_scene_mean_pools_a_group_and_leaves_out_empty_scenes() -> None:
    first = sample(CLOUD_OR_NOT, [1, 1], [1, 1], group="a")  # with the next: 3 of 4
    second = sample(CLOUD_OR_NOT, [1, 1], [1, 0], group="a")
    empty = sample(CLOUD_OR_NOT, [0, 0], [0, 0], group="b")  # no IoU
    alarm = sample(CLOUD_OR_NOT, [0, 0], [0, 1], group="c")  # IoU 0
    scores = summarise([first, second, empty, alarm], ALL)
    assert scores["scenes"] == 3
    assert scores["cloud"]["iou_scene_mean"] == pytest.approx((0.75 + 0) / 2)
    assert scores["cloud"]["iou"] == pytest.approx(3 / 5)


def test_groups_of_one_name_in_two_folders_are_two_scenes() -> None:
    one = sample(CLOUD_OR_NOT, [1, 0], [1, 0], folder="x")
    two = sample(CLOUD_OR_NOT, [1, 0], [0, 0], folder="y")
    scores = summarise([one, two], ALL)
    assert scores["scenes"] == 2
    assert scores["cloud"]["iou_scene_mean"] == 0.5


def test_nothing_predicted_nothing_there() -> None:
    scores = summarise([sample(CLOUD_OR_NOT, [0, 0], [0, 5])], ALL)
    assert scores["cloud"]["iou"] is None
    assert scores["cloud"]["iou_scene_mean"] is None
    assert scores["cloud"]["iou_interval"] == [None, None]
    assert scores["cloud"]["accuracy"] == 1


counts_drawn = st.builds(Counts, *[st.integers(0, 50)] * 4)


@given(st.lists(counts_drawn, min_size=2, max_size=8))
def test_the_interval_lies_within_the_scenes_and_repeats(scenes: list[Counts]) -> None:
    low, high = bootstrap_interval(scenes, resamples=50)
    assert (low, high) == bootstrap_interval(scenes, resamples=50)
    defined = [s.iou for s in scenes if s.iou is not None]
    if not defined:
        assert low is high is None
    else:
        # A global IoU is a weighted mean of the scenes' own, so it cannot leave their range.
        assert min(defined) - 1e-6 <= low <= high <= max(defined) + 1e-6


def test_the_interval_agrees_with_a_plain_bootstrap() -> None:
    random = np.random.default_rng(5)
    scenes = [Counts(int(h), int(f), int(m), 9) for h, f, m in random.integers(0, 90, (25, 3))]
    drawn = []
    for _ in range(4000):
        chosen = [scenes[i] for i in random.integers(0, 25, 25)]
        drawn.append(sum(chosen, Counts()).iou)
    found = bootstrap_interval(scenes, resamples=4000, seed=1)
    assert found == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.01)


def test_one_scene_has_no_interval() -> None:
    assert bootstrap_interval([Counts(5, 1, 1, 1)]) == (None, None)


def test_scored_sets() -> None:
    assert SCORED["cloud"] == class_set(["cloud", "thin cloud"]) == 6
