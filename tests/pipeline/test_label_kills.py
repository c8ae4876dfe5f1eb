"""Each step of the labels killed midway by SIGKILL: the same command goes on and ends the same."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nubila.curate.audit import _measure
from nubila.datasets import collection_rows, write_manifest
from nubila.datasets.manifest import manifest_rows
from nubila.pipeline import run_recipe
from nubila.recipe import Recipe, load_recipe
from nubila.synth.collections import write_collection
from tests.pipeline.killing import files_of, killed_at, needs_fork
from tests.toy_run import write_toy_recipe

pytest.importorskip("torch")
pytestmark = needs_fork

_FLUSH = "nubila.raster.atomic.flush"  # twice for a file: before it gets its name, and after
_TOY = """\
steps: 4
batch: 4
chip: 48
workers: 0
threads: 1
precision: 32-true
validate_every: 4
model: {widths: [8, 8]}
loss: cross_entropy
normalise: reflectance
optim: {lr: 0.03}
track: {to: [], pictures: 0}
bands: [blue, green, red, nir]
classes: {clear: [clear, cloud shadow, snow, water], cloud: [cloud, thin cloud]}
required: [blue, green, red, nir]
data: {manifest: labels.csv, root: .}
export: {name: toy, summary: A toy., licences: {oncloudn: CC0-1.0}}
labels: {steps: [{name: folds, count: 2}, train, audit, ensemble]}
"""


@dataclass(frozen=True)
class _Run:
    """A run that nobody disturbed, and what it left."""

    recipe: Recipe
    folder: Path
    left: dict[str, bytes]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> _Run:
    base = tmp_path_factory.mktemp("kills")
    write_collection("oncloudn", base, count=14, size=48, seed=3)
    rows = [
        cells | {"split": "validation" if number >= 10 else "train"}
        for number, cells in enumerate(collection_rows("oncloudn", base))
    ]
    rows[0]["mask"] = ""  # for the pool
    write_manifest(base / "labels.csv", rows)
    (base / "toy.yaml").write_text(_TOY)
    recipe = load_recipe(base / "toy.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nubila.train.record.draw_curves", lambda *_args: None)
        _do(recipe, base / "run")
    return _Run(recipe, base / "run", _contents(base / "run"))


def _do(recipe: Recipe, folder: Path) -> list[str]:
    """Do the labels' steps; return what was done and not skipped."""
    done = run_recipe(recipe, folder, stages=("labels",), report=lambda _line: None)
    return [result.stage for result in done if not result.skipped]


def _contents(folder: Path) -> dict[str, bytes]:
    return {name: _content(path) for name, path in files_of(folder).items()}


def _content(path: Path) -> bytes:
    """Return what a file holds but for the time at which it was made."""
    if not path.name.endswith(".stac.json"):
        return path.read_bytes()
    item = json.loads(path.read_bytes())
    for name in ("datetime", "created", "updated"):
        item["properties"].pop(name, None)
    return json.dumps(item).encode()


def _forget(run: _Run, step: str) -> None:
    """Bring a run back to where a step was not begun; what rests on it stays recorded."""
    record = run.folder / "stages.json"
    stages = json.loads(record.read_text())
    outputs = stages.pop(f"labels/{step}")["outputs"]
    record.write_text(json.dumps(stages, indent=2) + "\n")
    for name in outputs:
        (run.folder / name).unlink(missing_ok=True)
        (run.folder / name).with_suffix(".stac.json").unlink(missing_ok=True)
    shutil.rmtree(run.folder / "labels" / step)


def _check_same(run: _Run) -> None:
    """Hold what is there to what the undisturbed run left: no file more, none less, none other."""
    now = _contents(run.folder)
    now["stages.json"] = _sorted(now["stages.json"])
    expected = run.left | {"stages.json": _sorted(run.left["stages.json"])}
    assert sorted(now) == sorted(expected)
    assert [name for name in now if now[name] != expected[name]] == []


def _sorted(record: bytes) -> bytes:
    return json.dumps(json.loads(record), sort_keys=True).encode()


def _whole(run: _Run) -> dict[str, int]:
    """Return when each file was written; not of those that have no name of their own yet."""
    files = files_of(run.folder).items()
    return {n: path.stat().st_mtime_ns for n, path in files if not path.name.startswith(".")}


@pytest.mark.parametrize("call", [1, 3, 4, 5, 7, 9, 11, 12])
def test_folds_are_killed_at_each_of_their_files(run: _Run, call: int) -> None:
    _forget(run, "1-folds")
    killed_at(_FLUSH, call, lambda: _do(run.recipe, run.folder))
    recorded = "labels/1-folds" in json.loads((run.folder / "stages.json").read_text())
    assert recorded == (call == 12)  # key, manifest, report, pool, step, record
    assert _do(run.recipe, run.folder) == ([] if recorded else ["labels/1-folds"])
    _check_same(run)


@pytest.mark.parametrize(
    ("place", "call", "measured"),
    [
        ("nubila.curate.audit._measure", 1, 0),
        ("nubila.curate.audit._measure", 6, 5),
        ("nubila.curate.audit._scores", 1, 9),
        (_FLUSH, 3, 9),  # the ranking is written, and has no name yet
        (_FLUSH, 5, 9),  # it has, and the step is not recorded
    ],
)
def test_an_audit_measures_no_sample_twice(run: _Run, place: str, call: int, measured: int) -> None:
    counted = []

    def count(*arguments: Any) -> Any:
        counted.append(arguments[0].id)
        return _measure(*arguments)

    _forget(run, "3-audit")
    killed_at(place, call, lambda: _do(run.recipe, run.folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nubila.curate.audit._measure", count)
        assert _do(run.recipe, run.folder) == ["labels/3-audit"]
    assert len(counted) == len(set(counted)) == 9 - measured
    _check_same(run)


def test_an_ensemble_exports_and_predicts_nothing_twice(run: _Run) -> None:
    """Killed five times in a row, each time further on."""
    _forget(run, "4-ensemble")
    seams = [  # function, its call, and networks and predictions that are done by then
        ("nubila.export.onnx.check_parity", 2, 1, 0),  # the second network has no name yet
        ("nubila.export.onnx.write_item", 1, 1, 0),  # it has, and no item
        ("nubila.curate.ensemble_graph._check", 1, 2, 0),
        ("nubila.curate.predictions.write_cog", 3, 2, 2),
        ("nubila.pipeline.labels.write_step", 1, 2, 4),
    ]
    before: dict[str, int] = {}
    for place, call, networks, predictions in seams:
        killed_at(place, call, lambda: _do(run.recipe, run.folder))
        whole = _whole(run)
        own = [name for name in whole if name.startswith("labels/4-ensemble/")]
        done = [n.replace(".stac.json", ".onnx") for n in own if n.endswith(".stac.json")]
        rasters = [name for name in own if name.endswith(".tif")]
        assert (len(done), len(rasters)) == (networks, predictions), place
        assert {name: whole[name] for name in before} == before
        before = {name: whole[name] for name in (*done, *rasters)}
    assert _do(run.recipe, run.folder) == ["labels/4-ensemble"]
    whole = _whole(run)
    assert {name: whole[name] for name in before} == before
    _check_same(run)


def test_a_step_that_was_killed_before_it_was_recorded_is_not_taken_for_the_one_before(
    run: _Run,
) -> None:
    steps = "labels.steps=[{name: folds, count: 3}, train, audit, ensemble]"
    other = load_recipe(run.folder.parent / "toy.yaml", [steps])
    killed_at("nubila.pipeline.record.Record.finish", 1, lambda: _do(other, run.folder))
    report = json.loads((run.folder / "labels/1-folds/folds.json").read_text())
    assert len(report["samples"]) == 3
    assert _do(run.recipe, run.folder) == ["labels/1-folds"]
    _check_same(run)


@pytest.mark.parametrize(
    ("call", "made"), [(1, 0), (3, 0), (5, 1), (7, 2), (9, 3), (11, 3), (13, 3)]
)
def test_masks_that_are_there_are_not_made_twice(tmp_path: Path, call: int, made: int) -> None:
    path = write_toy_recipe(tmp_path)
    rows = [cells | {"mask": ""} for _, cells in manifest_rows(tmp_path / "toy.csv")]
    write_manifest(tmp_path / "images.csv", rows)
    step = "{name: auto_mask, manifests: [images.csv], clouds: [brightness]}"
    sets = [f"labels.steps=[{step}]", "data.manifest=made/manifest.csv", "threads=1"]
    recipe = load_recipe(path, sets)
    assert _do(recipe, tmp_path / "run") == ["labels/1-auto_mask"]
    left = {name: _contents(tmp_path / name) for name in ("made", "run")}
    for name in left:
        shutil.rmtree(tmp_path / name)
    killed_at(_FLUSH, call, lambda: _do(recipe, tmp_path / "run"))
    masks = [path for path in (tmp_path / "made").rglob("*.tif") if not path.name.startswith(".")]
    assert len(masks) == made
    when = [path.stat().st_mtime_ns for path in masks]
    assert _do(recipe, tmp_path / "run") == ["labels/1-auto_mask"]
    assert [path.stat().st_mtime_ns for path in masks] == when
    assert {name: _contents(tmp_path / name) for name in left} == left
