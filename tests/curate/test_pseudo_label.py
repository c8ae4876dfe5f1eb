from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from nubila.classes import class_set
from nubila.cli import app
from nubila.curate.predictions import Output, PredictionWriter
from nubila.datasets import load_sample, read_manifest
from nubila.datasets.manifest import manifest_rows, write_manifest
from nubila.errors import InputError
from tests.curate.samples import write_samples

_CLOUD = class_set(["cloud", "thin cloud"])
_OTHER = class_set(["clear", "cloud shadow", "snow", "water"])
_SIDE = 10


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Four images: three unlabelled, and one of the validation split with a drawn label."""
    random = np.random.default_rng(0)
    images = [random.uniform(0.05, 0.6, (4, _SIDE, _SIDE)).astype(np.float32) for _ in range(4)]
    images[0][:, 0] = np.nan
    masks = [np.zeros((_SIDE, _SIDE), np.uint8)] * 3 + [np.ones((_SIDE, _SIDE), np.uint8)]
    cells = [{"mask": "", "split": "", "group": f"g{n}"} for n in range(3)]
    cells.append({"split": "validation", "group": "g3"})
    return write_samples(tmp_path, images, masks, cells)


def _keep(folder: Path, manifest: Path, clouds: dict[str, np.ndarray]) -> Path:
    """Keep predictions of two outputs, given the probability of cloud."""
    outputs = [Output("clear", _OTHER), Output("cloud", _CLOUD)]
    writer = PredictionWriter(folder, outputs)
    for spec in read_manifest(manifest, unlabelled=True):
        if spec.id in clouds:
            cloud = clouds[spec.id].astype(np.float32)
            writer.write(spec, np.stack([1 - cloud, cloud]), model="made")
    return folder


@pytest.fixture
def teachers(tmp_path: Path, pool: Path) -> list[str]:
    """Two folds' predictions: s000 sure on 93 of 100 pixels in their mean, s001 on 60; no s002."""
    first = np.full((_SIDE, _SIDE), 0.04)
    first[:5] = 0.98
    second = first.copy()
    first[9, :7], second[9, :7] = 0.4, 0.2
    unsure = np.where(np.arange(100).reshape(10, 10) < 60, 0.02, 0.6)
    one = {"set/s000": first, "set/s001": unsure, "set/s003": first}
    other = {"set/s000": second, "set/s001": unsure, "set/s003": first}
    return [str(_keep(tmp_path / n, pool, p)) for n, p in (("one", one), ("two", other))]


def _run(pool: Path, teachers: list[str], folder: Path, *more: str):
    by = [part for name in teachers for part in ("--by", name)]
    return CliRunner().invoke(app, ["pseudo-label", str(pool), *by, "-o", str(folder), *more])


def test_the_mean_labels_what_it_is_sure_of(pool: Path, teachers: list[str], tmp_path: Path):
    folder = tmp_path / "labels"
    done = _run(pool, teachers, folder)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "1 labelled, 1 drawn labels stay, 2 dropped" in done.output
    kept = {cells["image"]: cells for _, cells in manifest_rows(folder / "manifest.csv")}
    assert [row["kept"] for row in kept.values()] == ["1", "1"]
    assert (kept["set/s000.npy"]["sure"], kept["set/s000.npy"]["reason"]) == ("0.9300", "sure")
    assert kept["set/s003.npy"]["mask"] == "set/s003_mask.npy"
    dropped = {cells["image"]: cells for _, cells in manifest_rows(folder / "dropped.csv")}
    assert dropped["set/s001.npy"]["reason"] == "not more than 0.9 of it is sure"
    assert dropped["set/s001.npy"]["sure"] == "0.6000"
    assert dropped["set/s002.npy"]["reason"] == "no teacher judges a pixel of it"
    assert {row["mask"] for row in dropped.values()} == {""}

    # By hand: sure where the mean of the two is below 0.1 or above 0.9, and the image has data.
    spec = read_manifest(folder / "manifest.csv", root=tmp_path)[0]
    expected = np.full((_SIDE, _SIDE), _OTHER)
    expected[:5], expected[9, :7], expected[0] = _CLOUD, 0, 0
    np.testing.assert_array_equal(load_sample(spec).label, expected)


def test_unsure_pixels_take_the_likeliest_class(pool: Path, teachers: list[str], tmp_path: Path):
    more = ("--unsure", "likeliest", "--keep", "0.5")
    assert _run(pool, teachers, tmp_path / "labels", *more).exit_code == 0
    specs = read_manifest(tmp_path / "labels/manifest.csv", root=tmp_path)
    label = load_sample(next(s for s in specs if s.id == "set/s001")).label
    np.testing.assert_array_equal(label == _CLOUD, np.arange(100).reshape(10, 10) >= 60)


def test_a_second_run_makes_nothing_anew_and_a_changed_teacher_does(
    pool: Path, teachers: list[str], tmp_path: Path
):
    folder = tmp_path / "labels"
    _run(pool, teachers, folder)
    mask = folder / "set/s000.tif"
    before = mask.stat().st_mtime_ns
    (folder / "set/s001.tif").unlink()  # as if killed before it
    _run(pool, teachers, folder)
    assert mask.stat().st_mtime_ns == before
    assert (folder / "set/s001.tif").is_file()
    outputs = [Output("clear", _OTHER), Output("cloud", _CLOUD)]
    spec = read_manifest(pool, unlabelled=True)[0]
    cloud = np.full((2, _SIDE, _SIDE), 0.02, np.float32)
    cloud[0] = 0.98
    PredictionWriter(Path(teachers[0]), outputs).write(spec, cloud, model="made again")
    _run(pool, teachers[:1], folder)
    row = next(r for r in read_manifest(folder / "manifest.csv", root=tmp_path) if r.id == spec.id)
    assert (load_sample(row).label[1:] == _OTHER).all()


def test_drawn_labels_are_replaced_only_when_asked(pool: Path, teachers: list[str], tmp_path: Path):
    done = _run(pool, teachers, tmp_path / "labels", "--replace", "--split", "validation")
    assert done.exit_code == 0, (done.output, done.exception)
    (spec,) = read_manifest(tmp_path / "labels/manifest.csv", root=tmp_path)
    assert (load_sample(spec).label[5:9] == _OTHER).all()
    refused = _run(pool, teachers, tmp_path / "labels", "--replace")
    assert isinstance(refused.exception, InputError)
    assert "--split" in str(refused.exception)


def test_any_detector_teaches_with_flips(pool: Path, tmp_path: Path):
    done = _run(pool, ["brightness+four"], tmp_path / "labels", "--keep", "0.1")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "3 labelled" in done.output


def test_what_cannot_teach_is_told(pool: Path, teachers: list[str], tmp_path: Path):
    folder = tmp_path / "labels"
    flips = _run(pool, [f"{teachers[0]}+four"], folder)
    assert "cannot be flipped any more" in str(flips.exception)
    assert "--unsure 'ignroe'" in str(_run(pool, teachers, folder, "--unsure", "ignroe").exception)
    rows = [cells for _, cells in manifest_rows(pool)]
    np.save(tmp_path / "set/s000.npy", np.zeros((4, 3, 3), np.float32))
    write_manifest(pool, rows)
    assert "3 x 3" in str(_run(pool, teachers, folder).exception)


@pytest.mark.parametrize("written", ["absolute", "above", "beside"])
def test_no_image_is_written_over(pool: Path, tmp_path: Path, written: str):
    path = tmp_path / "set/scene.tif"
    pixels = np.random.default_rng(1).uniform(0.05, 0.6, (4, _SIDE, _SIDE)).astype(np.float32)
    profile = {"driver": "GTiff", "height": _SIDE, "width": _SIDE, "count": 4, "dtype": "float32"}
    with rasterio.open(path, "w", **profile) as data:
        data.write(pixels)
    before = path.read_bytes()
    image = {"absolute": str(path), "above": f"../{tmp_path.name}/set/scene.tif"}
    (_, like), *_ = manifest_rows(pool)
    table = tmp_path / "one.csv"
    write_manifest(table, [like | {"image": image.get(written, "set/scene.tif")}])
    pool.unlink()  # a table of another hand beside the image would be refused first
    folder = tmp_path if written == "beside" else tmp_path / "labels"
    result = _run(table, ["brightness"], folder, "--keep", "0")
    assert path.read_bytes() == before
    if written == "beside":
        assert isinstance(result.exception, InputError)
        assert "would replace it" in str(result.exception)
    else:
        (spec,) = read_manifest(folder / "manifest.csv", root=tmp_path)
        assert spec.label_file.resolve().parent == folder.resolve()
        assert load_sample(spec).label.any()


@pytest.mark.parametrize("name", ["manifest.csv", "dropped.csv"])
def test_the_table_that_is_read_is_not_written_over(pool: Path, tmp_path: Path, name: str):
    table = tmp_path / "labels" / name
    table.parent.mkdir()
    table.write_bytes(pool.read_bytes())
    result = _run(table, ["brightness"], table.parent, "--root", str(tmp_path))
    assert "name another with -o" in str(result.exception)
    assert table.read_bytes() == pool.read_bytes()


def test_what_is_to_be_scored_on_is_not_pseudo_labelled_unasked(pool: Path, tmp_path: Path):
    rows = [dict(cells) for _, cells in manifest_rows(pool)]
    rows[0]["split"] = "test"
    write_manifest(pool, rows)
    folder = tmp_path / "labels"
    refused = _run(pool, ["brightness"], folder)
    assert isinstance(refused.exception, InputError) and "split test too" in str(refused.exception)
    wrong = _run(pool, ["brightness"], folder, "--split", "trian")
    assert "no row has split 'trian' (found: test" in str(wrong.exception)
    assert not folder.exists()
    assert _run(pool, ["brightness"], folder, "--split", "validation").exit_code == 0
