"""Putting answers together: rows in order, and the picture made along the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nubila.infer.tiles import Answer, Job, Thumbnail

__all__ = ["Strip", "StripBuilder"]


@dataclass(frozen=True)
class Strip:
    """Finished rows over the whole width of the area.

    Attributes:
        row: first row, counted from the top of the area.
        classes: (rows, columns) uint8 class codes, 255 where nothing was judged.
        validity: (rows, columns) uint8 of `nubila.classes.Validity`.
        probabilities: (classes, rows, columns) in the card's order, if asked for: float32 with NaN
            where nothing was judged, or uint8 by `decide.PROBABILITY_SCALE` with 255 there.
    """

    row: int
    classes: NDArray[np.uint8]
    validity: NDArray[np.uint8]
    probabilities: NDArray[Any] | None = None


class StripBuilder:
    """Collects the answers of a run and gives strips from top to bottom; used by one thread."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._missing = {row[0].core.row: len(row) for row in job.plan.rows}
        self._open: dict[int, Strip] = {}
        self._sums: NDArray[np.float32] | None = None
        if job.preview is not None:
            self._sums = np.zeros((3, *job.preview.shape), np.float32)

    def add(self, answer: Answer) -> None:
        """Take in the answer of a tile."""
        core = answer.core
        if core.row not in self._open:
            self._open[core.row] = self._empty(answer)
        strip = self._open[core.row]
        left = core.column - self._job.plan.area.column
        columns = slice(left, left + core.width)
        strip.classes[:, columns] = answer.classes
        strip.validity[:, columns] = answer.validity
        if strip.probabilities is not None:
            strip.probabilities[:, :, columns] = answer.probabilities
        self._missing[core.row] -= 1
        self._add_to_preview(answer.thumbnail)

    def finished(self) -> Iterator[Strip]:
        """Give the strips that are whole and whose strips above have been given."""
        while self._missing:
            first = next(iter(self._missing))
            if self._missing[first]:
                return
            del self._missing[first]
            yield self._open.pop(first)

    def preview(self) -> NDArray[np.float32] | None:
        """Return the mean reflectance over the pixels of the preview."""
        if self._sums is None or self._job.preview is None:
            return None
        return self._sums / self._job.preview.sizes()

    def _empty(self, answer: Answer) -> Strip:
        """Return a strip to be filled with the answers of a row of tiles, given one of them."""
        area, found = self._job.plan.area, answer.probabilities
        shape = answer.core.height, area.width
        return Strip(
            row=answer.core.row - area.row,
            classes=np.empty(shape, np.uint8),
            validity=np.empty(shape, np.uint8),
            probabilities=None if found is None else np.empty((len(found), *shape), found.dtype),
        )

    def _add_to_preview(self, thumbnail: Thumbnail | None) -> None:
        if self._sums is not None and thumbnail is not None:
            rows, columns = thumbnail.sums.shape[1:]
            place = np.s_[thumbnail.row : thumbnail.row + rows]
            self._sums[:, place, thumbnail.column : thumbnail.column + columns] += thumbnail.sums
