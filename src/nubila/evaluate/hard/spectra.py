"""Labelled point spectra of glaciers as images: snow, shadowed snow, ice, rock and water.

The files are those of glacier-snow-cover-mapping (R. Aberle, MIT licence), points labelled by hand
on images of Sentinel-2 and Landsat. An image is a mosaic of the spectra of one class: each date and
place takes its turn in smooth patches, and within it brightness varies smoothly from the darkest
spectrum to the brightest. Clouds are in none, so each pixel that is called cloud is wrong. They are
of two of the four glaciers: synthetic chips may have the ground of the others
(`nubila.synth.measured`).

Two things about the files are not as their headers say, and are put right here:

- of Sentinel-2 at the top of the atmosphere the column ``B11`` holds the cirrus band B10, and
  ``B12`` holds B11 (rock has 0.0015 in the one and 0.23 in the other, as B11 has at the ground);
  there is no 2.2 µm;
- reflectance of Landsat lacks the offset of its Collection 2, -0.2 (water has 0.28 in blue, and no
  value of any short-wave infrared is below 0.17).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import class_set
from nubila.datasets.sample import Sample, SampleMeta
from nubila.errors import MissingFileError
from nubila.evaluate.hard.case import HardImage
from nubila.synth.measured import TEST_SITES, read_points
from nubila.synth.noise import Axes, child_seed, fbm

__all__ = ["spectra_images"]

Floats = NDArray[np.float32]

_SIDE: Final = 256
_RESOLUTION: Final = 30.0
_PATCH: Final = 1500.0  # metres, of the largest features
# How sharply one date's patch passes into the next; 1 would be an even blend of all.
_SHARPNESS: Final = 6.0

_S2: Final = {
    "coastal": "B1",
    "blue": "B2",
    "green": "B3",
    "red": "B4",
    "nir": "B8",
    "nir08": "B8A",
}
_GROUND: Final = {**_S2, "swir16": "B11", "swir22": "B12"}
_TOP: Final = {**_S2, "cirrus": "B11", "swir16": "B12"}
_OLI: Final = {
    "coastal": "SR_B1",
    "blue": "SR_B2",
    "green": "SR_B3",
    "red": "SR_B4",
    "nir08": "SR_B5",
    "swir16": "SR_B6",
    "swir22": "SR_B7",
}


@dataclass(frozen=True)
class _Table:
    """A file of spectra: band -> column, and what is added to its reflectance."""

    file: str
    label: str
    sensor: str
    level: str
    columns: dict[str, str]
    offset: float = 0.0


_TABLES: Final = (
    _Table("Sentinel-2_TOA_training_data.csv", "S2-TOA", "sentinel-2-msi", "L1C", _TOP),
    _Table("Sentinel-2_SR_training_data.csv", "S2-SR", "sentinel-2-msi", "L2A", _GROUND),
    _Table("Landsat_training_data.csv", "L8-SR", "landsat-oli", "L2SP", _OLI, -0.2),
)
_WATER: Final = "5"
# Code in the files -> what it is, the case that it belongs to, and the classes that it may be.
_CLASSES: Final = {
    "1": ("snow", "clear snow", ("snow",)),
    "2": ("shadowed snow", "clear snow", ("snow", "clear", "cloud shadow")),
    "3": ("ice", "ice", ("snow", "clear")),
    "4": ("rock", "dark terrain", ("clear",)),
    _WATER: ("water", "ice", ("water",)),
}


def spectra_images(folder: str | Path, side: int = _SIDE) -> tuple[HardImage, ...]:
    """Return a mosaic of each class of each file; spectra are read when an image is.

    Args:
        folder: of the three CSV files, named as published.
        side: rows and columns.

    Raises:
        MissingFileError: one is absent.
    """
    found = []
    for table in _TABLES:
        path = Path(folder) / table.file
        if not path.is_file():
            names = ", ".join(t.file for t in _TABLES)
            raise MissingFileError(f"{folder}: no {table.file}; expected {names}")
        for code, (what, case, _) in _CLASSES.items():
            name = f"spectra/{what.replace(' ', '-')}-{table.label}"
            note = f"{what}, {table.label}: hand-labelled spectra of glaciers"
            read = partial(_sample, path, table, code, side)
            found.append(HardImage(case, name, "spectra", note, read))
    return tuple(found)


def _sample(path: Path, table: _Table, code: str, side: int) -> Sample:
    what, _, names = _CLASSES[code]
    columns = tuple(table.columns.values())
    # Of water there is one lake, which no training sees.
    sites = None if code == _WATER else TEST_SITES
    groups = read_points(path, columns, code, offset=table.offset, sites=sites)
    image = _mosaic(groups, side, child_seed(1, f"{table.label} {what}"))
    name = f"spectra/{what.replace(' ', '-')}-{table.label}"
    meta = SampleMeta(
        id=name,
        folder="spectra",
        group=name,
        split="",
        sensor=table.sensor,
        level=table.level,
        resolution=_RESOLUTION,
        tags={},
    )
    label = np.full((side, side), class_set(names), np.uint8)
    return Sample(image, label, tuple(table.columns), meta)


def _mosaic(groups: list[Floats], side: int, seed: int) -> Floats:
    """Return (bands, side, side): patches of the groups that pass smoothly into each other."""
    axes = Axes.of_window(0, 0, side, side, _RESOLUTION)
    fields = [fbm(axes, seed + 31 * n, _PATCH, hurst=0.8) for n in range(len(groups) + 1)]
    brightness, patches = fields[0], np.stack(fields[1:])
    weights = np.exp(_SHARPNESS * (patches - patches.max(axis=0)))
    weights /= weights.sum(axis=0)
    # From rank to an even share, so that every spectrum comes as often as every other.
    share = np.argsort(np.argsort(brightness.ravel())) / (brightness.size - 1)
    image = np.zeros((groups[0].shape[1], side, side), np.float32)
    for group, weight in zip(groups, weights, strict=True):
        ordered = group[np.argsort(group.mean(axis=1))]
        place = np.linspace(0, 1, len(ordered))
        for target, values in zip(image, ordered.T, strict=True):
            target += weight * np.interp(share, place, values).reshape(side, side)
    return image
