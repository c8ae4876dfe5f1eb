"""Where hard cases come from: synthetic scenes, a manifest, spectra."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nubila.classes import class_set
from nubila.datasets import read_manifest
from nubila.errors import ManifestError, MissingFileError
from nubila.evaluate.hard import CASES, listed_images, spectra_images, synthetic_images
from nubila.evaluate.hard.synthetic import _FIRST_SEED, _SCENES
from nubila.synth.measured import TRAINING_SITES

_RECIPES = Path(__file__).resolve().parents[3] / "recipes"


def _manifest(folder: Path, **cells: str) -> Path:
    np.save(folder / "a.npy", np.full((1, 6, 8), 0.3, np.float32))
    row = {"image": "a.npy", "mask": "", "bands": "red", "case": "city"} | cells
    header, values = ",".join(row), ",".join(f'"{value}"' for value in row.values())
    path = folder / "m.csv"
    path.write_text(f"{header}\n{values}\n")
    return path


def test_synthetic_cases_are_known_and_no_scene_is_one_of_training():
    images = synthetic_images(32)
    assert {image.case for image in images} == set(CASES)
    names = [image.name for image in images]
    assert len(set(names)) == len(names)
    numbers = [scene.number for scene in _SCENES]
    assert len(set(numbers)) == len(numbers)  # else two would have one sky
    assert _FIRST_SEED + min(numbers) >= 2**31  # random_chip draws below


def test_synthetic_limit_ends_every_band_and_glint_brightens_water_alone():
    images = {image.name: image for image in synthetic_images(32)}
    ends = next(image for image in images.values() if "end at 0.4" in image.note).read()
    assert np.nanmax(ends.image) == np.float32(0.4)
    sea = next(image for image in images.values() if "open sea" in image.note).read()
    assert set(np.unique(sea.label)) <= {class_set(["water"])}
    assert sea.image[sea.bands.index("nir")].mean() > 0.05  # open water has 0.02 and less


def test_half_empty_scenes_know_nothing_where_there_is_nothing():
    image = next(i for i in synthetic_images(96) if i.case == "no data").read()
    empty = np.isnan(image.image).all(axis=0)
    assert 0 < empty.mean() < 1
    assert np.array_equal(image.label == 0, empty)


def test_a_truth_holds_for_its_part_and_nothing_is_known_elsewhere(tmp_path: Path):
    path = _manifest(tmp_path, truth="0,1,2,3=clear|water;4,0,1,8=cloud", note="x")
    (image,) = listed_images(path)
    label = image.read().label
    wanted = np.zeros((6, 8), np.uint8)
    wanted[0:2, 1:4], wanted[4] = class_set(["clear", "water"]), class_set(["cloud"])
    assert np.array_equal(label, wanted)
    assert (image.case, image.source, image.note) == ("city", "real", "x")


def test_a_window_cuts_image_and_label(tmp_path: Path):
    path = _manifest(tmp_path, truth="snow", window="1,2,4,5")
    sample = listed_images(path)[0].read()
    assert sample.image.shape == (1, 4, 5)
    assert np.all(sample.label == class_set(["snow"]))


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"case": ""}, "column 'case'"),
        ({"truth": "cler"}, "did you mean 'clear'"),
        ({"truth": "0,0,2=clear"}, "row,column,height,width"),
        ({"window": "0,0,0,4"}, "no pixels"),
    ],
)
def test_a_row_that_cannot_be_understood_is_named(
    tmp_path: Path, cells: dict[str, str], words: str
):
    with pytest.raises(ManifestError, match="line 2") as caught:
        listed_images(_manifest(tmp_path, **cells))
    assert words in str(caught.value)


@pytest.mark.parametrize("column", ["truth", "window"])
def test_a_part_outside_of_the_image_is_refused(tmp_path: Path, column: str):
    where = "0,0,6,9"
    path = _manifest(tmp_path, **{column: f"{where}=clear" if column == "truth" else where})
    with pytest.raises(ManifestError, match="outside of the image of 6 x 8"):
        listed_images(path)[0].read()


def test_the_repository_s_list_shares_no_place_with_training(shared_data: Path):
    training = read_manifest(_RECIPES / "default.csv", root=shared_data, split="train")
    more = read_manifest(_RECIPES / "default-unlabelled.csv", root=shared_data, unlabelled=True)
    listed = read_manifest(_RECIPES / "hard-cases.csv", root=shared_data, unlabelled=True)
    seen = {path for spec in (*training, *more) for path in spec.images}
    places = {spec.group for spec in (*training, *more)}
    assert not seen & {path for spec in listed for path in spec.images}
    assert not places & {spec.group for spec in listed}
    assert {spec.tags["case"] for spec in listed} <= set(CASES)


def _spectra(folder: Path) -> None:
    """Write spectra 0.01, 0.02, ... and 0.02 more of each class and file, and one of no values.

    All but water, which is of one lake, are there of a glacier for training too, as 0.9.
    """
    for name, bands in (
        ("Sentinel-2_TOA", "B1 B2 B3 B4 B8 B8A B11 B12"),
        ("Sentinel-2_SR", "B1 B2 B3 B4 B8 B8A B11 B12"),
        ("Landsat", "SR_B1 SR_B2 SR_B3 SR_B4 SR_B5 SR_B6 SR_B7"),
    ):
        columns = bands.split()
        lines = [",".join(["site_name", "image_date", "class", *columns])]
        for code in range(1, 6):
            for more in (0.0, 0.02):
                values = [f"{0.01 * n + more:.4f}" for n in range(1, len(columns) + 1)]
                lines.append(",".join(["Sperry", "20210101", str(code), *values]))
            lines.append(",".join(["Sperry", "20210101", str(code), *["nan"] * len(columns)]))
            if code != 5:
                brighter = ["0.9"] * len(columns)
                lines += [",".join([s, "20210101", str(code), *brighter]) for s in TRAINING_SITES]
        (folder / f"{name}_training_data.csv").write_text("\n".join(lines) + "\n")


def test_spectra_lie_between_those_of_the_file_in_the_bands_that_they_really_are(tmp_path: Path):
    _spectra(tmp_path)
    images = {image.name: image for image in spectra_images(tmp_path, 16)}
    assert len(images) == 15
    top = images["spectra/rock-S2-TOA"].read()
    assert top.bands[-2:] == ("cirrus", "swir16")
    cirrus = top.image[-2]
    assert cirrus.min() == pytest.approx(0.07) and cirrus.max() == pytest.approx(0.09)
    assert np.all(top.label == class_set(["clear"]))
    landsat = images["spectra/snow-L8-SR"].read()
    assert landsat.image[0].min() == pytest.approx(0.01 - 0.2)


def test_spectra_of_the_glaciers_for_training_are_in_no_image(tmp_path: Path):
    _spectra(tmp_path)
    for image in spectra_images(tmp_path, 16):
        assert image.read().image.max() < 0.2, image.name


def test_a_folder_without_spectra_is_named(tmp_path: Path):
    with pytest.raises(MissingFileError, match="no Sentinel-2_TOA_training_data"):
        spectra_images(tmp_path)
