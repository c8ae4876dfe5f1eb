"""Snow, ice and rock as they were measured, in place of the spectra of `nubila.synth.spectra`.

The points are those of glacier-snow-cover-mapping (R. Aberle, MIT licence): spectra of pixels that
a person called snow, ice or rock on images of four glaciers. Two glaciers are for training, the
other two are kept for tests (`nubila.evaluate.hard`). Water is of one lake, and kept for tests.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.errors import ManifestError, MissingFileError
from nubila.synth.spectra import SPECTRAL_BANDS

__all__ = ["GROUND_FILE", "TEST_SITES", "TRAINING_SITES", "MeasuredSpectra", "read_points"]

Floats = NDArray[np.float32]

# Of the four glaciers those whose snow, ice and rock synthetic chips may have, and those that are
# kept for the hard cases; none may be in both.
TRAINING_SITES: Final = ("Gulkana", "SouthCascade")
TEST_SITES: Final = ("Sperry", "Wolverine")
GROUND_FILE: Final = "Sentinel-2_SR_training_data.csv"

# In the order of SPECTRAL_BANDS; 1.375 um, where no ground is seen, the file does not have.
_COLUMNS: Final = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")
_WAVELENGTHS: Final = (443, 490, 560, 665, 705, 740, 783, 842, 865, 945, 1375, 1610, 2190)  # nm
_UNSEEN: Final = SPECTRAL_BANDS.index("cirrus")
_SNOW, _ICE, _ROCK = "1", "3", "4"  # codes of the file

# Material -> class of the file, and between which shares of its points, from dark to bright, it is.
_DRAWN: Final = {
    "fresh snow": (_SNOW, 0.5, 1.0),
    "old snow": (_SNOW, 0.05, 0.6),
    "glacier ice": (_ICE, 0.0, 1.0),
    "grey rock": (_ROCK, 0.3, 1.0),
    "dark rock": (_ROCK, 0.0, 0.5),
}
_TOGETHER: Final = 5  # neighbours in brightness whose mean is taken, so that noise is not learnt


def read_points(
    path: Path,
    columns: Sequence[str],
    code: str,
    *,
    offset: float = 0.0,
    sites: Sequence[str] | None = None,
) -> list[Floats]:
    """Return the spectra of a class, (points, bands) float32 for each date and place.

    Args:
        path: one of the published CSV files.
        columns: of the bands.
        code: of the class in the file.
        offset: added to what the file calls reflectance.
        sites: glaciers whose points are read; all where None.

    Raises:
        ManifestError: a column is absent, or there is no whole spectrum.
    """
    groups: dict[tuple[str, str], list[list[float]]] = {}
    with path.open(newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        absent = {*columns, "class", "site_name"} - {*(rows.fieldnames or ())}
        if absent:
            raise ManifestError(f"{path}: no column {', '.join(sorted(absent))}")
        for row in rows:
            if row["class"] != code or (sites is not None and row["site_name"] not in sites):
                continue
            # A few points lack a band, empty or as nan.
            spectrum = [float(row[c] or "nan") + offset for c in columns]
            if all(map(math.isfinite, spectrum)):
                groups.setdefault((row["site_name"], row["image_date"]), []).append(spectrum)
    if not groups:
        where = "" if sites is None else f" at {', '.join(sites)}"
        raise ManifestError(f"{path}: no spectrum of class {code}{where}")
    return [np.array(group, np.float32) for group in groups.values()]


@dataclass(frozen=True)
class MeasuredSpectra:
    """Measured spectra of the glaciers that are for training.

    Attributes:
        groups: class of the file -> (points, bands of `SPECTRAL_BANDS`) of each date and place,
            from dark to bright.
    """

    groups: Mapping[str, Sequence[Floats]]

    @classmethod
    def read(cls, folder: str | Path) -> MeasuredSpectra:
        """Read them from the folder of the published files.

        Raises:
            MissingFileError: the file of surface reflectance of Sentinel-2 is absent.
            ManifestError: it is not what is expected.
        """
        path = Path(folder) / GROUND_FILE
        if not path.is_file():
            raise MissingFileError(
                f"{folder}: no {GROUND_FILE}; expected the folder of glacier-snow-cover-mapping"
            )
        groups = {}
        for code in dict.fromkeys(code for code, _, _ in _DRAWN.values()):
            found = read_points(path, _COLUMNS, code, sites=TRAINING_SITES)
            groups[code] = [_whole(points[np.argsort(points.mean(axis=1))]) for points in found]
        return cls(groups)

    def draw(self, generator: np.random.Generator) -> dict[str, tuple[float, ...]]:
        """Draw a spectrum for each material that was measured, of one date and place a class.

        Returns:
            Material -> reflectance in the order of `SPECTRAL_BANDS`, 1.0 = 100 %.
        """
        taken = {
            code: groups[int(generator.integers(len(groups)))]
            for code, groups in self.groups.items()
        }
        drawn = {}
        for material, (code, low, high) in _DRAWN.items():
            points = taken[code]
            first = int(generator.uniform(low, high) * max(0, len(points) - _TOGETHER))
            mean = points[first : first + _TOGETHER].mean(axis=0)
            drawn[material] = tuple(float(value) for value in np.clip(mean, 0, 1.2))
        return drawn


def _whole(points: Floats) -> Floats:
    """Return spectra with a value at 1.375 um, between its neighbours by wavelength."""
    before, after = points[:, _UNSEEN - 1], points[:, _UNSEEN]
    low, here, high = _WAVELENGTHS[_UNSEEN - 1 : _UNSEEN + 2]
    between = before + (after - before) * np.float32((here - low) / (high - low))
    return np.insert(points, _UNSEEN, between, axis=1)
