"""What Hypothesis draws for the engine."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st

from nubila.infer import cache
from nubila.raster import Window
from tests.infer.toy import STRIDE

SLOW = settings(deadline=None, derandomize=True)


def least_block(rows, pixels=1):
    """Have so few rows and pixels decoded at once that small scenes too have many blocks."""
    return patch.multiple(cache, _LEAST_ROWS=rows, _LEAST_PIXELS=pixels)


def tiles(card):
    """Slightly more than the smallest tile, so that there are many; also the default."""
    least = 2 * card.halo + STRIDE
    return st.integers(least, least + 40) | st.none()


@st.composite
def windows(draw, shape):
    """None for the whole scene, or a window of it."""
    if draw(st.booleans()):
        return None
    (top, bottom), (left, right) = (
        sorted(draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True)))
        for n in shape
    )
    return Window.between(top, left, bottom, right)
