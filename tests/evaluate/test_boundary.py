from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nubila.errors import InputError
from nubila.evaluate.boundary import Buffer, near_boundary, parse_buffer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2", Buffer(2)),
        ("3px", Buffer(3)),
        (" 60 m", Buffer(60, "m")),
        ("1.5", Buffer(1.5)),
        ("0", None),
        ("0m", None),
    ],
)
def test_buffers_in_words(text: str, expected: Buffer | None) -> None:
    assert parse_buffer(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "2km", "two", "nan"])
def test_what_is_no_buffer(text: str) -> None:
    with pytest.raises(InputError, match="expected pixels as 2 or 2px, or metres as 60m"):
        parse_buffer(text)


labels = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 6])
)


@given(labels, st.sampled_from([1, 1.5, 2, 2.5, 3, 5, 20]))
@example(np.array([[1, 6], [0, 0], [0, 0]], np.uint8), 20)  # beside an edge
def test_distances_agree_with_a_loop(label: np.ndarray, radius: float) -> None:
    rows, columns = label.shape
    edge = [
        (r, c)
        for r in range(rows)
        for c in range(columns)
        if any(
            0 <= y < rows and 0 <= x < columns and label[y, x] not in (0, label[r, c])
            for y, x in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1))
        )
        and label[r, c]
    ]
    expected = np.array(
        [
            [any((y - r) ** 2 + (x - c) ** 2 <= (radius - 1) ** 2 for y, x in edge)
             for c in range(columns)]
            for r in range(rows)
        ]
    )  # fmt: skip
    np.testing.assert_array_equal(near_boundary(label, radius), expected)


def test_a_straight_boundary() -> None:
    label = np.full((3, 10), 1, np.uint8)
    label[:, 5:] = 2
    assert near_boundary(label, 2)[1].nonzero()[0].tolist() == [3, 4, 5, 6]
    label[:, 4:6] = 0  # what is ignored is no boundary
    assert not near_boundary(label, 2).any()
