"""Generated collections: what reads the real one reads them, and gives the truth back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nubila.datasets import check_collection, load_sample, read_collection
from nubila.errors import InputError, OutputError
from nubila.synth import random_chip
from nubila.synth.collections import GENERATED, write_collection
from nubila.synth.instrument import SENSOR_BANDS

SIZE = 40


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("collections")
    return {name: write_collection(name, base / name, count=4, size=SIZE) for name in GENERATED}


@pytest.mark.parametrize("name", list(GENERATED))
def test_generated_data_is_whole_and_reads(written: dict[str, Path], name: str) -> None:
    assert check_collection(name, written[name]).problems == ()
    specs = read_collection(name, written[name])
    splits: dict[str, set[str]] = {}
    for spec in specs:
        sample = load_sample(spec)
        assert sample.image.shape == (len(sample.bands), SIZE, SIZE)
        assert sample.label.shape == (SIZE, SIZE)
        reflectance = sample.image[[b != "elevation" for b in sample.bands]]
        assert np.nanmin(reflectance) > -0.05
        assert np.nanmax(reflectance) < 2
        # What a label allows is what the collection's codes can say.
        assert set(np.unique(sample.label).tolist()) <= {0, *spec.codes.all_sets}
        splits.setdefault(spec.group, set()).add(spec.split)
        assert name in ("pairs", "synth") or (spec.tags["date"] and spec.tags["place"])
    assert all(len(found) == 1 for found in splits.values())
    known = {split for found in splits.values() for split in found}
    assert known == {"train"} if name == "calgary" else {"train", "validation"} <= known


@pytest.mark.parametrize("name", ["s2cmc", "cloudsen12", "synth"])
def test_pixels_and_labels_are_those_of_the_scene(written: dict[str, Path], name: str) -> None:
    resolution = 10 if name == "cloudsen12" else 20
    for number, spec in enumerate(read_collection(name, written[name])):
        random, sample = np.random.default_rng([0, number]), load_sample(spec)
        # Counts hold no negative noise: 0 is no data, 1 the darkest.
        darkest = -np.inf if name == "s2cmc" else 1e-4
        for _ in range(12):  # of which the first with cloud and ground is taken
            image, truth = random_chip(
                random,
                (SIZE, SIZE),
                resolution=resolution,
                bands=SENSOR_BANDS["sentinel-2-msi"],
                level="L1C",
            )
            if np.allclose(sample.image, np.maximum(image, darkest), atol=6e-5, equal_nan=True):
                break
        else:
            pytest.fail(f"{spec.id} is none of what was drawn")
        there = truth != 255
        # The label always allows the truth.
        assert ((sample.label >> np.where(there, truth, 0)) & 1)[there].all()


@pytest.mark.parametrize(("name", "count"), [("cloud38", 3), ("synth", 2), ("oncloudn", 4)])
def test_the_fewest_images_can_be_trained_on(tmp_path: Path, name: str, count: int) -> None:
    write_collection(name, tmp_path, count=count, size=64, seed=2)
    for split in ("train", "validation"):
        specs = read_collection(name, tmp_path, split)
        labels = np.concatenate([load_sample(spec).label.ravel() for spec in specs])
        cloud, ground = np.uint8(0b110), np.uint8(0b110001)
        assert ((labels & cloud != 0) & (labels & ground == 0)).any()
        assert ((labels & ground != 0) & (labels & cloud == 0)).any()


@pytest.mark.parametrize("name", ["cloud38", "synth"])
def test_generated_labels_say_that_nobody_drew_them(written: dict[str, Path], name: str) -> None:
    assert {spec.tags["synthetic"] for spec in read_collection(name, written[name])} == {"1"}
    (written[name] / "synthetic.txt").unlink()
    told = {spec.tags.get("synthetic", "") for spec in read_collection(name, written[name])}
    assert told == {"1" if name == "synth" else ""}


def test_the_catalogue_says_where_shadow_was_drawn(tmp_path: Path) -> None:
    specs = read_collection("s2cmc", write_collection("s2cmc", tmp_path, count=5, size=16))
    clear = {spec.tags["shadows_marked"]: spec.codes.sets[-1] for spec in specs}
    assert clear == {"1": 0b110001, "0": 0b111001}


def test_same_seed_same_files(tmp_path: Path) -> None:
    one, two, other = (
        write_collection("oncloudn", tmp_path / str(i), count=2, size=16, seed=seed)
        for i, seed in enumerate((3, 3, 4))
    )
    files = sorted(path.relative_to(one) for path in one.rglob("*.tif"))
    assert len(files) == 10
    assert all((one / f).read_bytes() == (two / f).read_bytes() for f in files)
    assert any((one / f).read_bytes() != (other / f).read_bytes() for f in files)


@pytest.mark.parametrize(
    ("name", "count", "size", "said"),
    [
        ("cloud83", 4, 64, "did you mean 'cloud38'"),
        ("synth", 0, 64, "count 0"),
        ("synth", 1, 8, "size 8"),
    ],
)
def test_errors(tmp_path: Path, name: str, count: int, size: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        write_collection(name, tmp_path, count=count, size=size)


def test_what_is_in_a_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("mine")
    with pytest.raises(OutputError, match="is not empty"):
        write_collection("synth", tmp_path, count=1, size=16)
    assert (tmp_path / "manifest.csv").read_text() == "mine"
