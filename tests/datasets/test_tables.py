from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nubila.datasets import (
    collection_rows,
    load_sample,
    read_collection,
    read_manifest,
    write_manifest,
)
from nubila.errors import ManifestError, OutputError
from nubila.synth.collections import write_collection
from tests.datasets.conftest import WriteManifest, write_raster

SUFFIXES = (".csv", ".parquet", ".geojson")


def _what(spec):
    return {k: v for k, v in vars(spec).items() if k not in ("manifest", "line")}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["cloud38", "alps", "l8_biome"])
def test_a_collection_as_a_manifest(tmp_path: Path, name: str, suffix: str) -> None:
    root = write_collection(name, tmp_path / "data", count=2, size=32)
    path = tmp_path / f"manifest{suffix}"
    write_manifest(path, collection_rows(name, root))
    written, direct = read_manifest(path, root=root), read_collection(name, root)
    assert [_what(spec) | {"tags": 0} for spec in written] == [
        _what(spec) | {"tags": 0} for spec in direct
    ]
    for one, two in zip(written, direct, strict=True):
        assert {k: v for k, v in one.tags.items() if v} == {k: v for k, v in two.tags.items() if v}


def test_numbers_and_empty_cells_of_geojson(manifest: WriteManifest, folder: Path) -> None:
    row = {"image": "alps/a.tif", "mask": "alps/a_mask.tif", "bands": ["blue", "green", "red"],
           "scale": 0.0001, "resolution": 10, "codes": "*=clear", "nodata": None}  # fmt: skip
    content = {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": row}]}
    path = folder / "manifest.geojson"
    path.write_text(json.dumps(content))
    (spec,) = read_manifest(path)
    assert (spec.scale, spec.resolution, spec.nodata) == ((0.0001,), 10, ())
    assert load_sample(spec).bands == ("blue", "green", "red")


def test_items_of_stac(folder: Path) -> None:
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "a",
        "properties": {"datetime": "2021-07-10T10:15:59Z", "bands": "blue;green;red",
                       "codes": "*=clear", "group": "p"},
        "assets": {"pixels": {"href": "alps/a.tif", "roles": ["data"]},
                   "truth": {"href": "alps/a_mask.tif", "roles": ["labels"]}},
    }  # fmt: skip
    path = folder / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
    (spec,) = read_manifest(path)
    assert spec.images == (folder / "alps/a.tif",)
    assert spec.mask == folder / "alps/a_mask.tif"
    assert (spec.group, spec.tags["date"]) == ("p", "2021-07-10")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.parquet", b"nothing", "not a Parquet file"),
        ("m.geojson", b"nothing", "not JSON"),
        ("m.json", b"[]", "no list of features"),
        ("m.json", b'{"features": []}', "column 'image' is missing"),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ManifestError, match=said):
        read_manifest(tmp_path / name)


def test_pairs_of_a_folder(manifest: WriteManifest, folder: Path) -> None:
    path = manifest({"date": "2020-01-01"})
    (spec,) = read_collection("pairs", folder)
    assert spec.tags == {"date": "2020-01-01"}
    assert spec.split == "train"  # the only group
    path.unlink()
    with pytest.raises(ManifestError, match="found none"):
        read_collection("pairs", folder)


def test_coverage_and_corner_of_any_image(manifest: WriteManifest, folder: Path) -> None:
    whole = np.arange(100, dtype=np.uint8).reshape(1, 10, 10) % 2
    write_raster(folder / "alps/whole.tif", whole)
    covered = np.ones((1, 4, 6), np.uint8)
    covered[0, 0] = 0
    write_raster(folder / "alps/covered.tif", covered)
    row = {"mask": "alps/whole.tif", "codes": "0=clear;1=cloud", "corner": "7;-1",
           "coverage": "alps/covered.tif"}  # fmt: skip
    (spec,) = read_manifest(manifest(row))
    label = load_sample(spec).label
    expected = np.zeros((4, 6), np.uint8)
    expected[1:3, 1:] = whole[0, 8:10, :5] + 1  # row 0 is not covered, row 3 below the mask
    np.testing.assert_array_equal(label, expected)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"corner": "3"}, "column 'corner': '3' is not row;column"),
        ({"coverage": "none.tif"}, "column 'coverage': no file"),
        ({"auxiliary": "elevation=alps/a.tif"}, "only a product"),
    ],
)
def test_errors_of_the_further_columns(manifest: WriteManifest, changed, said: str) -> None:
    with pytest.raises(ManifestError, match=said):
        read_manifest(manifest(changed))


@pytest.mark.parametrize("name", ["m.xyz", "m", "m.csv.gz"])
def test_a_table_is_not_written_as_what_its_name_does_not_say(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=r"known: \.csv, \.parquet"):
        write_manifest(tmp_path / name, [{"image": "a.tif"}])
    assert not list(tmp_path.iterdir())
