from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.warp import transform

from nubila.datasets import (
    COLLECTIONS,
    assemble,
    check_collection,
    load_sample,
    mosaic,
    read_collection,
    scene_groups,
)
from nubila.datasets.layouts.common import default_splits, landsat_scaling, safe_parts, year_day
from nubila.errors import InputError, ManifestError
from nubila.scenes import open_scene
from nubila.scenes.sun import sun_elevation
from nubila.synth import make_scene
from nubila.synth.collections import write_collection

SIZE = 32


@pytest.mark.parametrize(
    ("name", "folder", "count", "bands", "sets"),
    [
        ("l8_biome", "l8_biome", 23, 7, {2, 4, 8, 49, 57}),
        ("cloud38", "38-Cloud", 8, 4, {0, 6, 57}),
        ("oncloudn", "on_cloud_n", 3, 4, {6, 57}),
        ("s2cmc", "s2_cloud_mask_catalogue_rgb", 211, 3, {6, 57}),
        ("calgary", "s2_shadow_calgary", 3, 4, {8, 55}),
    ],
)
def test_real_samples(
    shared_data: Path, name: str, folder: str, count: int, bands: int, sets: set[int]
) -> None:
    specs = read_collection(name, shared_data / folder)
    assert len(specs) == count
    assert name == "calgary" or {"train", "validation"} <= {spec.split for spec in specs}
    found: set[int] = set()
    for spec in specs:
        sample = load_sample(spec)
        assert sample.image.shape == (bands, *sample.label.shape)
        assert 10 <= (sample.meta.resolution or 0) <= 50
        low, high = np.nanpercentile(sample.image[:, ::4, ::4], [1, 99])
        assert -0.01 <= low < high <= 1.7
        found |= set(np.unique(sample.label[::2, ::2]).tolist())
    assert found == sets
    assert check_collection(name, shared_data / folder).problems == ()


def test_the_table() -> None:
    for name, found in COLLECTIONS.items():
        assert found.name == name
        assert found.summary and found.licence and found.layout
        assert found.citation.startswith("https://") or found.citation == ""
        for file in found.downloads:
            assert file.url.startswith("https://") and file.url.endswith(file.name)
            assert file.md5 is None or len(file.md5) == 32
    with pytest.raises(InputError, match="did you mean 'sparcs'"):
        read_collection("sparc", ".")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such folder"):
        read_collection("sparcs", tmp_path / "none")
    for name in COLLECTIONS:
        with pytest.raises(ManifestError):
            read_collection(name, tmp_path)


def test_splits_select(tmp_path: Path) -> None:
    folder = write_collection("cloudsen12", tmp_path, count=4, size=16)
    places = {s: [x.group for x in read_collection("cloudsen12", folder, s)]
              for s in ("train", "validation", "test")}  # fmt: skip
    assert places == {
        "train": ["ROI_0001", "ROI_0002"],
        "validation": ["ROI_0003"],
        "test": ["ROI_0004"],
    }
    with pytest.raises(ManifestError, match="no row has split 'val'"):
        read_collection("cloudsen12", folder, "val")


@given(st.sets(st.text(min_size=1), min_size=2, max_size=60), st.booleans())
def test_default_splits(groups: set[str], test: bool) -> None:
    found = default_splits(groups, test=test)
    assert found == default_splits(sorted(groups, reverse=True), test=test)
    assert {"train", "validation"} <= set(found.values())
    assert test or "test" not in found.values()


def test_default_splits_stay_when_groups_are_added() -> None:
    some = default_splits(f"scene {i}" for i in range(500))
    more = default_splits(f"scene {i}" for i in range(1000))
    assert some == {group: more[group] for group in some}
    shares = Counter(more.values())
    assert shares["validation"] == pytest.approx(150, abs=40)
    assert shares["test"] == pytest.approx(150, abs=40)


@pytest.fixture(scope="module")
def cloud38(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_collection("cloud38", tmp_path_factory.mktemp("cloud38"), count=2, size=SIZE)


def test_patches_make_the_scene(cloud38: Path) -> None:
    shape = 2 * SIZE - 5, 2 * SIZE - 8  # of the scene, with a margin around it
    for number, split in ((0, "train"), (1, "test")):
        ((scene, specs),) = scene_groups(read_collection("cloud38", cloud38, split)).items()
        assert len(specs) == 4
        scenes = (  # of which the first with cloud and ground is taken
            make_scene(shape, resolution=30, sensor="landsat-oli", seed=number + 10**6 * attempt,
                       bands=("blue", "green", "red", "nir08"))
            for attempt in range(12)
        )  # fmt: skip
        whole = mosaic(specs)
        assert whole.meta.id == whole.meta.group == scene
        if split == "train":  # whose margin nothing tells, so it stays
            assert whole.label.shape == (2 * SIZE, 2 * SIZE)
            inside = slice(2, 2 + shape[0]), slice(4, 4 + shape[1])
            assert (whole.label > 0).sum() == (whole.label[inside] > 0).sum()
            image, label = whole.image[(..., *inside)], whole.label[inside]
        else:
            image, label = whole.image, whole.label
        truth = next(
            s for s in scenes if np.allclose(image, s.reflectance, atol=6e-5, equal_nan=True)
        )
        cloud = np.isin(truth.truth, (1, 2))
        expected = np.where(cloud, 6, 57)
        expected[np.isnan(truth.reflectance).all(axis=0)] = 0
        np.testing.assert_array_equal(label, expected)


def test_masks_of_patches_make_the_mask_of_the_scene(cloud38: Path) -> None:
    specs = read_collection("cloud38", cloud38, "test")
    with rasterio.open(specs[0].mask) as data:
        truth = data.read(1)
    patches = [np.where(load_sample(s).label == 6, 255, 0).astype(np.uint8) for s in specs]
    np.testing.assert_array_equal(assemble(specs, patches, fill=0), truth)
    # In any order, and with one missing.
    np.testing.assert_array_equal(assemble(specs[::-1], patches[::-1], fill=0), truth)
    part = assemble(specs[1:], patches[1:], fill=7)
    assert part.shape == truth.shape
    assert (part == 7).sum() == (SIZE - 2) * (SIZE - 4)


def test_patches_that_do_not_fit_together(cloud38: Path) -> None:
    specs = read_collection("cloud38", cloud38)
    with pytest.raises(ManifestError, match="patches of 2 scenes"):
        assemble(specs, [np.zeros((SIZE, SIZE))] * 8, fill=0)
    with pytest.raises(ManifestError, match="expected one of one shape"):
        assemble(specs[:1], [np.zeros((2, 2))] * 2, fill=0)


def test_empty_patches_are_left_out_where_the_collection_lists_the_others(tmp_path: Path) -> None:
    write_collection("cloud38", tmp_path, count=2, size=16)
    patches = sorted((tmp_path / "38-Cloud_training/train_red").iterdir())
    names = [path.stem.removeprefix("red_") for path in patches]
    listing = tmp_path / "38-Cloud_training/training_patches_38-Cloud_nonempty.csv"
    listing.write_text("\n".join(["name", *names[1:]]))
    found = [spec.tags["patch"] for spec in read_collection("cloud38", tmp_path, "train")]
    assert found == names[1:]


def test_the_extensions_list_names_patches_of_both_folders(tmp_path: Path) -> None:
    write_collection("cloud95", tmp_path, count=2, size=16)
    more = tmp_path / "95-cloud_training_only_additional_to38-cloud"
    old, new = (
        sorted(path.stem.removeprefix("red_") for path in folder.iterdir())
        for folder in (
            tmp_path / "38-Cloud_training/train_red",
            more / "train_red_additional_to38cloud",
        )
    )
    listing = "training_patches_95-cloud_nonempty.csv"
    (more / listing).write_text("\n".join(["name", *old, *new[2:]]))

    def found() -> Counter[str]:
        specs = read_collection("cloud95", tmp_path)
        train = [spec for spec in specs if spec.folder != "38-Cloud_test"]
        assert {spec.tags["patch"] for spec in train} <= {*old, *new[2:]}
        return Counter(spec.folder for spec in train)

    assert found() == {"38-Cloud_training": len(old), more.name: len(new) - 2}
    # A patch of the folder's own list is asked for even where no file of it is there.
    for path in more.glob(f"*/*{new[2]}.TIF"):
        path.unlink()
    with pytest.raises(ManifestError, match=new[2]):
        read_collection("cloud95", tmp_path)


@pytest.mark.parametrize("listed", [False, True])
def test_a_mask_without_its_image_is_missed(tmp_path: Path, listed: bool) -> None:
    training = write_collection("cloud38", tmp_path, count=2, size=16) / "38-Cloud_training"
    (training / "training_patches_38-Cloud.csv").unlink()
    patch = next((training / "train_gt").iterdir()).stem.removeprefix("gt_")
    if listed:
        names = [path.stem.removeprefix("gt_") for path in (training / "train_gt").iterdir()]
        (training / "training_patches_38-cloud_nonempty.csv").write_text(
            "\n".join(["name", *names])
        )
    for band in ("blue", "green", "red", "nir"):
        (training / f"train_{band}/{band}_{patch}.TIF").unlink()
    problems = check_collection("cloud38", tmp_path).problems
    assert len(problems) == 4 and all(f"{patch}.TIF: missing" in text for text in problems)


def test_where_nothing_of_a_list_is_there_all_of_it_is_missed(tmp_path: Path) -> None:
    write_collection("cloud38", tmp_path, count=2, size=16)
    more = tmp_path / "95-cloud_training_only_additional_to38-cloud"
    more.mkdir()
    patch = "patch_1_1_by_1_LC08_L1TP_002053_20160520_20170324_01_T1"
    (more / "training_patches_95-cloud_nonempty.csv").write_text(f"name\n{patch}")
    with pytest.raises(ManifestError, match=patch):
        read_collection("cloud95", tmp_path)


def test_the_extension_brings_its_scenes(tmp_path: Path) -> None:
    specs = read_collection("cloud95", write_collection("cloud95", tmp_path, count=2, size=16))
    folders = Counter(spec.folder for spec in specs)
    assert folders == {
        "38-Cloud_training": 4,
        "38-Cloud_test": 4,
        "95-cloud_training_only_additional_to38-cloud": 8,
    }


def test_reflectance_of_38_cloud_follows_from_the_sun(shared_data: Path) -> None:
    spec = read_collection("cloud38", shared_data / "38-Cloud")[0]
    with rasterio.open(spec.images[0]) as data:
        counts = data.read(1)
    day = date.fromisoformat(spec.tags["date"])
    sine = math.sin(math.radians(sun_elevation(int(spec.tags["place"][3:]), day)))
    expected = np.where(counts == 0, np.nan, (counts * 2e-5 - 0.1) / sine)
    np.testing.assert_allclose(load_sample(spec).image[0], expected, rtol=1e-4, atol=1e-6)


def test_one_location_is_one_group(tmp_path: Path) -> None:
    specs = read_collection("oncloudn", write_collection("oncloudn", tmp_path, count=4, size=16))
    assert [spec.group for spec in specs] == ["Place 0", "Place 0", "Place 1", "Place 1"]


@pytest.fixture(scope="module")
def alps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_collection("alps", tmp_path_factory.mktemp("alps"), count=2, size=40)


def test_a_product_is_a_sample_on_its_own_grid(alps: Path) -> None:
    spec = read_collection("alps", alps)[0]
    scene, sample = open_scene(spec.images[0]), load_sample(spec)
    assert sample.bands[-1] == "elevation" and len(sample.bands) == 14
    assert sample.meta.resolution == pytest.approx(20)
    pixels = scene.read(sample.bands[:-1], resolution=20)
    np.testing.assert_array_equal(sample.image[:-1], pixels.reflectance)
    # Labels, pixel by pixel: the mask is on the same grid at 20 m.
    with rasterio.open(spec.mask) as data:
        codes = data.read(1)
    table = np.array([0b001001, 0b010000, 0b000110, 0b100000, 0b000100])
    expected = np.where(np.arange(40) < 5, 0, table[codes])  # an eighth is not covered
    expected[np.isnan(pixels.reflectance).all(axis=0)] = 0
    np.testing.assert_array_equal(sample.label, expected)


def test_elevation_comes_from_its_own_grid(alps: Path) -> None:
    spec = read_collection("alps", alps)[0]
    grid = open_scene(spec.images[0]).grid_at(20)
    sample = load_sample(spec)
    ((_, path),) = spec.auxiliary
    with rasterio.open(path) as data:
        metres, inverse = data.read(1), ~data.transform
    for row, column in ((10, 10), (20, 25), (31, 18)):
        place = grid.transform * (column + 0.5, row + 0.5)
        (x,), (y,) = transform(grid.crs, CRS.from_epsg(4326), [place[0]], [place[1]])
        i, j = (int(v) for v in (inverse * (x, y))[::-1])
        near = metres[i - 1 : i + 2, j - 1 : j + 2] / 1000
        assert near.min() <= sample.image[-1, row, column] <= near.max()
        assert metres.max() > 1000  # metres there, kilometres here


def test_a_product_at_another_resolution_and_a_mask_on_another_grid(alps: Path) -> None:
    spec = replace(read_collection("alps", alps)[0], resolution=60.0)
    sample = load_sample(spec)
    assert sample.label.shape == (14, 14)
    with rasterio.open(spec.mask) as data:
        codes = data.read(1)
    table = np.array([0b001001, 0b010000, 0b000110, 0b100000, 0b000100])
    # The middle of a 60 m pixel is the middle of the second of three 20 m pixels.
    expected = table[codes[1::3, 1::3]]
    expected[:, :2] = 0  # 20 m columns 1 and 4, of the five that are not covered
    np.testing.assert_array_equal(sample.label[:13, :13], expected[:13, :13])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("S2A_MSIL1C_20210710T101559_N0301_R065_T32TNS_20210710T141620.zip",
         ("2021-07-10", "T32TNS")),
        ("S2B_MSIL1C_20180524T233649_N0206_R030_T01WFR", ("2018-05-24", "T01WFR")),
        ("scene", ("", "")),
    ],
)  # fmt: skip
def test_names_of_products(name: str, expected: tuple[str, str]) -> None:
    assert safe_parts(name) == expected


def test_days_of_the_year() -> None:
    assert year_day("2014080") == "2014-03-21"
    assert year_day("2014999") == ""


def test_scaling_of_an_mtl(tmp_path: Path) -> None:
    path = tmp_path / "x_MTL.txt"
    path.write_text(
        "  SUN_ELEVATION = 30.0\n  REFLECTANCE_MULT_BAND_2 = 2.0000E-05\n"
        "  REFLECTANCE_ADD_BAND_2 = -0.100000\n  REFLECTANCE_MULT_BAND_3 = 3.0000E-05\n"
        "  REFLECTANCE_ADD_BAND_3 = -0.100000\n"
    )
    assert landsat_scaling(path, ("2", "3", "10")) == ("4e-05;6e-05;4e-05", "-0.2")
    assert landsat_scaling(tmp_path / "none", ("2",)) == ("", "")
    path.write_text("SUN_ELEVATION = 30.0\n")
    with pytest.raises(ManifestError, match="REFLECTANCE_MULT_BAND_2"):
        landsat_scaling(path, ("2",))
