from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nubila.classes import class_set
from nubila.curate.origin import image_digest
from nubila.curate.predict import keep_predictions
from nubila.curate.predictions import Output, PredictionWriter, open_predictions
from nubila.curate.teachers import KeptDetector
from nubila.datasets import SampleSpec, read_manifest, write_manifest
from nubila.datasets.manifest import manifest_rows
from nubila.detect.rules import Bright
from nubila.errors import InputError
from nubila.raster import Grid
from tests.curate.samples import write_samples

OUTPUTS = (Output("clear", class_set(["clear", "snow", "water"])), Output("cloud", 6))


@pytest.fixture
def specs(tmp_path: Path) -> tuple[SampleSpec, ...]:
    images = [np.full((4, 5, 7), 0.1 * (n + 1)) for n in range(3)]
    masks = [np.zeros((5, 7), np.uint8)] * 3
    return read_manifest(write_samples(tmp_path / "data", images, masks))


def _some(seed: int) -> np.ndarray:
    cloud = np.random.default_rng(seed).random((5, 7), np.float32)
    return np.stack([1 - cloud, cloud])


def test_what_is_kept_is_read_back(tmp_path: Path, specs: tuple[SampleSpec, ...]) -> None:
    writer = PredictionWriter(tmp_path / "kept", OUTPUTS)
    wanted = _some(0)
    wanted[:, 2, 3:5] = np.nan
    grid = Grid(rasterio.CRS.from_epsg(32633), Affine(10, 0, 5e5, 0, -10, 5e6), (5, 7))
    writer.write(specs[0], wanted, model="toy@1", fold="2", grid=grid)
    found = open_predictions(tmp_path / "kept")
    row = found[specs[0].id]
    assert (row.model, row.fold, row.line) == ("toy@1", "2", specs[0].line)
    assert found.outputs == OUTPUTS
    np.testing.assert_allclose(found.read(row.id), wanted, atol=0.002)
    with rasterio.open(found.folder / row.file) as data:
        assert data.crs == grid.crs
        assert data.descriptions == ("clear", "cloud")


@settings(max_examples=25, deadline=None)
@given(values=arrays(np.float32, (2, 3, 4), elements=st.floats(0, 1, width=32) | st.just(np.nan)))
def test_any_probability_survives_to_half_a_step(
    values: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")
    spec = read_manifest(
        write_samples(folder, [np.full((4, 3, 4), 0.2)], [np.zeros((3, 4), np.uint8)])
    )[0]
    PredictionWriter(folder / "kept", OUTPUTS).write(spec, values, model="m")
    found = open_predictions(folder / "kept").read(spec.id)
    assert np.array_equal(np.isnan(found), np.isnan(values))
    np.testing.assert_allclose(found, values, atol=0.0021)


def test_a_killed_run_goes_on(tmp_path: Path, specs: tuple[SampleSpec, ...]) -> None:
    kept = tmp_path / "kept"
    PredictionWriter(kept, OUTPUTS).write(specs[0], _some(0), model="a", digest="1")
    table = kept / "predictions.csv"
    table.write_bytes(table.read_bytes() + b'set/s001,3,"manifest of, a')  # killed here
    assert list(open_predictions(kept)) == [specs[0].id]

    again = PredictionWriter(kept, OUTPUTS)
    assert again.done(specs[0].id, "a", "1")
    assert not again.done(specs[0].id, "b", "1")
    assert not again.done(specs[0].id, "a", "2")
    assert not again.done(specs[1].id, "a", "1")
    again.write(specs[1], _some(1), model="a")
    again.write(specs[0], _some(2), model="b")
    found = open_predictions(kept)
    assert {name: row.model for name, row in found.items()} == {specs[0].id: "b", specs[1].id: "a"}
    np.testing.assert_allclose(found.read(specs[0].id), _some(2), atol=0.0021)


@pytest.mark.parametrize(("model", "digest"), [("b", "1"), ("a", "2")])
def test_a_run_that_is_killed_before_its_row_leaves_the_earlier_prediction_whole(
    model: str,
    digest: str,
    tmp_path: Path,
    specs: tuple[SampleSpec, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = tmp_path / "kept"
    PredictionWriter(kept, OUTPUTS).write(specs[0], _some(0), model="a", digest="1")
    with monkeypatch.context() as killed:
        killed.setattr(PredictionWriter, "_add", _stop)
        with pytest.raises(KeyboardInterrupt):
            PredictionWriter(kept, OUTPUTS).write(specs[0], _some(1), model=model, digest=digest)
    again = PredictionWriter(kept, OUTPUTS)
    assert again.done(specs[0].id, "a", "1")
    assert not again.done(specs[0].id, model, digest)
    np.testing.assert_allclose(open_predictions(kept).read(specs[0].id), _some(0), atol=0.0021)
    row = again.write(specs[0], _some(1), model=model, digest=digest)
    np.testing.assert_allclose(open_predictions(kept).read(specs[0].id), _some(1), atol=0.0021)
    assert [path.name for path in (kept / "rasters").iterdir()] == [Path(row.file).name]


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_table_that_names_files_elsewhere_gets_none_of_them_deleted(
    tmp_path: Path, specs: tuple[SampleSpec, ...]
) -> None:
    mine, kept = tmp_path / "mine.tif", tmp_path / "kept"
    mine.touch()
    row = PredictionWriter(kept, OUTPUTS).write(specs[0], _some(0), model="a")
    table = kept / "predictions.csv"
    table.write_text(table.read_text().replace(row.file, "../mine.tif"))
    PredictionWriter(kept, OUTPUTS).write(specs[0], _some(0), model="b")
    assert mine.is_file()


def test_two_writers_at_once_both_show(tmp_path: Path, specs: tuple[SampleSpec, ...]) -> None:
    first, second = (PredictionWriter(tmp_path / "kept", OUTPUTS) for _ in range(2))
    first.write(specs[0], _some(0), model="a", fold="0")
    second.write(specs[1], _some(1), model="b", fold="1")
    first.write(specs[2], _some(2), model="a", fold="0")
    found = open_predictions(tmp_path / "kept")
    assert [found[spec.id].fold for spec in specs] == ["0", "1", "0"]


def test_a_raster_that_is_gone_is_not_done(tmp_path: Path, specs: tuple[SampleSpec, ...]) -> None:
    writer = PredictionWriter(tmp_path / "kept", OUTPUTS)
    row = writer.write(specs[0], _some(0), model="a")
    (tmp_path / "kept" / row.file).unlink()
    assert not writer.done(specs[0].id, "a", "")
    assert not open_predictions(tmp_path / "kept")


def test_a_table_of_before_there_were_digests_is_read_and_mended(
    tmp_path: Path, specs: tuple[SampleSpec, ...]
) -> None:
    kept = tmp_path / "kept"
    PredictionWriter(kept, OUTPUTS).write(specs[0], _some(0), model="a", fold="1")
    table = kept / "predictions.csv"
    table.write_text("".join(f"{s.rsplit(',', 2)[0]}\n" for s in table.read_text().splitlines()))
    assert open_predictions(kept)[specs[0].id].fold == "1"
    writer = PredictionWriter(kept, OUTPUTS)
    assert not writer.done(specs[0].id, "a", image_digest(specs[0]))
    writer.write(specs[1], _some(1), model="a", digest="1")
    assert {line.count(",") for line in table.read_text().splitlines()} == {7}
    found = open_predictions(kept)
    assert [found[spec.id].digest for spec in specs[:2]] == ["", "1"]


@dataclass(frozen=True)
class _Named(Bright):
    name: str = "brightness"


def _bright(folder: Path, name: str = "a") -> dict[str, float]:
    """Keep what a detector says of the samples of a folder; return the mean cloud of each."""
    kept = keep_predictions(
        _Named(name),
        read_manifest(folder / "manifest.csv"),
        folder / "kept",
        report=lambda _: None,
    )
    return {name: float(kept.read(name)[1].mean()) for name in kept}


def test_what_an_image_or_its_reading_changed_is_predicted_anew_and_nothing_else(
    tmp_path: Path, specs: tuple[SampleSpec, ...]
) -> None:
    data = tmp_path / "data"
    before = _bright(data)
    rasters = {path: path.stat().st_mtime_ns for path in (data / "kept/rasters").iterdir()}
    np.save(data / "set/s000_mask.npy", np.ones((5, 7), np.uint8))  # the label has no say
    teacher = KeptDetector(open_predictions(data / "kept")).version
    assert _bright(data) == before
    assert {path: path.stat().st_mtime_ns for path in rasters} == rasters
    np.save(data / "set/s000.npy", np.full((4, 5, 7), 0.9, np.float32))
    after = _bright(data)
    assert KeptDetector(open_predictions(data / "kept")).version != teacher
    assert after[specs[0].id] > before[specs[0].id]
    now = {path: path.stat().st_mtime_ns for path in (data / "kept/rasters").iterdir()}
    assert len(now) == len(rasters)
    assert len(now.items() & rasters.items()) == 2
    rows = [cells for _, cells in manifest_rows(data / "manifest.csv")]
    write_manifest(data / "manifest.csv", [rows[0], rows[1] | {"scale": "0.5"}, rows[2]])
    assert _bright(data)[specs[1].id] < after[specs[1].id]


def test_images_are_read_for_their_digest_only_where_they_were_predicted_by_this_model(
    tmp_path: Path, specs: tuple[SampleSpec, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def digest(spec: SampleSpec) -> str:
        asked.append(spec.id)
        return image_digest(spec)

    monkeypatch.setattr("nubila.curate.predictions.image_digest", digest)
    writer = PredictionWriter(tmp_path / "kept", OUTPUTS)
    assert writer.left(specs, "a") == list(specs)
    assert not asked
    for spec, model in zip(specs, "aab", strict=True):
        writer.write(spec, _some(0), model=model, digest=image_digest(spec))
    assert writer.left(specs, "a") == [specs[2]]
    assert sorted(asked) == [specs[0].id, specs[1].id]
    np.save(tmp_path / "data/set/s001.npy", np.full((4, 5, 7), 0.9, np.float32))
    assert writer.left(specs, "a") == [specs[1], specs[2]]


def test_a_file_is_read_once_however_many_others_are_asked_for_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [np.full((1, 1, 1), 0.1)]
    spec = read_manifest(write_samples(tmp_path, images, [np.zeros((1, 1), np.uint8)]))[0]
    paths = [tmp_path / f"{number}.bin" for number in range(1500)]
    for path in paths:
        path.touch()
    read: list[object] = []
    digest_of = hashlib.file_digest

    def digest(stream: BinaryIO, name: str) -> object:
        read.append(stream)
        return digest_of(stream, name)

    monkeypatch.setattr(hashlib, "file_digest", digest)
    for path in paths * 2:
        image_digest(replace(spec, images=(path,), auxiliary=()))
    assert len(read) == len(paths)


def test_predictions_of_another_detector_are_not_given_as_its_own(
    tmp_path: Path, specs: tuple[SampleSpec, ...]
) -> None:
    data = tmp_path / "data"
    assert len(_bright(data)) == 3
    rows = [cells for _, cells in manifest_rows(data / "manifest.csv")]
    bands = {"bands": "swir16,swir22,cirrus,nir"}  # which tells nothing of brightness
    write_manifest(data / "manifest.csv", [rows[0] | bands, *rows[1:]])
    assert list(_bright(data, "another")) == [specs[1].id, specs[2].id]


def test_other_outputs_are_refused(tmp_path: Path) -> None:
    PredictionWriter(tmp_path / "kept", OUTPUTS)
    with pytest.raises(InputError, match=r"clear = clear\|snow\|water; .*, not of shadow"):
        PredictionWriter(tmp_path / "kept", (Output("shadow", 8), Output("cloud", 6)))


def test_absent_predictions_say_what_makes_them(
    tmp_path: Path, specs: tuple[SampleSpec, ...]
) -> None:
    with pytest.raises(InputError, match="no kept predictions in it"):
        open_predictions(tmp_path)
    PredictionWriter(tmp_path / "kept", OUTPUTS)
    with pytest.raises(InputError, match="no prediction of sample 'set/s000'"):
        open_predictions(tmp_path / "kept").read(specs[0].id)


def test_a_damaged_raster_is_named(tmp_path: Path, specs: tuple[SampleSpec, ...]) -> None:
    row = PredictionWriter(tmp_path / "kept", OUTPUTS).write(specs[0], _some(0), model="a")
    path = tmp_path / "kept" / row.file
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=row.file):
        open_predictions(tmp_path / "kept").read(specs[0].id)


def test_ids_of_like_names_get_files_of_their_own(tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        for end in ("", "_mask"):
            np.save(tmp_path / place / f"x{end}.npy", np.zeros((4, 4), np.uint8))
    table = tmp_path / "m.csv"
    table.write_text("image,mask,bands\na/x.npy,a/x_mask.npy,red\nb/x.npy,b/x_mask.npy,red\n")
    writer = PredictionWriter(tmp_path / "kept", OUTPUTS)
    files = {
        writer.write(s, np.ones((2, 4, 4), np.float32), model="m").file
        for s in read_manifest(table)
    }
    assert len(files) == 2
