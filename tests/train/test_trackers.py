from __future__ import annotations

import importlib.util
import time
from pathlib import Path

import pytest
from PIL import Image

from nubila.errors import MissingExtraError
from nubila.train import load_recipe
from nubila.train import trackers as trackers_module
from nubila.train.trackers import Trackers, check_trackers


def _track(toy: Path, run: Path, to: str, *, steps: tuple[int, ...], start: int = 0) -> list[str]:
    run.mkdir(exist_ok=True)
    Image.new("RGB", (8, 6), (255, 0, 0)).save(run / "picture.png")
    lines: list[str] = []
    recipe = load_recipe(toy, [f"track.to=[{to}]"])
    with Trackers(recipe, run, start, lines.append) as trackers:
        for step in steps:
            trackers.log(step, {"loss": 1 / step, "iou/thin cloud": 0.5, "cloud_iou/.": 0.75})
            trackers.picture(step, run / "picture.png")
    return lines


def test_mlflow_goes_on_with_its_run(toy: Path, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    assert _track(toy, tmp_path / "run", "mlflow", steps=(1, 2)) == []
    assert _track(toy, tmp_path / "run", "mlflow", steps=(4,), start=2) == []
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("nubila")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED" and run.data.params["optim.lr"] == "0.01"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(1, 1.0), (2, 0.5), (4, 0.25)]
    # MLflow takes no path with a shorter form; images beside their manifest are of the folder ".".
    assert run.data.metrics["cloud_iou/-"] == 0.75
    assert list((tmp_path / "mlflow-artifacts").rglob("picture.png"))


def test_wandb_stays_offline(toy: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    assert _track(toy, tmp_path / "run", "wandb", steps=(1, 2)) == []
    (file,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    limit = time.monotonic() + 20  # its own process writes a little later
    while b"iou/thin cloud" not in file.read_bytes():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_tensorboard_has_figures_and_pictures(toy: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert _track(toy, tmp_path / "run", "tensorboard", steps=(1, 2)) == []
    events = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 1.0), (2, 0.5)]
    assert (events.Images("samples")[0].width, events.Images("samples")[0].height) == (8, 6)


def test_a_tracker_that_fails_is_a_warning_at_once_and_at_the_end(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        calls = closed = 0

        def __init__(self, *_: object) -> None:
            pass

        def log(self, *_: object) -> None:
            Full.calls += 1
            raise OSError("disk full")

        def close(self, failed: bool) -> None:
            Full.closed += 1

    def closed(*_: object) -> None:
        raise ConnectionError("no server")

    kinds = {"mlflow": Full, "wandb": closed}
    monkeypatch.setattr(trackers_module, "_KINDS", kinds)
    lines: list[str] = []
    recipe = load_recipe(toy, ["track.to=[mlflow, wandb]"])
    with Trackers(recipe, tmp_path, 0, lines.append) as trackers:
        assert [line.split()[1:3] for line in lines] == [["wandb", "failed,"]]
        trackers.log(1, {"loss": 1.0})
        assert "mlflow failed" in lines[1] and "disk full" in lines[1]
        trackers.log(2, {"loss": 0.5})
    assert (Full.calls, Full.closed) == (1, 1)
    assert sorted(line.split()[1:4] for line in lines[2:]) == [
        ["mlflow", "did", "not"],
        ["wandb", "did", "not"],
    ]


def test_a_missing_package_is_an_error_up_front(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"wandb .*nubila\[track\]"):
        check_trackers(load_recipe(toy, ["track.to=[wandb]"]))
