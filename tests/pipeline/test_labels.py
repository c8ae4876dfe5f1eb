"""The whole of oncloudn at toy size, on labels of which a quarter were made wrong."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from nubila.cli import app
from nubila.curate.predictions import open_predictions
from nubila.datasets import collection_rows, load_sample, read_manifest, write_manifest
from nubila.datasets.manifest import manifest_rows
from nubila.errors import InputError, RecipeError
from nubila.pipeline import StageResult, run_recipe
from nubila.pipeline.gains import StepReport
from nubila.pipeline.label_ground import Found, StepJob
from nubila.raster.atomic import make_folder
from nubila.recipe import Recipe, load_recipe
from nubila.recipe.labels import LabelStep
from nubila.synth.collections import write_collection
from nubila.train.folder import check_same_recipe, checkpoint_hashes, describe_data
from tests.toy_run import write_toy_recipe

pytest.importorskip("torch")

_RECIPE = Path(__file__).resolve().parents[2] / "recipes/oncloudn-labels.yaml"
_TOY = (
    *("batch=4", "chip=48", "workers=0", "threads=1", "precision=32-true", "validate_every=20"),
    *("steps=20", "epochs=null", "steps_per_epoch=null", "track.to=[]", "track.pictures=0"),
    *("model={widths: [8, 16]}", "loss=cross_entropy", "normalise=reflectance", "optim.lr=0.015"),
    *("labels.flips=vflip", "data.dataset=null"),
)
_STEPS = (
    "labels.steps=[{name: folds, count: 2}, train, audit, {name: drop, share: 0.25}, "
    "{name: pseudo_label, keep: 0.2, low: 0.3, high: 0.7}, "
    "{name: pseudo_label, keep: 0.2, low: 0.3, high: 0.7}, "
    "{name: pseudo_label, keep: 0.2, low: 0.3, high: 0.7}, ensemble]"
)
_NAMES = (
    *("1-folds", "2-train", "3-audit", "4-drop"),
    *("5-pseudo_label", "6-pseudo_label", "7-pseudo_label", "8-ensemble"),
)
_KILLS = (  # step, and the line at which it is killed
    ("2-train", "fold 1:"),
    ("4-drop", "fold 1:"),
    ("6-pseudo_label", "fold 0:"),
)


class _KilledError(Exception):
    pass


@dataclass
class _Run:
    """A run that was killed in the middle of three steps, and went on each time."""

    recipe: Recipe
    folder: Path
    wrong: frozenset[str]
    lines: list[str]
    results: tuple[StageResult, ...]
    redone: list[Path]


def _write_data(folder: Path) -> tuple[Path, frozenset[str]]:
    """Write chips of 12 places, of which 4 are kept to validate; invert a quarter of the others."""
    write_collection("oncloudn", folder, count=24, size=48, seed=3)
    rows = [
        cells | {"split": "validation" if number >= 16 else "train"}
        for number, cells in enumerate(collection_rows("oncloudn", folder))
    ]
    for cells in rows[14:16]:
        cells["mask"] = ""  # images without a label
    write_manifest(folder / "labels.csv", rows)
    wrong = rows[1:14:4]
    for cells in wrong:
        with rasterio.open(folder / cells["mask"], "r+") as data:
            data.write(1 - data.read())
    names = (cells["image"].split(";")[0].removesuffix(".tif") for cells in wrong)
    return folder / "labels.csv", frozenset(names)


def _kill_at(step: str, line: str, lines: list[str]) -> Callable[[str], None]:
    inside = False

    def report(text: str) -> None:
        nonlocal inside
        lines.append(text)
        inside = inside or text == f"labels/{step}:"
        if inside and line in text:
            raise _KilledError

    return report


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> _Run:
    base = tmp_path_factory.mktemp("labels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nubila.train.record.draw_curves", lambda *_args: None)  # a third of the time
        return _killed_and_gone_on(base)


def _killed_and_gone_on(base: Path) -> _Run:
    manifest, wrong = _write_data(base / "data")
    sets = [*_TOY, _STEPS, f"data.root={base / 'data'}", f"data.manifest={manifest}"]
    recipe = load_recipe(_RECIPE, sets)
    lines: list[str] = []
    redone: list[Path] = []
    for step, line in _KILLS:
        before = {p: p.stat().st_mtime_ns for p in (base / "run").rglob("*.ckpt")}
        with pytest.raises(_KilledError):
            run_recipe(recipe, base / "run", report=_kill_at(step, line, lines))
        _leave_stale(base / "run", step)
        redone += [p for p, when in before.items() if p.stat().st_mtime_ns != when]
    results = run_recipe(recipe, base / "run", report=lines.append)
    return _Run(recipe, base / "run", wrong, lines, results, redone)


def _leave_stale(run: Path, step: str) -> None:
    """Leave predictions beside those of a step that no network of the run has made."""
    stale = run / "labels/2-train/predictions/fold-0"
    for name in ("predictions", "teachers"):
        if stale.is_dir() and (folder := run / "labels" / step).is_dir():
            shutil.copytree(stale, folder / name / "fold-7", dirs_exist_ok=True)


def _gains(run: _Run) -> dict[str, dict[str, str]]:
    with (run.folder / "labels/gains.csv").open() as stream:
        return {row["step"]: row for row in csv.DictReader(stream)}


def test_a_step_that_was_killed_goes_on_and_nothing_is_done_twice(run: _Run) -> None:
    expected = [*(f"labels/{name}" for name in _NAMES), "evaluate", "mask"]
    assert [result.stage for result in run.results] == expected
    assert [r.stage for r in run.results if not r.skipped] == expected[5:]
    assert run.redone == []
    again = run_recipe(run.recipe, run.folder, report=lambda _line: None)
    assert all(result.skipped for result in again)


def test_each_step_tells_its_gain_on_the_same_samples(run: _Run) -> None:
    rows = _gains(run)
    assert tuple(rows) == _NAMES
    (manifest,) = (p for p in (run.folder / "labels/1-folds").glob("manifest.csv"))
    specs = read_manifest(manifest, root=run.recipe.data.root, split="validation")
    before = None
    for name in (n for n in _NAMES if n not in ("1-folds", "3-audit")):
        hits = union = 0
        for spec in specs:  # the IoU worked out from the kept rasters
            kept = run.folder / "labels" / name / "predictions"
            own = ("ensemble",) if name == "8-ensemble" else ("fold-0", "fold-1")
            mean = np.mean([open_predictions(kept / n).read(spec.id) for n in own], axis=0)
            cloud, truth = mean[1] > mean[0], load_sample(spec).label == 6
            hits += int((cloud & truth).sum())
            union += int((cloud | truth).sum())
        iou = hits / union
        row = rows[name]
        assert float(row["iou"]) == pytest.approx(iou, abs=1e-5)
        assert int(row["scenes"]) == 4
        assert float(row["iou_low"]) <= iou <= float(row["iou_high"])
        if before is not None:
            assert float(row["gain"]) == pytest.approx(iou - before, abs=2e-5)
            assert float(row["gain_low"]) <= float(row["gain"]) <= float(row["gain_high"])
        before = iou
        assert any(
            line.startswith(f"labels/{name}: ") and f"cloud IoU {100 * iou:.1f}" in line
            for line in run.lines
        )
    assert any("the networks stay as they are" in line for line in run.lines)


def test_wrong_labels_are_dropped_and_their_images_won_back(run: _Run) -> None:
    labels = run.folder / "labels"
    with (labels / "4-drop/dropped.csv").open() as stream:
        dropped = {row["id"] for row in csv.DictReader(stream)}
    assert len(dropped) == round(0.25 * 14)
    # One by chance; of 14 with 4 wrong, 4 drawn blindly have 3 or more 41 times in 1001.
    assert len(dropped & run.wrong) >= 3
    root = run.recipe.data.root
    kept = {spec.id for spec in read_manifest(labels / "4-drop/manifest.csv", root=root)}
    assert not kept & dropped
    pool = read_manifest(labels / "4-drop/pool.csv", root=root, unlabelled=True)
    assert {spec.id for spec in pool} > dropped  # and those that never had a label
    assert len(pool) == len(dropped) + 2
    last = read_manifest(labels / "7-pseudo_label/manifest.csv", root=root)
    won = [spec for spec in last if spec.id not in kept]
    assert won and all("labels/7-pseudo_label/labels" in str(s.label_file.resolve()) for s in won)
    assert {spec.split for spec in won} == {"train"}


def test_a_folder_that_no_network_made_is_no_teacher(run: _Run) -> None:
    folder = run.folder / "labels/6-pseudo_label"
    assert (folder / "teachers/fold-7").is_dir() and (folder / "predictions/fold-7").is_dir()
    masks = sorted((folder / "labels").rglob("*.tif"))
    assert masks
    for path in masks:
        with rasterio.open(path) as data:
            told = data.tags()["NUBILA_LABEL"]
        assert "teachers/fold-0@" in told and "teachers/fold-1@" in told
        assert "fold-7" not in told


def test_no_group_is_in_two_folds_and_validation_is_in_none(run: _Run) -> None:
    folder = run.folder / "labels/1-folds"
    rows = [cells for t in ("manifest", "pool") for _, cells in manifest_rows(folder / f"{t}.csv")]
    folds: dict[str, set[str]] = {}
    for cells in rows:
        folds.setdefault(cells["group"], set()).add(cells["fold"])
    assert all(len(found) == 1 for found in folds.values())
    assert {c["fold"] for c in rows if c["split"] == "validation"} == {""}
    assert {c["fold"] for c in rows if c["split"] == "train"} == {"0", "1"}


def test_a_change_does_again_what_rests_on_it_and_no_more(run: _Run) -> None:
    steps = _STEPS.replace("share: 0.25", "share: 0.5")
    data = run.recipe.data
    sets = [*_TOY, steps, f"data.root={data.root}", f"data.manifest={data.manifest}"]
    lines: list[str] = []

    def report(text: str) -> None:
        lines.append(text)
        if "what it rests on has changed" in text:
            raise _KilledError  # before anything is taken away

    with pytest.raises(_KilledError):
        run_recipe(load_recipe(_RECIPE, sets), run.folder, report=report)
    assert [line.split(":")[0] for line in lines] == [f"labels/{name}" for name in _NAMES[:4]]
    assert all("done already" in line for line in lines[:3])
    exported = load_recipe(_RECIPE, [*sets[:-3], _STEPS, *sets[-2:], "export.summary=Other"])
    with pytest.raises(_KilledError):
        run_recipe(exported, run.folder, report=report)
    assert lines[-1].startswith("labels/8-ensemble: what it rests on")


def test_later_stages_alone_need_the_labels(run: _Run, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"1-folds: is not done yet; do the stage labels first"):
        run_recipe(run.recipe, tmp_path, stages=("evaluate",), report=print)
    (result,) = run_recipe(run.recipe, run.folder, stages=("evaluate",), report=print)
    assert result.skipped


def test_masks_made_by_a_recipe_are_those_of_the_command(tmp_path: Path) -> None:
    recipe = write_toy_recipe(tmp_path)
    rows = [cells | {"mask": ""} for _, cells in manifest_rows(tmp_path / "toy.csv")[:2]]
    write_manifest(tmp_path / "images.csv", rows)
    folder = tmp_path / "made"
    given = ["auto-mask", str(tmp_path / "images.csv"), "--clouds", "brightness"]
    done = CliRunner().invoke(app, [*given, "--flips", "hflip", "-o", str(folder)])
    assert done.exit_code == 0, done.output
    written = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert len(written) == 3
    for path in written:
        path.unlink()
    step = "{name: auto_mask, manifests: [images.csv], clouds: [brightness], flips: hflip}"
    sets = [f"labels.steps=[{step}]", "data.manifest=made/manifest.csv"]
    loaded = load_recipe(recipe, sets)
    (result,) = run_recipe(loaded, tmp_path / "run", stages=("labels",), report=print)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == written
    assert not result.skipped
    (again,) = run_recipe(loaded, tmp_path / "run", stages=("labels",), report=print)
    assert again.skipped


def test_an_image_to_be_scored_on_is_not_put_into_the_pool(tmp_path: Path) -> None:
    recipe = write_toy_recipe(tmp_path)
    rows = [cells for _, cells in manifest_rows(tmp_path / "toy.csv")]
    rows[1] = {**rows[1], "mask": "", "split": "test"}
    write_manifest(tmp_path / "toy.csv", rows)
    loaded = load_recipe(recipe, ["labels.steps=[folds]"])
    with pytest.raises(InputError, match=r"toy.csv: line 3: an image without a label in the split"):
        run_recipe(loaded, tmp_path / "run", stages=("labels",), report=print)


def test_the_pool_keeps_to_the_columns_of_the_folds(tmp_path: Path) -> None:
    recipe = write_toy_recipe(tmp_path)
    rows = [
        cells | {"place": f"p{n}"}
        for n, (_, cells) in enumerate(manifest_rows(tmp_path / "toy.csv"))
    ]
    waiting = []
    for number in range(2):
        image = f"places/waiting{number}.tif"
        shutil.copy(tmp_path / rows[0]["image"], tmp_path / image)
        waiting.append(rows[0] | {"image": image, "mask": "", "group": f"own{number}"})
    write_manifest(tmp_path / "toy.csv", [*rows, *waiting])
    step = "labels.steps=[{name: folds, count: 2, together: [place]}]"
    run_recipe(load_recipe(recipe, [step]), tmp_path / "run", stages=("labels",), report=print)
    folder = tmp_path / "run/labels/1-folds"
    drawn = manifest_rows(folder / "manifest.csv")[0][1]
    pool = [cells for _, cells in manifest_rows(folder / "pool.csv")]
    assert [(c["fold"], c["split"]) for c in pool] == [(drawn["fold"], "train")] * 2

    write_manifest(tmp_path / "toy.csv", [*rows, waiting[0] | {"place": "p2"}])
    with pytest.raises(InputError, match=r"place 'p2' is in the split 'validation'"):
        run_recipe(load_recipe(recipe, [step]), tmp_path / "run", stages=("labels",), report=print)


def test_steps_after_one_that_ran_anew_go_by_what_it_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    did: list[str] = []
    text = "1"

    def step(job: StepJob, found: LabelStep) -> Found:
        did.append(found.name)
        output = job.folder / "output.txt"
        output.write_text(text if found.name == "train" else "")
        return Found((output,), StepReport(job.folder.name, "done", 1))

    monkeypatch.setattr("nubila.pipeline.labels.do_step", step)
    path, run = write_toy_recipe(tmp_path), tmp_path / "run"
    recipe = load_recipe(path, ["labels.steps=[folds, train, audit]"])

    def done() -> list[str]:
        did.clear()
        run_recipe(recipe, run, stages=("labels",), report=lambda _: None)
        return did

    assert done() == ["folds", "train", "audit"]
    assert done() == []
    shutil.rmtree(run / "labels/2-train")
    assert done() == ["train"]  # and left the same
    shutil.rmtree(run / "labels/2-train")
    text = "2"
    assert done() == ["train", "audit"]
    assert done() == []


def test_steps_are_done_anew_on_labels_that_were_changed_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    did: list[str] = []
    breaks = False

    def step(job: StepJob, found: LabelStep) -> Found:
        did.append(f"{found.name}{'+' * len([*job.folder.glob('kept')])}")
        (job.folder / "kept").touch()  # what a step that is killed leaves to go on from
        if breaks:
            raise _KilledError
        return Found((), StepReport(job.folder.name, "done", 1))

    monkeypatch.setattr("nubila.pipeline.labels.do_step", step)
    recipe = load_recipe(write_toy_recipe(tmp_path), ["labels.steps=[folds, train]"])
    mask, run = tmp_path / "places/mask0.tif", tmp_path / "run"

    def done() -> list[str]:
        did.clear()
        run_recipe(recipe, run, stages=("labels",), report=lambda _: None)
        return did.copy()

    def paint(code: int) -> None:
        with rasterio.open(mask, "r+") as data:
            data.write(np.full(data.shape, code, np.uint8), 1)
        os.utime(mask, (code, code))  # on a clock of coarse ticks it might be the time of before

    assert (done(), done()) == (["folds", "train"], [])
    os.utime(mask, (3, 3))
    assert done() == []
    paint(1)
    assert (done(), done()) == (["folds", "train"], [])
    paint(0)
    breaks = True
    with pytest.raises(_KilledError):
        done()
    breaks = False
    assert done() == ["folds+", "train"]
    breaks = True
    paint(1)
    with pytest.raises(_KilledError):
        done()
    breaks = False
    paint(0)
    assert done() == ["folds"]  # not gone on with; the networks are of these labels
    with pytest.raises(RecipeError, match="do the stage labels first"):
        paint(1)
        run_recipe(recipe, run, stages=("train",), report=lambda _: None)
    for marker in run.glob("labels/*/key.txt"):  # a run of before samples were told of
        marker.write_text(marker.read_text().split("\n", maxsplit=1)[0])
    assert done() == []
    shutil.rmtree(tmp_path / "places")
    assert done() == []


def test_a_step_on_a_checkpoint_that_was_trained_anew_is_done_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    did: list[str] = []

    def step(job: StepJob, found: LabelStep) -> Found:
        did.append(found.name)
        if found.name == "train":
            run = make_folder(job.folder / "run/fold-0")
            describe_data(run, [], [], {}, checkpoint_hashes(job.recipe))
        return Found((), StepReport(job.folder.name, "done", 1))

    monkeypatch.setattr("nubila.pipeline.labels.do_step", step)
    first = tmp_path / "first.ckpt"
    sets = ["labels.steps=[folds, train]", f"finetune.start_from={first}"]
    recipe = load_recipe(write_toy_recipe(tmp_path), sets)

    def done() -> list[str]:
        did.clear()
        run_recipe(recipe, tmp_path / "run", stages=("labels",), report=lambda _: None)
        return did.copy()

    first.write_bytes(b"1")
    assert (done(), done()) == (["folds", "train"], [])
    first.write_bytes(b"2")
    assert (done(), done()) == (["train"], [])
    first.unlink()
    assert done() == []


def test_a_run_goes_on_whatever_its_labels_are_made_by(tmp_path: Path) -> None:
    path = write_toy_recipe(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/recipe.yaml").write_text(load_recipe(path).to_yaml())
    step = "{name: auto_mask, manifests: [images.csv]}"
    check_same_recipe(load_recipe(path, [f"labels.steps=[{step}]"]), tmp_path / "run")
    with pytest.raises(RecipeError, match="seed"):
        check_same_recipe(load_recipe(path, ["seed=9"]), tmp_path / "run")
