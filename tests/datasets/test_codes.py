from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nubila.classes import CLASS_NAMES, class_set
from nubila.datasets import parse_codes, unnamed_told
from nubila.datasets.codes import NO_CODE, NUBILA_CODES, values_told
from nubila.errors import ManifestError

ISSUE = "64=cloud shadow;128=clear|snow|water;192=thin cloud;255=cloud"


def test_the_example_of_the_documentation() -> None:
    label = parse_codes(ISSUE).apply(np.array([[0, 64, 128], [192, 255, 7]], np.uint8))
    assert label.dtype == np.uint8
    assert label.tolist() == [[0, 1 << 3, 0b110001], [1 << 2, 1 << 1, 0]]


def test_star_stands_for_every_other_code() -> None:
    codes = parse_codes("65280=cloud shadow; *=clear|cloud|thin cloud|snow|water")
    assert codes.apply(np.array([65280, 0, 9, -4])).tolist() == [8, 0b110111, 0b110111, 0b110111]


def test_only_star() -> None:
    assert parse_codes("*=cloud").apply(np.zeros((2, 2))).tolist() == [[2, 2], [2, 2]]


def test_float_masks_and_nan() -> None:
    codes = parse_codes("0=clear;1=cloud;*=snow")
    assert codes.apply(np.array([0.0, 1.0, np.nan, 5.0])).tolist() == [1, 2, 0, 16]


def test_default_codes_are_the_class_codes() -> None:
    codes = parse_codes(NUBILA_CODES)
    values = np.array([*CLASS_NAMES, 255])
    assert codes.apply(values).tolist() == [1 << c for c in CLASS_NAMES] + [0]


def test_values_that_no_code_names_have_their_share_of_the_pixels() -> None:
    codes = parse_codes("0=clear;1=cloud")
    assert codes.unnamed(np.array([[0, 1, 7, 7], [0, 9, 1, NO_CODE]])) == {7: 0.25, 9: 0.125}
    assert codes.unnamed(np.array([[0.0, np.nan], [1.0, 3.0]], np.float32)) == {3: 0.25}
    assert codes.unnamed(np.array([[True, False]])) == {}


@pytest.mark.parametrize("rest", ["*=ignored", "*=snow", "7=ignored;9=ignored"])
def test_values_that_are_named_are_not_told(rest: str) -> None:
    codes = parse_codes(f"0=clear;{rest}")
    assert codes.unnamed(np.array([0, 7, 9])) == {}


def test_star_that_is_ignored_leaves_the_codes_what_they_are() -> None:
    # Tile stores and kept measurements are known by their text.
    plain, told = parse_codes("0=clear"), parse_codes("0=clear;*=ignored")
    assert plain == told and repr(plain) == repr(told)


def test_what_is_told_of_values_that_no_code_names() -> None:
    assert unnamed_told([{}, {}]) == ""
    told = unnamed_told([{}, {64: 0.5, 7: 0.0001}, {64: 0.25}])
    assert told.startswith("2 of 3 masks hold values that codes does not name")
    assert "64 (37.5 %), 7 (< 0.1 %) of their pixels" in told
    assert values_told(dict.fromkeys(range(12), 0.05)).endswith("7 (5.0 %) and 4 more")


names = st.lists(st.sampled_from(list(CLASS_NAMES.values())), min_size=1, max_size=3, unique=True)


@given(
    table=st.dictionaries(st.integers(-5, 300), names, min_size=1, max_size=6),
    other=st.none() | names,
    mask=hnp.arrays(np.int16, (3, 5), elements=st.integers(-6, 301)),
)
def test_agrees_with_looking_up_each_pixel(
    table: dict[int, list[str]], other: list[str] | None, mask: np.ndarray
) -> None:
    entries = [f"{code}={'|'.join(found)}" for code, found in table.items()]
    if other:
        entries.append(f"*={'|'.join(other)}")
    label = parse_codes(";".join(entries)).apply(mask)
    expected = [[class_set(table.get(int(v), other or [])) for v in row] for row in mask]
    assert label.tolist() == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("64=cloud shadw", "'cloud shadow'"),
        ("64", "not of the form"),
        ("64=", "not of the form"),
        ("x=cloud", "'x'"),
        ("1=cloud;1=clear", "code 1 is given twice"),
        (" ; ", "no code is given"),
    ],
)
def test_errors_name_the_entry(text: str, said: str) -> None:
    with pytest.raises(ManifestError, match=said):
        parse_codes(text)
