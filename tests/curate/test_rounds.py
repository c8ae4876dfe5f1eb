from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from nubila.cli import main
from nubila.curate.predictions import open_predictions
from nubila.datasets import load_sample, read_manifest
from nubila.datasets.manifest import manifest_rows, write_manifest
from tests.toy_run import write_toy_recipe

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("no_curves")

_CLASSES = "{clear: [clear, cloud shadow, snow, water], cloud: [cloud, thin cloud]}"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The toy recipe with two classes, and a pool of two images: one unlabelled, one dropped."""
    path = write_toy_recipe(tmp_path)
    text = path.read_text().replace("  biases: {snow: -0.5}\n", "")
    path.write_text(text + f"classes: {_CLASSES}\n")
    random = np.random.default_rng(1)
    rows = []
    for number in range(2):
        cloud = np.kron(random.uniform(0, 1, (3, 3)), np.ones((16, 16))) > 0.5
        counts = np.where(cloud, 6000, 800) + random.integers(0, 300, (7, *cloud.shape))
        np.save(tmp_path / f"places/pool{number}.npy", counts.astype(np.uint16))
        np.save(tmp_path / f"places/wrong{number}.npy", (~cloud).astype(np.uint8))
        (_, like), *_ = manifest_rows(tmp_path / "toy.csv")
        names = {"image": f"places/pool{number}.npy", "mask": f"places/wrong{number}.npy"}
        rows.append(like | names | {"split": "", "group": f"pool{number}"})
    rows[0]["mask"] = ""
    write_manifest(tmp_path / "pool.csv", rows)
    return path


def _run(monkeypatch: pytest.MonkeyPatch, recipe: Path, *more: str) -> int:
    pool, out = str(recipe.with_name("pool.csv")), str(recipe.with_name("rounds"))
    monkeypatch.setattr(
        "sys.argv", ["nubila", "rounds", str(recipe), "--pool", pool, "-o", out, *more]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


_EASY = ("-n", "1", "--low", "0.5", "--high", "0.4", "--keep", "0.1", "--set", "steps=3")


def test_a_round_adds_what_is_sure_and_measures_the_gain(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, recipe, *_EASY) == 0
    folder = recipe.with_name("rounds")
    (spec,) = read_manifest(recipe.with_name("toy.csv"), split="validation")
    expected = []
    for number in range(2):  # the IoU worked out from the kept rasters
        cloud = open_predictions(folder / f"round-{number}/predictions/0").read(spec.id)[1] > 0.5
        truth = load_sample(spec).label == 2
        expected.append((cloud & truth).sum() / (cloud | truth).sum())
    with (folder / "rounds.csv").open() as stream:
        table = [row for row in csv.DictReader(stream) if row["class"] == "cloud"]
    assert [float(row["iou"]) for row in table] == pytest.approx(expected, abs=1e-5)
    assert float(table[1]["gain"]) == pytest.approx(expected[1] - expected[0], abs=1e-5)
    assert [(row["images"], row["added"]) for row in table] == [("2", "0"), ("4", "2")]
    out = capsys.readouterr().out
    assert "2 of 2 images of the pool are sure enough" in out
    assert f"best weights, of round {int(expected[1] > expected[0])}:" in out

    # The second round trained on what the first one said, and never on the dropped labels.
    specs = read_manifest(folder / "round-1/manifest.csv", root=recipe.parent)
    first = open_predictions(folder / "round-0/predictions/0")
    for added in specs[3:]:
        assert added.split == "train"
        np.testing.assert_array_equal(
            np.isin(load_sample(added).label, [2, 6]), first.read(added.id)[1] > 0.5
        )
    assert [s.split for s in specs[:3]] == ["train", "train", "validation"]


def test_what_is_done_is_not_done_again(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _run(monkeypatch, recipe, *_EASY) == 0
    folder = recipe.with_name("rounds")
    kinds = (".ckpt", ".tif")
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.suffix in kinds}
    # As if killed in the middle of round 1: its end is gone, and some of its predictions.
    (folder / "rounds.csv").unlink()
    (folder / "round-1/run/result.json").unlink()
    lost = next((folder / "round-1/predictions/0/rasters").iterdir())
    lost.unlink()
    assert _run(monkeypatch, recipe, *_EASY) == 0
    again = {p: p.stat().st_mtime_ns for p in before}
    assert {p for p in before if before[p] != again[p] and "round-0" in p.parts} == set()
    assert before[folder / "round-1/run/best.ckpt"] == again[folder / "round-1/run/best.ckpt"]
    assert lost.is_file()
    assert (folder / "rounds.csv").is_file()


def test_folds_are_dealt_out_anew_with_the_pool(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _run(monkeypatch, recipe, *_EASY, "--set", "steps=1", "--folds", "2") == 0
    rows = [row for _, row in manifest_rows(recipe.with_name("rounds") / "round-1/manifest.csv")]
    assert {row["image"]: bool(row["fold"]) for row in rows} == {
        "places/image0.tif": True,
        "places/image1.tif": True,
        "places/image2.tif": False,  # the validation split stays out of all folds
        "places/pool0.npy": True,
        "places/pool1.npy": True,
    }
    assert len(list(recipe.with_name("rounds").glob("round-1/predictions/*"))) == 2


def test_what_cannot_be_dealt_out_is_named_by_the_line_of_a_table_that_is_there(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (_, first), (_, second), *_ = manifest_rows(recipe.with_name("toy.csv"))
    (recipe.parent / second["mask"]).write_bytes(b"no raster")
    assert _run(monkeypatch, recipe, *_EASY, "--folds", "2") == 2
    table = recipe.with_name("rounds") / "round-0/manifest.csv"
    assert f"{table}: line 3, column 'mask'" in " ".join(capsys.readouterr().err.split())
    assert dict(manifest_rows(table))[3]["image"] == second["image"] != first["image"]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("split", "validation", "which is scored on"),
        ("group", "place2", "scores would leak"),
        ("image", "places/image0.tif", "in split 'train'"),
    ],
)
def test_a_pool_that_would_leak_is_refused(
    recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    column: str,
    value: str,
    message: str,
) -> None:
    pool = recipe.with_name("pool.csv")
    rows = [row for _, row in manifest_rows(pool)]
    rows[0][column] = value
    write_manifest(pool, rows)
    assert _run(monkeypatch, recipe, *_EASY) == 2
    assert message in capsys.readouterr().err
    assert not (recipe.with_name("rounds") / "round-0").exists()


def test_rounds_of_something_else_are_not_gone_on_with(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = ("--set", "steps=1")
    assert _run(monkeypatch, recipe, "-n", "1", *steps) == 0
    out = capsys.readouterr().out
    assert "no image of the pool is sure enough after round 0" in out
    assert _run(monkeypatch, recipe, "-n", "1", "--keep", "0.5", *steps) == 2
    assert "started with other options" in capsys.readouterr().err
    recipe.with_name("rounds").joinpath("rounds.json").write_text("{")
    assert _run(monkeypatch, recipe, "-n", "1", *steps) == 2
    assert "rounds.json: is damaged" in capsys.readouterr().err
