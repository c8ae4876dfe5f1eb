from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio

from nubila.classes import COLOURS
from nubila.datasets import read_manifest
from nubila.datasets.manifest import write_manifest
from nubila.evaluate.compare_detectors import Comparison, compare_detectors, open_detectors
from nubila.evaluate.compare_panels import make_disputed

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


@pytest.fixture(scope="module")
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("cross_validation")


@pytest.mark.parametrize(
    ("image", "group", "place"),
    [
        ("s2_shadow_calgary/2020-06-15/a.tif", "calgary_2020-06-15", "calgary"),
        ("s2_shadow_calgary/2020-07-20/b.tif", "calgary_2020-07-20", "calgary"),
        (
            "38-Cloud/train_red/c.TIF",
            "LC08_L1TP_029040_20160720_20170222_01_T1",
            "LC08_L1TP_029040_20160720_20170222_01_T1",
        ),
        (
            "38-Cloud/train_red/d.TIF",
            "LC08_L1TP_029040_20160821_20170222_01_T1",
            "LC08_L1TP_029040_20160821_20170222_01_T1",
        ),
        ("on_cloud_n/e.tif", "calgary_2020-06-15", "calgary_2020-06-15"),
        ("s2_cloud_mask_catalogue_rgb/f.tif", "T01KDB", "T01KDB"),
    ],
)
def test_the_dates_of_calgary_are_of_one_place_and_no_other_name_is_cut(
    script: ModuleType, image: str, group: str, place: str
) -> None:
    assert script.place({"image": image, "group": group}) == place


def test_every_place_is_judged_once_by_what_people_drew_and_never_trained_on(
    script: ModuleType, shared_data: Path, tmp_path: Path
) -> None:
    with (RECIPES / "default.csv").open() as file:
        drawn = list(csv.DictReader(file))
    told = [row | {"codes": row["codes"] + ";9=clear"} for row in drawn]  # told from drawn
    calgary = next(row for row in told if "calgary" in row["image"])
    day = calgary["image"].replace(calgary["image"].split("/")[1], "2020-05-01")
    told.append(calgary | {"image": day, "group": "calgary_2020-05-01"})
    write_manifest(tmp_path / "told.csv", told)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"steps: 1\ndata: {{manifest: told.csv, root: {shared_data}}}\n")
    judged: Counter[str] = Counter()
    codes = {row["image"]: row["codes"] for row in drawn}
    for table in script.deal_out(recipe, shared_data, 3, tmp_path / "out"):
        with table.open() as file:
            rows = list(csv.DictReader(file))
        sides = {
            split: {script.place(row) for row in rows if row["split"] == split}
            for split in ("train", "validation")
        }
        assert not sides["train"] & sides["validation"]
        held = [row for row in rows if row["split"] == "validation"]
        assert all(row["codes"] == codes[row["image"]] for row in held)
        assert all(row["codes"].endswith(";9=clear") for row in rows if row not in held)
        judged.update(row["image"] for row in held)
    assert judged == Counter(list(codes))


def _images(folder: Path, count: int) -> Path:
    """Return a manifest of small images of noise, each a place of its own."""
    random = np.random.default_rng(4)
    rows = []
    profile = {"driver": "GTiff", "width": 20, "height": 20}
    for number in range(count):
        image = random.uniform(0, 1, (3, 20, 20)).astype(np.float32)
        mask = random.integers(0, 2, (1, 20, 20)).astype(np.uint8)
        for name, values in ((f"{number}", image), (f"{number}-mask", mask)):
            shape = {"count": len(values), "dtype": values.dtype}
            with rasterio.open(folder / f"{name}.tif", "w", **profile, **shape) as file:
                file.write(values)
        rows.append({"image": f"{number}.tif", "mask": f"{number}-mask.tif",
                     "split": "validation", "group": str(number), "bands": "blue;green;red",
                     "codes": "0=clear;1=cloud"})  # fmt: skip
    manifest = folder / "all.csv"
    write_manifest(manifest, rows)
    return manifest


def test_joined_folds_score_as_the_whole(script: ModuleType, tmp_path: Path) -> None:
    specs = read_manifest(_images(tmp_path, 5))
    detectors = open_detectors(["brightness"])
    whole = compare_detectors(detectors, specs)
    parts = [compare_detectors(detectors, specs[:2]), compare_detectors(detectors, specs[2:])]
    assert script.joined(parts).scores() == whole.scores()
    assert script.joined(parts).scores() != parts[0].scores()


def test_pictures_are_of_networks_that_have_not_seen_the_image(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = _images(tmp_path, 4)
    with manifest.open() as file:
        rows = list(csv.DictReader(file))
    tables = [tmp_path / f"fold-{n}.csv" for n in (0, 1)]
    for table, part in zip(tables, (rows[:2], rows[2:]), strict=True):
        write_manifest(table, part)
    # The "networks" of the two folds call everything cloud, and nothing.
    told = {"fold-0": "all-cloud", "fold-1": "all-clear"}
    monkeypatch.setattr(script, "deal_out", lambda *_: tables)
    monkeypatch.setattr(script, "train", lambda _, table: told[table.stem])
    monkeypatch.setattr(script, "PEERS", ("brightness",))
    written: dict[str, Any] = {}

    def write(comparison: Comparison, detectors: dict[str, Any], specs: list, _: Path) -> dict:
        written.update(drawn=make_disputed(comparison, detectors, specs))
        return {}

    monkeypatch.setattr(script, "write_comparison", write)
    arguments = ["x", "r.yaml", str(tmp_path), "--steps", "1", "-o", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    script.main()
    cloudy = {
        sample.id: {tuple(c) for c in mask.reshape(-1, 3).tolist()} == {COLOURS[1]}
        for sample in written["drawn"]
        for caption, mask in sample.masks.items()
        if caption.startswith("held out")
    }
    assert cloudy
    assert cloudy == {name: name[-1] in "01" for name in cloudy}
    assert set(cloudy.values()) == {True, False}
