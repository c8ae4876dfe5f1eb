from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nubila.evaluate.counts import (
    FIGURES,
    Counts,
    absent_interval,
    absent_rate,
    difference_intervals,
    intervals,
    scene_mean,
    scene_mean_interval,
    with_class,
)

counts_drawn = st.builds(Counts, *[st.integers(0, 50)] * 4)


@given(st.lists(counts_drawn, min_size=2, max_size=8), st.sampled_from(sorted(FIGURES)))
def test_an_interval_lies_within_the_scenes_and_repeats(scenes: list[Counts], name: str) -> None:
    low, high = intervals(scenes, resamples=50)[name]
    assert (low, high) == intervals(scenes, resamples=50)[name]
    defined = [v for s in scenes if (v := s.figure(name)) is not None]
    if name == "balanced_accuracy":
        assert low is None or 0 <= low <= high <= 1
    elif not defined:
        assert low is high is None
    else:
        # A global ratio is a weighted mean of the scenes' own, so it cannot leave their range.
        assert min(defined) - 1e-6 <= low <= high <= max(defined) + 1e-6


def _scenes(seed: int) -> list[Counts]:
    drawn = np.random.default_rng(seed).integers(0, 90, (25, 3)).tolist()
    return [Counts(h, f, m, 9) for h, f, m in drawn]


def test_intervals_agree_with_a_plain_bootstrap() -> None:
    scenes, others = _scenes(5), _scenes(6)
    random = np.random.default_rng(7)
    ious, means, differences = [], [], []
    one, other = (
        np.array([(s.hits, s.false_alarms, s.misses) for s in n]) for n in (scenes, others)
    )
    for _ in range(4000):
        chosen = random.integers(0, 25, 25)
        hits, alarms, misses = one[chosen].sum(axis=0)
        ious.append(hits / (hits + alarms + misses))
        means.append((one[chosen, 0] / one[chosen].sum(axis=1)).mean())
        other_hits, _, other_misses = other[chosen].sum(axis=0)
        differences.append(hits / (hits + misses) - other_hits / (other_hits + other_misses))
    for found, drawn in (
        (intervals(scenes, resamples=4000, seed=1)["iou"], ious),
        (scene_mean_interval(scenes, "iou", resamples=4000, seed=1), means),
        (difference_intervals(scenes, others, resamples=4000, seed=1)["recall"], differences),
    ):
        assert found == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.01)


def test_a_model_does_not_differ_from_itself() -> None:
    found = difference_intervals(_scenes(1), _scenes(1))
    # Every scene has the class, so there is none to be wrong about without it.
    assert found.pop("false_positive_rate_absent") == (None, None)
    assert set(found.values()) == {(0.0, 0.0)}
    assert set(found) == {*FIGURES, "iou_scene_mean"}


def test_one_scene_has_no_interval() -> None:
    one = [Counts(5, 1, 1, 1)]
    assert set(intervals(one).values()) == {(None, None)}
    assert scene_mean_interval(one, "iou") == (None, None)
    assert set(difference_intervals(one, one).values()) == {(None, None)}


def test_labels_alone_say_which_scenes_a_mean_is_of() -> None:
    cloudy, clear = Counts(3, 1, 0, 0), Counts(0, 0, 0, 9)
    one_false, missed = Counts(0, 1, 0, 8), Counts(0, 0, 4, 5)
    for name in ("iou", "dice", "precision"):
        found = scene_mean([cloudy, clear], name)
        assert found == scene_mean([cloudy, one_false], name) == cloudy.figure(name)
        # What is there and never called counts: precision has no other value than 0 there.
        assert scene_mean([cloudy, missed], name) == pytest.approx((found or 0) / 2)
        assert scene_mean([clear, one_false], name) is None
    assert scene_mean([cloudy, missed], "recall") == 0.5
    assert scene_mean([clear, one_false, missed], "specificity") == pytest.approx(
        (1 + 8 / 9 + 1) / 3
    )
    assert scene_mean([clear], "accuracy") == 1


def test_false_pixels_of_scenes_without_the_class_are_a_figure_of_their_own() -> None:
    cloudy, clear, one_false = Counts(3, 5, 0, 2), Counts(0, 0, 0, 9), Counts(0, 1, 0, 8)
    assert with_class([cloudy, clear, one_false]) == 1
    assert absent_rate([cloudy, clear, one_false]) == pytest.approx(1 / 18)
    assert absent_rate([cloudy]) is None
    assert absent_interval([one_false]) == (None, None)
    assert absent_interval([cloudy, clear, one_false]) == pytest.approx((0, 1 / 9), abs=1e-6)


@given(st.lists(counts_drawn, min_size=2, max_size=8))
def test_a_false_pixel_in_a_clear_scene_changes_no_mean_of_ious(scenes: list[Counts]) -> None:
    clear, one_false = Counts(0, 0, 0, 50), Counts(0, 1, 0, 49)
    first, second = [*scenes, one_false], [*scenes, clear]
    assert scene_mean(first, "iou") == scene_mean(second, "iou")
    found = difference_intervals(first, second, resamples=50)
    assert found["iou_scene_mean"] in ((0, 0), (None, None))
    high = found["false_positive_rate_absent"][1]
    assert high is not None
    assert high > 0


def test_few_scenes_make_intervals_too_narrow_as_the_rules_say() -> None:
    random = np.random.default_rng(0)

    def false_alarms(scenes: int, times: int = 150) -> float:
        """Return how often 0 is left out between two detectors that take turns by lot."""
        found = 0
        for _ in range(times):
            # As in real sets: a few scenes have most of the cloud, and most of the mistakes.
            cloud = random.lognormal(6, 1.5, scenes)
            shares = random.beta(0.6, 4, (2, 2, scenes))
            pairs = [
                [Counts(int(c * (1 - m)), int(c * f), int(c * m), 9)
                 for c, m, f in zip(cloud, *shares[n], strict=True)]
                for n in (0, 1)
            ]  # fmt: skip
            low, high = difference_intervals(*pairs, resamples=300)["iou"]
            assert low is not None and high is not None
            found += not low <= 0 <= high
        return found / times

    assert 0.1 < false_alarms(7) < 0.25
    assert false_alarms(60) < 0.12
