from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from nubila.cli import main
from nubila.curate.predictions import open_predictions
from nubila.datasets import load_sample, read_manifest, write_manifest
from nubila.errors import RecipeError
from tests.toy_run import write_toy_recipe

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("no_curves")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The toy recipe with a fold for each of its images, and one image more that is test."""
    path = write_toy_recipe(tmp_path)
    with (tmp_path / "toy.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for number, row in enumerate(rows):
        row |= {"fold": str(number), "split": "train"}
    np.save(tmp_path / "places/test.npy", np.full((7, 20, 20), 800, np.uint16))
    np.save(tmp_path / "places/test_mask.npy", np.zeros((20, 20), np.uint8))
    names = {"image": "places/test.npy", "mask": "places/test_mask.npy"}
    rows.append(rows[0] | names | {"split": "test", "group": "t", "fold": "0"})
    with (tmp_path / "toy.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _train(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["nubila", "train", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_all_folds_are_trained_predicted_and_scored(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = recipe.parent / "run"
    arguments = [str(recipe), "-o", str(run), "--set", "steps=2", "--fold", "all"]
    assert _train(monkeypatch, *arguments) == 0
    kept = open_predictions(run / "predictions")
    assert {name: row.fold for name, row in kept.items()} == {
        "places/image0": "0",
        "places/image1": "1",
        "places/image2": "2",
    }
    assert [o.name for o in kept.outputs] == [
        "clear", "cloud", "thin cloud", "cloud shadow", "snow", "water",
    ]  # fmt: skip
    for name in kept:
        np.testing.assert_allclose(kept.read(name).sum(axis=0), 1, atol=0.02)
    assert "cloud over all folds: IoU" in capsys.readouterr().out

    # The IoU worked out from the rasters themselves.
    hits = union = 0
    for spec in read_manifest(recipe.with_name("toy.csv"), split="train"):
        label, found = load_sample(spec).label == 2, kept.read(spec.id).argmax(axis=0)
        predicted = np.isin(found, [1, 2])
        hits += np.count_nonzero(label & predicted)
        union += np.count_nonzero(label | predicted)
    scores = json.loads((run / "scores.json").read_text())
    assert scores["overall"]["cloud"]["iou"] == pytest.approx(hits / union, abs=1e-5)
    assert set(scores["strata"]["fold"]) == {"0", "1", "2"}
    assert scores["overall"]["images"] == 3

    # Once more, nothing is trained or predicted again.
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.suffix in (".ckpt", ".tif")}
    assert _train(monkeypatch, *arguments) == 0
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_a_fold_never_trains_on_itself(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = recipe.parent / "run"
    arguments = [str(recipe), "-o", str(run), "--set", "steps=1", "--fold", "1"]
    assert _train(monkeypatch, *arguments) == 0
    with (run / "manifest-1.csv").open(newline="") as stream:
        rows = {row["image"]: row["split"] for row in csv.DictReader(stream)}
    assert rows == {
        "places/image0.tif": "train",
        "places/image1.tif": "validation",
        "places/image2.tif": "train",
    }
    assert list(open_predictions(run / "predictions")) == ["places/image1"]

    from nubila.curate.cross_validation import score_folds
    from nubila.recipe import load_recipe

    with pytest.raises(RecipeError, match=r"no prediction of 2 of 3 samples.*train that fold"):
        score_folds(load_recipe(recipe), run)

    # With folds dealt out anew, the network would predict what it has seen.
    table = recipe.with_name("toy.csv")
    with table.open(newline="") as stream:
        dealt = list(csv.DictReader(stream))
    dealt[0]["fold"], dealt[1]["fold"] = "1", "0"
    write_manifest(table, dealt)
    before = (run / "manifest-1.csv").read_bytes()
    assert _train(monkeypatch, *arguments) == 2
    assert "may have seen what it would predict" in capsys.readouterr().err
    assert (run / "manifest-1.csv").read_bytes() == before
    with pytest.raises(RecipeError, match="no prediction of 3 of 3 samples"):
        score_folds(load_recipe(recipe), run)


def test_what_cannot_be_done_is_told(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(recipe.parent / "run")
    assert _train(monkeypatch, str(recipe), "-o", run, "--fold", "7") == 2
    assert "no such fold (found: 0, 1, 2); or all" in capsys.readouterr().err
    table = recipe.with_name("toy.csv")
    table.write_text(table.read_text().replace("fold", "sheep"))
    assert _train(monkeypatch, str(recipe), "-o", run, "--fold", "all") == 2
    assert f"make them with: nubila folds {shlex.quote(str(table))}" in capsys.readouterr().err


def test_tiles_of_a_fold_are_cut_anew_when_folds_are_dealt_anew(recipe: Path) -> None:
    from nubila.curate.cross_validation import fold_recipe
    from nubila.recipe import load_recipe
    from nubila.train.samples import TileSamples, load_split

    whole = load_recipe(recipe, ["data.tiles=tiles", "tiling.size=48"])
    run = recipe.parent / "run"
    run.mkdir()

    def left_out(**options: bool) -> set[str]:
        own = fold_recipe(whole, "1", run, **options)
        tiles = load_split(own, own.data.validation)
        assert isinstance(tiles, TileSamples)
        return set(tiles.ids)

    assert left_out() == left_out() == {"places/image1"}
    table = recipe.with_name("toy.csv")
    with table.open(newline="") as stream:
        dealt = list(csv.DictReader(stream))
    dealt[0]["fold"], dealt[1]["fold"] = "1", "0"
    write_manifest(table, dealt)
    assert left_out(resume=False) == {"places/image0"}
