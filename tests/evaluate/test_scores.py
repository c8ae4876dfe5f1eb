from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    jaccard_score,
    precision_score,
    recall_score,
)

from nubila.classes import CLASS_NAMES, class_set
from nubila.datasets import parse_codes
from nubila.evaluate.counts import FIGURES
from nubila.evaluate.scores import (
    SCORED,
    Counts,
    SampleTally,
    count_class,
    differences,
    label_name,
    summarise,
    tally,
    variants,
)
from nubila.evaluate.tally import called_sets

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
        assert counts.figure("dice") == pytest.approx(f1_score(true, called))
    else:
        assert counts.iou is counts.figure("dice") is None
    assert counts.figure("accuracy") == pytest.approx(accuracy_score(true, called))
    for figure, expected in (
        ("precision", precision_score(true, called, zero_division=np.nan)),
        ("recall", recall_score(true, called, zero_division=np.nan)),
        ("specificity", recall_score(~true, ~called, zero_division=np.nan)),
    ):
        found = counts.figure(figure)
        assert (found is None and math.isnan(expected)) or found == pytest.approx(expected)
    if true.any() and not true.all():
        expected = balanced_accuracy_score(true, called)
        assert counts.figure("balanced_accuracy") == pytest.approx(expected)
    else:
        assert counts.figure("balanced_accuracy") is None


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
    assert list(scores)[:5] == ["scenes", "cloud", "thick cloud", "thin cloud", "cloud shadow"]
    for name in list(scores)[1:5]:
        for figure in FIGURES:
            assert scores[name][figure] == scores[name][f"{figure}_scene_mean"] == 1
            assert scores[name][f"{figure}_interval"] == [None, None]
    assert (scores["cloud"]["hits"], scores["cloud"]["rejections"]) == (2, 2)
    json.dumps(scores, allow_nan=False)


def test_confusion() -> None:
    codes = "64=cloud shadow;128=clear|snow|water;192=thin cloud;255=cloud"
    scores = summarise([sample(codes, [64, 128, 128, 255], [3, 0, 5, 2])], ALL)
    assert scores["confusion"] == {
        "labels": ["cloud", "cloud shadow", "clear, snow or water"],
        "predictions": list(ALL),
        "pixels": [[0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0], [1, 0, 0, 0, 0, 1]],
    }
    assert label_name(6) == "cloud or thin cloud"


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


def test_scene_mean_pools_a_group_and_leaves_out_scenes_without_the_class() -> None:
    first = sample(CLOUD_OR_NOT, [1, 1], [1, 1], group="a")  # with the next: 3 of 4
    second = sample(CLOUD_OR_NOT, [1, 1], [1, 0], group="a")
    empty = sample(CLOUD_OR_NOT, [0, 0], [0, 0], group="b")
    alarm = sample(CLOUD_OR_NOT, [0, 0], [0, 1], group="c")
    scores = summarise([first, second, empty, alarm], ALL)
    assert scores["scenes"] == scores["cloud"]["scenes"] == 3
    assert scores["cloud"]["iou_scene_mean"] == 0.75
    assert scores["cloud"]["iou_scene_mean_scenes"] == 1
    assert scores["cloud"]["false_positive_rate_absent"] == 0.25
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


def merged(label: str, mask: list[int], classes: list[int]) -> SampleTally:
    """A sample as a model of (clear, cloud) sees it, for which snow, water and shadow are clear."""
    called = called_sets({0: class_set(["clear", "cloud shadow", "snow", "water"]), 1: 6})
    return replace(sample(label, mask, classes), called=called)


def test_a_merged_class_is_right_where_the_label_says_a_part_of_it() -> None:
    codes = "0=clear;1=cloud;2=thin cloud;4=snow"
    found = merged(codes, [4, 4, 0, 1, 2, 2], [0, 1, 0, 1, 1, 0])
    assert found.agreement == pytest.approx(4 / 6)
    scores = summarise([found], ["clear", "cloud"])
    assert scores["cloud"]["iou"] == pytest.approx(2 / 4)
    # Its "clear" may be snow and its "cloud" thin, so it is not scored for them by themselves.
    assert not {"clear", "snow", "thin cloud", "thick cloud"} & set(scores)
    # The same answers of a model whose clear is only clear are wrong where there is snow.
    plain = sample(codes, [4, 4, 0, 1, 2, 2], [0, 1, 0, 1, 1, 0])
    assert plain.agreement == pytest.approx(2 / 6)
    assert "clear" in summarise([plain], ["clear", "cloud"])


def test_without_thin_cloud_and_without_boundaries() -> None:
    codes = "0=clear;1=cloud;2=thin cloud"
    found = sample(codes, [0, 1, 2, 2], [0, 1, 0, 0])
    assert summarise([found], ALL)["cloud"]["iou"] == pytest.approx(1 / 3, abs=1e-6)
    inner = replace(found, inner=tally(np.array([[1, 0, 0, 0]], np.uint8), np.zeros((1, 4), "u1")))
    chosen = variants([inner], "2 px")
    assert list(chosen) == ["without thin cloud", "without boundaries (2 px)"]
    assert summarise(chosen["without thin cloud"], ALL)["cloud"]["iou"] == 1
    assert "thin cloud" not in summarise(chosen["without thin cloud"], ALL)
    assert summarise(chosen["without boundaries (2 px)"], ALL)["pixels"] == 1
    # Labels that cannot tell thin cloud have nothing to leave out.
    assert variants([sample(CLOUD_OR_NOT, [0, 1], [0, 1])], None) == {}


def test_differences_are_paired() -> None:
    rng = np.random.default_rng(3)
    first, second = [], []
    for n in range(30):
        mask = (rng.random(200) < rng.random()).astype(int)
        wrong = rng.random(200) < rng.random() * 0.5
        answer = np.where(wrong, 1 - mask, mask)
        # The second model makes the same errors, and five more.
        worse = answer.copy()
        worse[:5] = 1 - mask[:5]
        first.append(sample(CLOUD_OR_NOT, mask.tolist(), answer.tolist(), group=f"g{n}"))
        second.append(sample(CLOUD_OR_NOT, mask.tolist(), worse.tolist(), group=f"g{n}"))
    found = differences(first, second, ["cloud"])["cloud"]
    one, other = (summarise(s, ALL)["cloud"] for s in (first, second))
    assert found["iou"] == pytest.approx(one["iou"] - other["iou"], abs=2e-6)
    low, high = found["iou_interval"]
    assert 0 < low < found["iou"] < high
    # Each model's own interval is so wide that the two overlap by far.
    assert high - low < 0.3 * (one["iou_interval"][1] - one["iou_interval"][0])
    back = differences(second, first, ["cloud"])["cloud"]
    assert back["iou_interval"] == pytest.approx([-high, -low])


def test_two_models_are_averaged_over_the_same_scenes() -> None:
    cloudy = sample(CLOUD_OR_NOT, [1, 1, 0, 0], [1, 0, 0, 0], group="cloudy")
    clear, false = (
        sample(CLOUD_OR_NOT, [0, 0, 0, 0], answer, group="clear")
        for answer in ([0, 0, 0, 0], [0, 0, 0, 1])
    )
    quiet, loud = [cloudy, clear], [cloudy, false]
    found = differences(loud, quiet, ["cloud"])["cloud"]
    assert found["iou_scene_mean"] == 0
    assert found["iou_scene_mean_interval"] == [0, 0]
    assert found["false_positive_rate_absent"] == 0.25
    one, other = (summarise(s, ALL)["cloud"] for s in (loud, quiet))
    assert one["iou_scene_mean"] == other["iou_scene_mean"] == 0.5
    assert one["iou_scene_mean_scenes"] == other["iou_scene_mean_scenes"] == 1


def test_scored_sets() -> None:
    assert SCORED["cloud"] == class_set(["cloud", "thin cloud"]) == 6
