from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from nubila.datasets import load_sample, read_manifest

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


@pytest.fixture(scope="module")
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("default_manifest")


def test_sun_elevation_agrees_with_the_products_own(script: ModuleType, shared_data: Path) -> None:
    files = sorted((shared_data / "landsat_c2l2").glob("*/*_MTL.txt"))
    assert files
    for file in files:
        found = dict(re.findall(r"^\s*(\w+) = \"?([^\"\n]+)", file.read_text(), re.MULTILINE))
        computed = script.sun_elevation(
            int(found["WRS_ROW"]), date.fromisoformat(found["DATE_ACQUIRED"])
        )
        assert computed == pytest.approx(float(found["SUN_ELEVATION"]), abs=0.5)


def test_sun_at_the_equator(script: ModuleType) -> None:
    # At an equinox the sun there is 27 degrees from the zenith at 10:12, but for the equation of
    # time (-7.5 minutes in March, so 1.9 degrees less).
    assert script.sun_elevation(60, date(2016, 3, 20)) == pytest.approx(61.1, abs=0.5)


def test_validation_is_a_fifth_of_every_stratum(script: ModuleType) -> None:
    cover = {f"scene {i}": (i % 4) / 4 for i in range(360)}
    kept = script.validation_groups(cover)
    for stratum in set(cover.values()):
        of_stratum = [g for g in cover if cover[g] == stratum]
        assert len(kept & set(of_stratum)) == 20
    assert kept == script.validation_groups(dict(reversed(cover.items())))


def test_the_committed_manifest_is_what_the_script_writes(
    script: ModuleType, shared_data: Path, tmp_path: Path
) -> None:
    script.write(script.rows(shared_data), tmp_path / "default.csv")
    assert (tmp_path / "default.csv").read_text() == (RECIPES / "default.csv").read_text()


def test_every_source_has_both_splits_and_no_place_is_in_two(shared_data: Path) -> None:
    specs = read_manifest(RECIPES / "default.csv", root=shared_data)
    splits, places = defaultdict(set), defaultdict(set)
    for spec in specs:
        splits[spec.folder].add(spec.split)
        # A Sentinel-2 tile or a Landsat path and row, where the file name holds one.
        for place in re.findall(r"_(T\d\d[A-Z]{3})_|_(\d{6})_\d{8}_", str(spec.images[0])):
            places[place].add(spec.split)
    assert splits.pop("s2_shadow_calgary") == {"train", "same place"}
    assert all(found == {"train", "validation"} for found in splits.values())
    assert len(places) > 200
    assert all(len(found) == 1 for found in places.values())


@pytest.mark.parametrize(
    ("folder", "bands", "sets"),
    [
        ("l8_biome", 7, {2, 4, 8, 49, 57}),
        ("38-Cloud", 4, {0, 6, 57}),
        ("on_cloud_n", 4, {6, 57}),
        ("s2_cloud_mask_catalogue_rgb", 3, {6, 57}),
        ("s2_shadow_calgary", 4, {8, 55}),
    ],
)
def test_samples_of_each_source(shared_data: Path, folder: str, bands: int, sets: set[int]) -> None:
    specs = [
        s for s in read_manifest(RECIPES / "default.csv", root=shared_data) if s.folder == folder
    ]
    found: set[int] = set()
    for spec in specs[:: 1 + len(specs) // 25]:
        sample = load_sample(spec)
        assert sample.image.shape == (bands, *sample.label.shape)
        assert 10 <= (sample.meta.resolution or 0) <= 50
        # A wrong scale or offset would leave the range that reflectance has in real scenes.
        low, high = np.nanpercentile(sample.image, [1, 99])
        assert -0.01 <= low < high <= 1.7
        found |= set(np.unique(sample.label).tolist())
    assert found == sets
