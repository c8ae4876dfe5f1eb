"""Normalisations as modules of the graph: reflectance with NaN in, numbers without NaN out.

All are called ``normalise(reflectance, statistics)``: reflectance (N, B, H, W) float32, 1.0 =
100 %, NaN = no data; statistics (N, S, B) of whole scenes, the rows named by the module's attribute
`statistics`, or None to take them from the chips. No data comes out as 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nubila.errors import ManifestError, RecipeError
from nubila.recipe import normalise as sections
from nubila.recipe.section import Section

__all__ = [
    "FillNoData",
    "LogSigmoid",
    "Standardise",
    "Stretch",
    "build_normalise",
    "fit_normalise",
]

# A band that varies by less is constant: it is one count of the products' 1/10000.
_LEAST_WIDTH: Final = 1e-4
# Standard deviation for a band that no training image has: the weights that look at it were never
# trained, so a scene that has it must not be heard.
_SILENT: Final = 1e6
# What the points of the sigmoid are of 0.15 and 0.85: the logits, log(0.85 / 0.15).
_POINT: Final = 1.7346
_ELEVATION: Final = "elevation"

_ROWS: Final[dict[type[Section], tuple[str, str]]] = {
    sections.MinMax: ("minimum", "maximum"),
    sections.Percentiles: ("p2", "p98"),
    sections.TwoSigma: ("mean", "standard deviation"),
}


def build_normalise(section: sections.Normalise, bands: Sequence[str]) -> nn.Module | None:
    """Return the normalisation of a recipe.

    Args:
        section: `Recipe.normalise`.
        bands: names of the network's inputs, in order.

    Returns:
        None for ``reflectance``: a body that takes NaN needs nothing, another `FillNoData`.

    Raises:
        RecipeError: the section has no numbers for a band.
    """
    match section:
        case sections.Reflectance():
            return None
        case sections.Counts():
            return FillNoData()
        case sections.MinMax() | sections.Percentiles() | sections.TwoSigma():
            return Stretch(_ROWS[type(section)], over=section.over)
        case sections.Standardise():
            if section.mean == "auto" or section.std == "auto":
                return Standardise([math.nan] * len(bands), [math.nan] * len(bands))
            mean = [_number(section.mean, band, "mean") for band in bands]
            std = [_number(section.std, band, "std") for band in bands]
            return Standardise(mean, std)
        case sections.DynamicWorld():
            return _log_sigmoid(section, bands)


def _log_sigmoid(section: sections.DynamicWorld, bands: Sequence[str]) -> LogSigmoid:
    heights = [band == _ELEVATION for band in bands]
    spectral = [band for band in bands if band != _ELEVATION]
    low = {band: _number(section.p30, band, "p30") for band in spectral}
    high = {band: _number(section.p70, band, "p70") for band in spectral}
    return LogSigmoid(
        [low.get(band, 1.0) for band in bands],
        [high.get(band, 10.0) for band in bands],
        heights=heights,
        elevation=section.elevation,
    )


def _number(table: dict[str, float], band: str, key: str) -> float:
    if band not in table:
        raise RecipeError(
            f"normalise.{key}: no number for band {band!r} (there are: {', '.join(table)}); "
            f"add one, or leave the band out"
        )
    return table[band]


def fit_normalise(normalise: nn.Module | None, images: Iterable[NDArray[Any]]) -> None:
    """Measure what a normalisation still lacks (``standardise`` with ``auto``) on training images.

    Does nothing for any other. A network whose weights come from a checkpoint has the numbers too.

    Args:
        normalise: from `build_normalise`; changed in place.
        images: (bands, rows, columns) reflectance each, bands as the network takes them, NaN = no
            data.

    Raises:
        ManifestError: there is no image, or none has any data.
    """
    if not isinstance(normalise, Standardise) or normalise.fitted:
        return
    bands = len(normalise.mean)
    count, total, squares = (np.zeros(bands) for _ in range(3))
    for image in images:
        values = image.astype(np.float64)
        there = np.isfinite(values)
        values[~there] = 0
        count += there.sum(axis=(1, 2))
        total += values.sum(axis=(1, 2))
        squares += (values**2).sum(axis=(1, 2))
    if not count.any():
        raise ManifestError("mean and std of the training data: no training image has any data")
    mean = total / np.maximum(count, 1)
    variance = np.maximum(squares / np.maximum(count, 1) - mean**2, 0)
    normalise.mean.copy_(torch.from_numpy(mean))
    std = np.where(count > 0, np.maximum(np.sqrt(variance), _LEAST_WIDTH), _SILENT)
    normalise.std.copy_(torch.from_numpy(std))


class FillNoData(nn.Module):
    """Reflectance with 0 for no data."""

    statistics: tuple[str, ...] = ()

    def forward(self, reflectance: Tensor, statistics: Tensor | None = None) -> Tensor:
        """Return (N, B, H, W); `statistics` is not looked at."""
        return torch.where(reflectance.isnan(), 0.0, reflectance)


class Stretch(nn.Module):
    """Each band from two of its statistics to 0 and 1, cut beyond; 0 for a constant band.

    Args:
        rows: ("minimum", "maximum"), ("p2", "p98"), or ("mean", "standard deviation") for mean - 2
            and mean + 2 standard deviations.
        over: ``scene`` takes the statistics given, and the chip's without any; ``chip`` always
            takes the chip's, so that the answer depends on all of what the network is given.
    """

    def __init__(self, rows: tuple[str, str], *, over: str) -> None:
        super().__init__()
        self.rows = rows
        self.over = over
        self.statistics = rows if over == "scene" else ()

    def forward(self, reflectance: Tensor, statistics: Tensor | None = None) -> Tensor:
        """Return (N, B, H, W) between 0 and 1; `statistics` is (N, 2, B), of `rows`."""
        if self.over == "chip" or statistics is None:
            first, second = self._of_chips(reflectance)
        else:
            first, second = statistics[:, 0], statistics[:, 1]
        if self.rows[0] == "mean":
            first, second = first - 2 * second, first + 2 * second
        low, width = first[:, :, None, None], (second - first)[:, :, None, None]
        raised = reflectance - low
        # NaN is taken out before the cut: runtimes differ in what they make of clip(NaN).
        raised = torch.where(raised.isnan(), 0.0, raised)
        # Of a constant band only rounding errors are left, which are not to be stretched.
        varies = width > _LEAST_WIDTH
        return torch.where(varies, raised / torch.where(varies, width, 1.0), 0.0).clamp(0, 1)

    def extra_repr(self) -> str:
        """Return what `repr` shows between the brackets."""
        return f"{self.rows}, over={self.over!r}"

    def _of_chips(self, reflectance: Tensor) -> tuple[Tensor, Tensor]:
        values = reflectance.flatten(2)
        if self.rows[0] == "mean":
            return _mean_and_std(values)
        if self.rows[0] == "minimum":
            gone = values.isnan()
            low = torch.where(gone, torch.inf, values).amin(dim=2)
            return low, torch.where(gone, -torch.inf, values).amax(dim=2)
        return _percentiles(values)


def _mean_and_std(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return (N, B) each for (N, B, pixels) with NaN; 0 where there are no data."""
    gone = values.isnan()
    count = (~gone).sum(dim=2, keepdim=True).clamp_min(1).to(values.dtype)
    mean = torch.where(gone, 0.0, values).sum(dim=2, keepdim=True) / count
    apart = torch.where(gone, 0.0, values - mean)
    return mean.squeeze(2), ((apart * apart).sum(dim=2) / count.squeeze(2)).sqrt()


def _percentiles(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the 2nd and 98th percentile, linearly interpolated, (N, B) each, as `_mean_and_std`.

    `torch.nanquantile` would do it, but refuses more than 16 million values and is not exported.
    """
    gone = values.isnan()
    last = ((~gone).sum(dim=2, keepdim=True) - 1).clamp_min(0)
    # No data sorts behind everything; a band of nothing else has its 0 in front.
    rising = torch.where(gone, torch.inf, values).sort(dim=2).values
    rising = torch.where(rising.isinf(), 0.0, rising)
    found = []
    for share in (0.02, 0.98):
        place = last.to(values.dtype) * share
        below = place.floor().long()
        low, high = rising.gather(2, below), rising.gather(2, torch.minimum(below + 1, last))
        found.append((low + (high - low) * (place - below.to(values.dtype))).squeeze(2))
    return found[0], found[1]


class Standardise(nn.Module):
    """(Reflectance - mean) / standard deviation, each band by its own; 0 for no data.

    Args:
        mean: of each band; NaN until `fit_normalise` has measured it, and NaN is then all that
            comes out.
        std: of each band, greater than 0, or NaN likewise.
    """

    statistics: tuple[str, ...] = ()
    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    @property
    def fitted(self) -> bool:
        """Whether mean and standard deviation are known."""
        return not bool(self.mean.isnan().any())

    def forward(self, reflectance: Tensor, statistics: Tensor | None = None) -> Tensor:
        """Return (N, B, H, W); `statistics` is not looked at."""
        scaled = (reflectance - self.mean[:, None, None]) / self.std[:, None, None]
        return torch.where(reflectance.isnan(), 0.0, scaled)


class LogSigmoid(nn.Module):
    """The logarithm's 30th and 70th percentile to 0.15 and 0.85 of a sigmoid; elevation linearly.

    Brown et al. 2022 (Dynamic World, doi:10.1038/s41597-022-01307-4): reflectance is
    log-transformed "to equalize the long tail of highly reflective surfaces", then percentiles are
    remapped to points of a sigmoid, which bounds values on (0, 1) without cutting. Here
    x = log10(counts), counts = 10000 reflectance and at least 1, and

        y = sigmoid(-1.7346 + 2 * 1.7346 * (x - log10 P30) / (log10 P70 - log10 P30))

    so that P30 becomes 0.15 and P70 becomes 0.85.

    Args:
        p30: counts of each band.
        p70: counts of each band, greater than `p30`.
        heights: for each band, whether it is elevation.
        elevation: kilometres that become 0 and 1.
    """

    statistics: tuple[str, ...] = ()
    gain: Tensor
    shift: Tensor
    heights: Tensor

    def __init__(
        self,
        p30: Sequence[float],
        p70: Sequence[float],
        *,
        heights: Sequence[bool],
        elevation: tuple[float, float],
    ) -> None:
        super().__init__()
        low, high = (torch.tensor(list(p), dtype=torch.float64).log10() for p in (p30, p70))
        gain = 2 * _POINT / (high - low)
        # Not in checkpoints: the recipe has them.
        self.register_buffer("gain", gain.float(), persistent=False)
        self.register_buffer("shift", (-_POINT - gain * low).float(), persistent=False)
        self.register_buffer("heights", torch.tensor(list(heights)), persistent=False)
        self.elevation = elevation

    def forward(self, reflectance: Tensor, statistics: Tensor | None = None) -> Tensor:
        """Return (N, B, H, W), between 0 and 1 but for elevation; `statistics` is not looked at."""
        counts = (torch.where(reflectance.isnan(), 0.0, reflectance) * 10000).clamp_min(1)
        bounded = (self.gain[:, None, None] * counts.log10() + self.shift[:, None, None]).sigmoid()
        low, high = self.elevation
        linear = (reflectance - low) / (high - low)
        found = torch.where(self.heights[:, None, None], linear, bounded)
        return torch.where(reflectance.isnan(), 0.0, found)
