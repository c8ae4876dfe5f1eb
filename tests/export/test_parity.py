from __future__ import annotations

import numpy as np
import pytest

from nubila.export import parity


def test_no_number_is_too_much() -> None:
    found = np.array([0.1, np.nan], np.float32)
    assert np.isnan(parity._difference(found, np.array([0.1, 0.2], np.float32)))


@pytest.mark.parametrize("wrong", [0, 3])
def test_classes_that_differ_are_counted(wrong: int) -> None:
    expected = np.zeros((1, 4, 4), np.uint8)
    found = expected.copy()
    found.ravel()[:wrong] = 1
    assert parity._difference(found, expected) == wrong / 16
