from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nubila.datasets import read_manifest
from nubila.errors import ManifestError
from tests.datasets.conftest import WriteManifest, write_raster


def test_a_row_with_every_default(manifest: WriteManifest, folder: Path) -> None:
    path = manifest({"scale": "", "codes": ""})
    (spec,) = read_manifest(path)
    assert spec.images == (folder / "alps/a.tif",)
    assert spec.mask == folder / "alps/a_mask.tif"
    assert (spec.id, spec.folder, spec.group) == ("alps/a", "alps", "alps/a")
    assert (spec.scale, spec.offset, spec.nodata) == ((1.0,), (0.0,), ())
    assert (spec.sensor, spec.level, spec.split) == ("unknown", "", "")
    assert spec.codes.codes == (0, 1, 2, 3, 4, 5)
    assert spec.line == 2


@pytest.mark.parametrize("written", ["blue;green;red", "blue,green,red", " Blue ; green; red"])
def test_bands_joined_either_way(manifest: WriteManifest, written: str) -> None:
    (spec,) = read_manifest(manifest({"bands": written}))
    assert spec.bands == ("blue", "green", "red")


@pytest.mark.parametrize("left_out", ["-", "lwir11", "none", "?"])
def test_bands_left_out(manifest: WriteManifest, left_out: str) -> None:
    (spec,) = read_manifest(manifest({"bands": f"blue;{left_out};red"}))
    assert spec.bands == ("blue", "-", "red")


def test_root_and_first_part_of_the_path(manifest: WriteManifest, folder: Path) -> None:
    path = manifest()
    elsewhere = folder / "lists" / "m.csv"
    elsewhere.parent.mkdir()
    path.rename(elsewhere)
    (spec,) = read_manifest(elsewhere, root=folder)
    assert spec.folder == "alps"
    with pytest.raises(ManifestError, match=r"line 2, column 'image': no file 'alps/a.tif'"):
        read_manifest(elsewhere)


@pytest.mark.parametrize(
    ("written", "expected"),
    [("./alps/a.tif", "alps"), ("lists/../alps/a.tif", "lists"), ("{folder}/alps/a.tif", "alps")],
)
def test_folder_of_odd_paths(
    manifest: WriteManifest, folder: Path, written: str, expected: str
) -> None:
    (folder / "lists").mkdir()
    (spec,) = read_manifest(manifest({"image": written.format(folder=folder)}))
    assert spec.folder == expected


def test_folder_of_a_bare_name(manifest: WriteManifest, folder: Path) -> None:
    (folder / "alps/a.tif").rename(folder / "a.tif")
    (spec,) = read_manifest(manifest({"image": "a.tif"}))
    assert spec.folder == "."


def test_extra_columns_are_tags(manifest: WriteManifest) -> None:
    (spec,) = read_manifest(manifest({"biome": "alpine", "resolution": "30"}))
    assert spec.tags == {"biome": "alpine"}
    assert spec.resolution == 30


def _second_image(folder: Path) -> None:
    write_raster(folder / "alps/b.tif", np.zeros((3, 4, 6), np.uint16))


def test_split_selects(manifest: WriteManifest, folder: Path) -> None:
    _second_image(folder)
    path = manifest({"split": "train"}, {"image": "alps/b.tif", "split": "test"})
    assert [s.id for s in read_manifest(path)] == ["alps/a", "alps/b"]
    assert [s.id for s in read_manifest(path, split="test")] == ["alps/b"]
    with pytest.raises(ManifestError, match="no row has split 'tset'; did you mean 'test'"):
        read_manifest(path, split="tset")


def test_a_group_in_two_splits_leaks(manifest: WriteManifest, folder: Path) -> None:
    _second_image(folder)
    rows = {"split": "train", "group": "p"}, {"image": "alps/b.tif", "split": "test", "group": "p"}
    with pytest.raises(ManifestError, match=r"line 3, column 'group': 'p' is in split 'test'"):
        read_manifest(manifest(*rows), split="test")


def test_the_same_image_twice(manifest: WriteManifest) -> None:
    with pytest.raises(ManifestError, match=r"line 3, column 'image': .* line 2 already"):
        read_manifest(manifest({}, {}))


def test_two_images_of_one_name(manifest: WriteManifest, folder: Path) -> None:
    (folder / "alps/a.png").write_bytes(b"")
    with pytest.raises(ManifestError, match=r"line 3.* a.png would be called 'alps/a', .* line 2"):
        read_manifest(manifest({}, {"image": "alps/a.png"}))


def test_byte_order_mark_and_blank_lines(manifest: WriteManifest) -> None:
    path = manifest()
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n,,,,\r\n")
    assert len(read_manifest(path)) == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"bands": "blue;gren;red"}, r"column 'bands': unknown band name 'gren'.*'green'"),
        ({"bands": "blue;;red"}, "column 'bands': an empty name"),
        ({"bands": "blue;red;red"}, "column 'bands': band 'red' stands twice"),
        ({"bands": "-;-;-"}, "column 'bands': no band"),
        ({"codes": "0=clear;1=cloudd"}, r"column 'codes': unknown class 'cloudd'.*'cloud'"),
        ({"mask": "alps/a_mask.tiff"}, r"column 'mask': no file .*did you mean 'a_mask.tif'"),
        ({"mask": ""}, "column 'mask': empty"),
        ({"scale": "1e-4x"}, "column 'scale': '1e-4x' is no number"),
        ({"scale": "nan"}, "column 'scale': 'nan' is not finite"),
        ({"scale": "1;2"}, "column 'scale': 2 numbers"),
        ({"offset": "a"}, "column 'offset'"),
        ({"nodata": "none"}, "column 'nodata': 'none' is no number"),
        ({"resolution": "-3"}, "column 'resolution'"),
    ],
)
def test_errors_name_line_column_value(
    manifest: WriteManifest, changed: dict[str, str], said: str
) -> None:
    path = manifest(changed)
    with pytest.raises(ManifestError, match=said) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(f"{path}: line 2")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,mask\na,b\n", "column 'bands' is missing"),
        ("image,mask,band\na,b,c\n", "unknown column 'band'; did you mean 'bands'"),
        ("image,mask,bands,code\na,b,c,d\n", "unknown column 'code'; did you mean 'codes'"),
        ("image,mask,bands,bands\na,b,c,d\n", "'bands' stands twice"),
        ("image,mask,bands\n", "no row below the header"),
        ("", "column 'image' is missing"),
        ("image,mask,bands\na,b,blue,green\n", "4 cells under 3 columns"),
    ],
)
def test_errors_of_the_table(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(ManifestError, match=said):
        read_manifest(path)


def test_no_csv_at_all(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"none.csv: cannot be read: No such file"):
        read_manifest(tmp_path / "none.csv")
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ManifestError, match="not a CSV file in UTF-8"):
        read_manifest(binary)
