"""Measured spectra in place of tabulated ones."""

from pathlib import Path

import numpy as np
import pytest

from nubila.errors import ManifestError, MissingFileError
from nubila.synth import random_chip
from nubila.synth.measured import (
    GROUND_FILE,
    TEST_SITES,
    TRAINING_SITES,
    MeasuredSpectra,
    read_points,
)
from nubila.synth.spectra import SPECTRAL_BANDS, material_index, reflectance_table

_COLUMNS = [f"B{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8)] + ["B8A", "B9", "B11", "B12"]
_LEVEL = {"1": 0.8, "3": 0.4, "4": 0.2, "5": 0.05}


def _write(folder: Path, sites: tuple[str, ...] = (*TRAINING_SITES, "Sperry")) -> None:
    """Write, for each site and class, 20 flat spectra that rise by 0.001; those of Sperry are 0."""
    lines = [",".join(["site_name", "image_date", "class", *_COLUMNS])]
    for site in sites:
        for code, level in _LEVEL.items():
            for n in range(20):
                value = 0.0 if site == "Sperry" else level + 0.001 * n
                lines.append(",".join([site, "20210101", code, *[f"{value:.4f}"] * 12]))
    (folder / GROUND_FILE).write_text("\n".join(lines) + "\n")


def test_no_glacier_is_both_for_training_and_for_the_hard_cases() -> None:
    assert TRAINING_SITES and TEST_SITES and not {*TRAINING_SITES} & {*TEST_SITES}


def test_materials_are_drawn_from_the_sites_for_training_within_their_class(tmp_path: Path) -> None:
    _write(tmp_path)
    measured = MeasuredSpectra.read(tmp_path)
    generator = np.random.default_rng(0)
    drawn = [measured.draw(generator) for _ in range(40)]
    for material, code in (("fresh snow", "1"), ("glacier ice", "3"), ("dark rock", "4")):
        values = np.array([spectra[material] for spectra in drawn])
        assert values.shape == (40, len(SPECTRAL_BANDS))
        assert _LEVEL[code] - 1e-6 <= values.min() and values.max() <= _LEVEL[code] + 0.0191
        assert len(np.unique(values[:, 0])) > 5
    fresh, old = (
        np.mean([spectra[name] for spectra in drawn]) for name in ("fresh snow", "old snow")
    )
    assert fresh > old


def test_the_value_at_1375_nm_lies_between_its_neighbours_by_wavelength(tmp_path: Path) -> None:
    row = ["Gulkana", "20210101", "{}", *["0.5"] * 9, "0.6", "0.2", "0.1"]
    rows = [",".join(row).format(code) for code in "134"]
    head = ",".join(["site_name", "image_date", "class", *_COLUMNS])
    (tmp_path / GROUND_FILE).write_text("\n".join([head, *rows]) + "\n")
    spectrum = MeasuredSpectra.read(tmp_path).draw(np.random.default_rng(0))["glacier ice"]
    between = 0.6 - 0.4 * (1375 - 945) / (1610 - 945)
    assert spectrum[-4:] == pytest.approx((0.6, between, 0.2, 0.1))


def test_measured_spectra_stand_in_the_table_and_in_chips() -> None:
    flat = {"fresh snow": (0.5,) * 13, "old snow": (0.5,) * 13, "glacier ice": (0.5,) * 13}
    table, own = reflectance_table("red"), reflectance_table("red", flat)
    assert own[material_index("old snow")] == np.float32(0.5)
    changed = np.flatnonzero(table != own)
    assert set(changed) == {material_index(name) for name in flat}

    def snow(measured: dict[str, tuple[float, ...]]) -> float:
        """Return the contrast of green and 1.6 um over snow."""
        image, truth = random_chip(
            np.random.default_rng(5), (64, 64), resolution=30, bands=("green", "swir16"),
            level="L2A", preset="snow", measured=measured,
        )  # fmt: skip
        green, dark = np.median(image[:, truth == 4], axis=1)
        return float((green - dark) / (green + dark))

    assert snow({}) > 0.5
    assert abs(snow(flat)) < 0.1


def test_what_is_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=GROUND_FILE):
        MeasuredSpectra.read(tmp_path)
    _write(tmp_path, ("Sperry",))
    with pytest.raises(ManifestError, match="no spectrum of class 1 at Gulkana, SouthCascade"):
        MeasuredSpectra.read(tmp_path)
    with pytest.raises(ManifestError, match="no column B13"):
        read_points(tmp_path / GROUND_FILE, ["B13"], "1")
