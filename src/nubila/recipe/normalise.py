"""How reflectance is brought to what a network likes, inside the graph."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from nubila.bands import BANDS
from nubila.errors import nearest
from nubila.recipe.section import Section

__all__ = [
    "ALPS_P30",
    "ALPS_P70",
    "Counts",
    "DynamicWorld",
    "MinMax",
    "Normalise",
    "Percentiles",
    "Reflectance",
    "Standardise",
    "TwoSigma",
]

_MSI: Final = (
    "coastal",
    "blue",
    "green",
    "red",
    "rededge071",
    "rededge075",
    "rededge078",
    "nir",
    "nir08",
    "nir09",
    "cirrus",
    "swir16",
    "swir22",
)
_P30: Final = (1390, 1032, 759, 544, 633, 900, 974, 907, 981, 470, 16, 236, 151)
_P70: Final = (9084, 9637, 9415, 10306, 10437, 10482, 10377, 10113, 10184, 5892, 504, 4044, 3295)

# 30th and 70th percentiles of Sentinel-2 L1C over the Alps, counts of 1/10000 reflectance.
ALPS_P30: Final[dict[str, float]] = dict(zip(_MSI, map(float, _P30), strict=True))
ALPS_P70: Final[dict[str, float]] = dict(zip(_MSI, map(float, _P70), strict=True))


class Reflectance(Section):
    """Reflectance as it is; a body that takes no NaN gets 0 for no data."""

    name: Literal["reflectance"] = "reflectance"


class Counts(Section):
    """The older counts / 10000: reflectance as it is, and 0 for no data whatever the body.

    nubila's reflectance has the offset of newer products (-1000 counts) taken in already, so the
    same reflectance gives the same input for both.
    """

    name: Literal["counts"]


class MinMax(Section):
    """Each band's least value becomes 0 and its greatest 1.

    `over` a scene the values are of the whole scene, wherever it is cut; `over` a chip they are of
    whatever the network is given at a time.
    """

    name: Literal["min_max"]
    over: Literal["scene", "chip"] = "scene"


class Percentiles(Section):
    """Each band's 2nd percentile becomes 0 and its 98th 1, cut beyond. `over` as in `MinMax`."""

    name: Literal["percentiles"]
    over: Literal["scene", "chip"] = "chip"


class TwoSigma(Section):
    """Mean - 2 standard deviations becomes 0, mean + 2 becomes 1, cut beyond; `over` as above."""

    name: Literal["two_sigma"]
    over: Literal["scene", "chip"] = "scene"


class Standardise(Section):
    """(Reflectance - mean) / standard deviation of the training data.

    Attributes:
        mean, std: band -> reflectance; ``auto`` measures them on the training split.
    """

    name: Literal["standardise"]
    mean: dict[str, float] | Literal["auto"] = "auto"
    std: dict[str, float] | Literal["auto"] = "auto"

    @model_validator(mode="after")
    def _both_or_neither(self) -> Standardise:
        if (self.mean == "auto") != (self.std == "auto"):
            raise ValueError("expected both mean and std by band, or neither")
        if isinstance(self.std, dict) and min(self.std.values(), default=0.0) <= 0:
            raise ValueError("every std must be greater than 0")
        return self

    @model_validator(mode="after")
    def _bands_known(self) -> Standardise:
        for given in (self.mean, self.std):
            if isinstance(given, dict):
                _check_bands(given)
        return self


class DynamicWorld(Section):
    """Logarithm, percentiles to two points of a sigmoid (Brown et al. 2022); elevation linearly.

    Attributes:
        p30, p70: band -> counts (10000 = reflectance 1) that become 0.15 and 0.85; a table that
            is given takes the place of the one of the Alps.
        elevation: kilometres that become 0 and 1.
    """

    name: Literal["dynamic_world"]
    p30: dict[str, float] = ALPS_P30
    p70: dict[str, float] = ALPS_P70
    elevation: tuple[float, float] = (0.0, 5.0)

    @model_validator(mode="after")
    def _rising(self) -> DynamicWorld:
        for band in _check_bands(self.p30 | self.p70):
            low, high = self.p30.get(band), self.p70.get(band)
            if low is None or high is None:
                raise ValueError(f"{band!r} is in only one of p30 and p70")
            if not 1 <= low < high:
                raise ValueError(f"{band!r}: expected 1 <= p30 < p70, found {low:g} and {high:g}")
        if self.elevation[0] >= self.elevation[1]:
            raise ValueError(f"elevation {list(self.elevation)} does not rise")
        return self


def _check_bands(given: dict[str, float]) -> dict[str, float]:
    """Return the table; raise ValueError for a band by any name but its common one."""
    for name in given:
        if name not in BANDS:
            raise ValueError(f"no band {name!r}{nearest(name, BANDS)}")
    return given


Normalise = Annotated[
    Reflectance | Counts | MinMax | Percentiles | TwoSigma | Standardise | DynamicWorld,
    Field(discriminator="name"),
]
