"""MLflow, Weights & Biases and TensorBoard: told what happens, never able to end a run."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol

from nubila.errors import MissingExtraError
from nubila.recipe import Recipe
from nubila.train.folder import write_json

__all__ = ["Tracker", "Trackers", "check_trackers"]

# Tracker -> package and the extra that has it.
_PACKAGES: Final = {
    "mlflow": ("mlflow", "train"),
    "wandb": ("wandb", "track"),
    "tensorboard": ("tensorboard", "track"),
}


class Tracker(Protocol):
    """What a tracker is told. It is opened by its class, called with recipe, folder and step."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take figures of a step."""

    def picture(self, step: int, path: Path) -> None:
        """Take a picture of validation samples."""

    def close(self, failed: bool) -> None:
        """Take note that the run is over."""


def check_trackers(recipe: Recipe) -> None:
    """Raise before anything is trained where a tracker's package is missing.

    Raises:
        MissingExtraError: with the extra that has it.
    """
    for name in recipe.track.to:
        package, extra = _PACKAGES[name]
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, extra=extra)


class Trackers:
    """All trackers of a run as one; one that fails is told no more, but closed with the others.

    Args:
        recipe: its `track` says which.
        folder: the run folder.
        step: from which the run goes on.
        report: called with each warning, when a tracker fails and at the end.
    """

    def __init__(
        self, recipe: Recipe, folder: Path, step: int, report: Callable[[str], None]
    ) -> None:
        self._report = report
        self._open: dict[str, Tracker] = {}
        self._failures: dict[str, Exception] = {}
        for name in recipe.track.to:
            try:
                self._open[name] = _KINDS[name](recipe, folder, step)
            except Exception as error:  # a database, a server, a full disk: none may end a run
                self._fail(name, error)

    def __enter__(self) -> Trackers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for name, tracker in self._open.items():
            try:
                tracker.close(failed=kind is not None)
            except Exception as unclosed:  # as above
                self._failures.setdefault(name, unclosed)
        for name, failure in self._failures.items():
            self._report(f"warning: {name} did not take everything: {failure!r}")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Pass figures of a step on."""
        self._each(lambda tracker: tracker.log(step, values))

    def picture(self, step: int, path: Path) -> None:
        """Pass a picture on."""
        self._each(lambda tracker: tracker.picture(step, path))

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in self._open.items():
            if name in self._failures:
                continue
            try:
                call(tracker)
            except Exception as error:  # as above
                self._fail(name, error)

    def _fail(self, name: str, error: Exception) -> None:
        self._failures[name] = error
        self._report(f"warning: {name} failed, and is told nothing more: {error!r}")


class _MLflow:
    """A run in ``mlflow.db`` beside the run folder, gone on with where the folder has one."""

    def __init__(self, recipe: Recipe, folder: Path, step: int) -> None:
        # A training run of ours tells no one of itself; the variable is MLflow's own.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        import mlflow
        from mlflow.entities import Metric, Param

        # It tells of the tables of a new database, which nobody has asked for.
        logging.getLogger("mlflow.store.db").setLevel(logging.WARNING)
        self._metric = Metric
        base = folder.resolve().parent
        self._client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{base / 'mlflow.db'}")
        found = self._client.get_experiment_by_name(recipe.track.experiment)
        experiment = (
            found.experiment_id
            if found is not None
            else self._client.create_experiment(
                recipe.track.experiment, artifact_location=(base / "mlflow-artifacts").as_uri()
            )
        )
        known = _remembered(folder, "mlflow", step)
        self._run: str = known or ""
        if known is None:
            run = self._client.create_run(experiment, run_name=folder.name)
            self._run = run.info.run_id
            _remember(folder, "mlflow", self._run)
            params = [Param(key, value) for key, value in _flat(recipe).items()]
            self._client.log_batch(self._run, params=params)
        self._client.set_terminated(self._run, status="RUNNING")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        metrics = [self._metric(_plain(k), v, now, step) for k, v in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def picture(self, step: int, path: Path) -> None:
        self._client.log_artifact(self._run, str(path), "pictures")

    def close(self, failed: bool) -> None:
        self._client.set_terminated(self._run, status="FAILED" if failed else "FINISHED")


class _Wandb:
    """A run of Weights & Biases in the run folder, offline where the recipe says no other."""

    def __init__(self, recipe: Recipe, folder: Path, step: int) -> None:
        import wandb

        self._wandb = wandb
        known = _remembered(folder, "wandb", step)
        self._run = wandb.init(
            project=recipe.track.experiment,
            name=folder.name,
            dir=folder,
            config=_flat(recipe),
            id=known,
            resume="allow",
            mode="online" if recipe.track.upload else "offline",
            settings=wandb.Settings(silent=True, console="off"),
        )
        _remember(folder, "wandb", self._run.id)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def picture(self, step: int, path: Path) -> None:
        self._run.log({"samples": self._wandb.Image(str(path))}, step=step)

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


class _TensorBoard:
    """Event files in the run folder; what lies beyond the step to go on from is purged."""

    def __init__(self, recipe: Recipe, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, step: int, path: Path) -> None:
        import numpy as np
        from PIL import Image

        self._writer.add_image("samples", np.asarray(Image.open(path)), step, dataformats="HWC")

    def close(self, failed: bool) -> None:
        self._writer.close()


_KINDS: Final[dict[str, Callable[[Recipe, Path, int], Tracker]]] = {
    "mlflow": _MLflow,
    "wandb": _Wandb,
    "tensorboard": _TensorBoard,
}


def _remembered(folder: Path, tracker: str, step: int) -> str | None:
    """Return the tracker's name for the run that is gone on with, if there is one."""
    path = folder / "trackers.json"
    if step == 0 or not path.is_file():
        return None
    found: str | None = json.loads(path.read_text(encoding="utf-8")).get(tracker)
    return found


def _remember(folder: Path, tracker: str, name: str) -> None:
    path = folder / "trackers.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    write_json(path, known | {tracker: name})


def _flat(recipe: Recipe) -> dict[str, str]:
    """Return the recipe as one level of keys such as ``optim.lr``; MLflow takes 500 characters."""

    def walk(values: Mapping[str, Any], prefix: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for key, value in values.items():
            name = f"{prefix}{_plain(key)}"
            if isinstance(value, Mapping) and value:
                found |= walk(value, f"{name}.")
            else:
                found[name] = str(value)[:500]
        return found

    return walk(recipe.model_dump(mode="json"), "")


def _plain(name: str) -> str:
    """Return a name as MLflow takes it: of some characters, and no path that has a shorter form.

    Images beside their manifest are of the folder ``.``, whose scores are of ``-`` there.
    """
    known = "".join(c if c.isalnum() or c in "_-./ " else "-" for c in name)
    return "/".join("-" if part in ("", ".", "..") else part for part in known.split("/"))
