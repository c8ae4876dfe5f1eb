"""Mixing chips of several samples, each with its label."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nubila.recipe.augment import Augment
from nubila.train.augment.bands import Pair

__all__ = ["chessmix", "cutmix", "mix", "mosaic"]

Other = Callable[[np.random.Generator], Pair]


def mix(pair: Pair, other: Other, spec: Augment, random: np.random.Generator) -> Pair:
    """Mix a chip with others, in the way whose chance comes first: mosaic, chessboard, rectangle.

    Args:
        pair: a chip.
        other: gives another chip of the same shape each time.
        spec: `mosaic`, `chessmix` and `cutmix` count.
        random: source of chance; one number where none of them is on.

    Returns:
        A new chip, or the one given. Bands that one of the chips lacks are missing in all of it.
    """
    draw = random.random()
    if draw < spec.mosaic:
        return mosaic(pair, [other(random) for _ in range(3)], random)
    draw -= spec.mosaic
    if 0 <= draw < spec.chessmix:
        return chessmix(pair, [other(random) for _ in range(3)], random)
    draw -= spec.chessmix
    if 0 <= draw < spec.cutmix:
        return cutmix(pair, other(random), random)
    return pair


def cutmix(pair: Pair, other: Pair, random: np.random.Generator) -> Pair:
    """Put a rectangle of another chip in its place (CutMix, Yun et al. 2019).

    Its share of the area is uniform between 0 and 1, as theirs is (Beta(1, 1)), its shape the
    chip's. Labels go with their pixels and are not averaged.
    """
    rows, columns = pair[1].shape
    part = np.sqrt(random.uniform())
    inside = np.zeros((rows, columns), np.uint8)
    window = tuple(
        slice(start := int(random.integers(0, length - side + 1)), start + side)
        for length in (rows, columns)
        for side in (round(part * length),)
    )
    inside[window] = 1
    return _assemble([pair, other], inside)


def mosaic(pair: Pair, others: list[Pair], random: np.random.Generator) -> Pair:
    """Put four chips around a random point (Mosaic, Bochkovskiy et al. 2020).

    Each keeps its place in the frame and its scale; the point is in the middle half of the chip.
    """
    rows, columns = pair[1].shape
    row, column = (int(random.integers(n // 4, n - n // 4 + 1)) for n in (rows, columns))
    choice = np.zeros((rows, columns), np.uint8)
    choice[:row, column:], choice[row:, :column], choice[row:, column:] = 1, 2, 3
    return _assemble([pair, *others], choice)


def chessmix(pair: Pair, others: list[Pair], random: np.random.Generator) -> Pair:
    """Put pieces of several chips on the squares of one colour of a chessboard.

    After ChessMix (Pereira and dos Santos 2021, arXiv:2108.11535). The squares of the other colour
    have no data and are ignored, so that no piece borders on another. Pieces are taken where they
    stand, from chips that are turned and scaled already. As rare classes are favoured there, each
    square takes, of two chips drawn, the piece whose rarest label is the rarer among all chips.
    """
    pairs = [pair, *others]
    rows, columns = pair[1].shape
    squares = int(random.integers(3, 7))
    row = np.arange(rows) * squares // rows
    column = np.arange(columns) * squares // columns
    odd = int(random.integers(2))
    counts = sum(np.bincount(label.ravel(), minlength=256) for _, label in pairs)
    choice = np.zeros((rows, columns), np.uint8)
    for i in range(squares):
        for j in range(squares):
            window = np.ix_(row == i, column == j)
            drawn = random.integers(len(pairs), size=2)
            rarest = [_rarest(pairs[k][1][window], np.asarray(counts)) for k in drawn]
            choice[window] = drawn[int(np.argmin(rarest))]
    image, label = _assemble(pairs, choice)
    empty = (row[:, None] + column[None, :]) % 2 == odd
    image[:, empty] = np.nan
    label[empty] = 0
    return image, label


def _rarest(label: NDArray[np.uint8], counts: NDArray[np.int64]) -> int:
    """Return how many pixels in all have the rarest label of a piece; ignored ones do not count."""
    found = np.unique(label[label != 0])
    return int(counts[found].min()) if len(found) else int(counts.sum())


def _assemble(pairs: list[Pair], choice: NDArray[np.uint8]) -> Pair:
    """Return pixels of the chips whose places `choice` gives, without bands that one lacks."""
    image = np.empty_like(pairs[0][0])
    label = np.empty_like(pairs[0][1])
    lacking = np.zeros(len(image), np.bool_)
    for place in np.unique(choice):
        here = choice == place
        image[:, here] = pairs[place][0][:, here]
        label[here] = pairs[place][1][here]
        empty = np.isnan(pairs[place][0]).all(axis=(1, 2))
        lacking |= empty & (not empty.all())
    image[lacking] = np.nan
    label[np.isnan(image).all(axis=0)] = 0
    return image, label
