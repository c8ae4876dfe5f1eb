from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nubila.datasets import LabelCodes, SampleSpec
from nubila.errors import ManifestError
from nubila.tiles.split import assign_splits


def spec(group: str, split: str = "") -> SampleSpec:
    return SampleSpec(
        manifest="m.csv", line=1, id=group, folder=".", images=(), mask=Path("m"), bands=(),
        scale=(), offset=(), nodata=(), codes=LabelCodes((), ()), sensor="", level="",
        split=split, group=group, resolution=None, tags={},
    )  # fmt: skip


@given(st.lists(st.integers(0, 30), min_size=40, max_size=200), st.integers(0, 5))
def test_groups_stay_whole_and_splits_get_about_their_share(groups, seed):
    specs = [spec(f"g{number}") for number in [0, 1, 2, *groups]]
    splits = assign_splits(specs, {"train": 0.7, "validation": 0.2, "test": 0.1}, seed=seed)
    of_group = defaultdict(set)
    for one, split in zip(specs, splits, strict=True):
        of_group[one.group].add(split)
    assert all(len(found) == 1 for found in of_group.values())
    assert set(splits) == {"train", "validation", "test"}
    largest = max(Counter(s.group for s in specs).values())
    assert abs(splits.count("train") - 0.7 * len(specs)) <= largest + 1


def test_a_split_of_the_manifest_stays_and_is_given_to_the_rest_of_its_group():
    specs = [spec("a", "test"), spec("a"), spec("b"), spec("c")]
    splits = assign_splits(specs, {"train": 1.0})
    assert splits == ("test", "test", "train", "train")
    assert assign_splits(specs, {}) == ("test", "test", "", "")


def test_the_order_depends_on_the_seed_alone():
    specs = [spec(f"g{number}") for number in range(20)]
    shares = {"train": 0.5, "test": 0.5}
    assert assign_splits(specs, shares) == assign_splits(specs[::-1], shares)[::-1]
    assert assign_splits(specs, shares) != assign_splits(specs, shares, seed=1)


def test_leakage_and_too_few_groups_are_errors():
    with pytest.raises(ManifestError, match=r"m.csv: line 1.*'train'.*'test'.*leak"):
        assign_splits([spec("a", "test"), spec("a", "train")], {})
    with pytest.raises(ManifestError, match="1 groups cannot be dealt out to 2 splits"):
        assign_splits([spec("a"), spec("a")], {"train": 0.5, "test": 0.5})
