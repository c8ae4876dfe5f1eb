"""Putting answers together: rows in order, and the picture made along the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nubila.infer.plan import Tile
from nubila.infer.tiles import Answer, Job

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
        self._rows = {row[0].core.row: row for row in job.plan.rows}
        self._open: dict[int, list[Answer]] = {row: [] for row in self._rows}
        self._sums: NDArray[np.float32] | None = None
        if job.preview is not None:
            self._sums = np.zeros((3, *job.preview.shape), np.float32)

    def add(self, answer: Answer) -> None:
        """Take in the answer of a tile."""
        self._open[answer.core.row].append(answer)
        thumbnail = answer.thumbnail
        if self._sums is not None and thumbnail is not None:
            rows, columns = thumbnail.sums.shape[1:]
            place = np.s_[thumbnail.row : thumbnail.row + rows]
            self._sums[:, place, thumbnail.column : thumbnail.column + columns] += thumbnail.sums

    def finished(self) -> Iterator[Strip]:
        """Give the strips that are whole and whose strips above have been given."""
        while self._open:
            first = next(iter(self._open))
            if len(self._open[first]) < len(self._rows[first]):
                return
            yield self._strip(self._rows[first], self._open.pop(first))

    def preview(self) -> NDArray[np.float32] | None:
        """Return the mean reflectance over the pixels of the preview."""
        if self._sums is None or self._job.preview is None:
            return None
        return self._sums / self._job.preview.sizes()

    def _strip(self, row: tuple[Tile, ...], answers: list[Answer]) -> Strip:
        answers.sort(key=lambda a: a.core.column)

        def joined(name: str) -> Any:  # noqa: ANN401 (uint8 or float32)
            return np.concatenate([getattr(a, name) for a in answers], axis=-1)

        return Strip(
            row=row[0].core.row - self._job.plan.area.row,
            classes=joined("classes"),
            validity=joined("validity"),
            probabilities=None if self._job.probabilities is None else joined("probabilities"),
        )
