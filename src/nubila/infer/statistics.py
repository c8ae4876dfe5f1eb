"""Counts of pixels by class and by validity, and the cover in percent that follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES, CLOUD_CODES, ClassCode, Validity, class_code

__all__ = ["Counter", "Statistics", "percent"]


@dataclass(frozen=True)
class Statistics:
    """How many pixels of the area have which class.

    Attributes:
        classes: code of each class that the model tells (never 255) -> pixels.
        validity: `Validity` -> pixels.
        pixel_area: square metres.
    """

    classes: Mapping[int, int]
    validity: Mapping[int, int]
    pixel_area: float

    @property
    def pixels(self) -> int:
        """Pixels of the area."""
        return sum(self.validity.values())

    @property
    def valid(self) -> int:
        """Pixels that have a class."""
        return sum(self.classes.values())

    @property
    def cover(self) -> dict[str, float]:
        """Class name -> percentage of the valid pixels; empty without valid pixels."""
        if not self.valid:
            return {}
        return {CLASS_NAMES[code]: 100 * count / self.valid for code, count in self.classes.items()}

    @property
    def cloud_cover(self) -> float | None:
        """Cloud and thin cloud as a percentage of the valid pixels; None without any."""
        return self.share(*CLOUD_CODES)

    @property
    def snow_cover(self) -> float | None:
        """Snow as a percentage of the valid pixels; None where the model does not tell it."""
        return self.share(ClassCode.SNOW)

    def share(self, *codes: int) -> float | None:
        """Return some classes together as a percentage of the valid pixels.

        None where the model tells none of them, or without valid pixels.
        """
        if not self.valid or not set(codes) & set(self.classes):
            return None
        return 100 * sum(self.classes.get(code, 0) for code in codes) / self.valid

    def record(self) -> dict[str, Any]:
        """Return plain values, as the STAC item keeps them; `from_record` reads them back."""
        return {
            "classes": {CLASS_NAMES[code]: count for code, count in self.classes.items()},
            "validity": {
                v.name.lower().replace("_", " "): self.validity.get(v, 0) for v in Validity
            },
            "pixel_area": self.pixel_area,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Statistics:
        """Read what `record` gave."""
        return cls(
            {class_code(name): count for name, count in record["classes"].items()},
            {v: record["validity"][v.name.lower().replace("_", " ")] for v in Validity},
            record["pixel_area"],
        )


@dataclass
class Counter:
    """Counts strip by strip.

    Attributes:
        codes: of the classes that the model tells.
        pixel_area: square metres.
    """

    codes: Sequence[int]
    pixel_area: float
    _classes: dict[int, int] = field(default_factory=dict)
    _validity: dict[int, int] = field(default_factory=dict)

    def add(
        self,
        classes: NDArray[np.uint8],
        validity: NDArray[np.uint8],
        outside: NDArray[np.bool_] | None = None,
    ) -> None:
        """Count a strip.

        Args:
            classes: (rows, columns) class codes.
            validity: (rows, columns) of `Validity`.
            outside: (rows, columns) where a pixel is not of the area, or None.
        """
        if outside is not None:
            classes, validity = classes[~outside], validity[~outside]
        # A comparison a value is four times faster than a histogram of bytes.
        for total, values, wanted in (
            (self._classes, classes, sorted(self.codes)),
            (self._validity, validity, Validity),
        ):
            for value in wanted:
                total[value] = total.get(value, 0) + int(np.count_nonzero(values == value))

    def statistics(self) -> Statistics:
        """Return what was counted."""
        return Statistics(dict(self._classes), dict(self._validity), self.pixel_area)


def percent(share: float) -> str:
    """Return a percentage for people; what is there but rounds to nothing is told as little.

    >>> percent(31.24), percent(0.01), percent(0)
    ('31.2 %', '< 0.1 %', '0.0 %')
    """
    return "< 0.1 %" if 0 < share < 0.05 else f"{share:.1f} %"
