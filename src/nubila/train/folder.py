"""The run folder: what was trained, where, on what, and how it went."""

from __future__ import annotations

import csv
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from nubila._version import __version__
from nubila.errors import InputError, RecipeError
from nubila.nn.losses import needs_teacher
from nubila.raster.atomic import atomic_path, make_folder
from nubila.recipe import Recipe, load_recipe
from nubila.train.samples import Labelled, TileSamples
from nubila.train.state import checkpoint_file

__all__ = [
    "Log",
    "changed_since",
    "check_finished",
    "check_same_checkpoints",
    "check_same_chips",
    "check_same_data",
    "check_same_recipe",
    "checkpoint_hashes",
    "data_hash",
    "describe_data",
    "describe_run",
    "forget_run",
    "is_finished",
    "read_json",
    "read_metrics",
    "renew_export",
    "write_json",
    "write_recipe",
]

_PACKAGES: Final = (
    *("torch", "lightning", "numpy", "timm", "segmentation-models-pytorch"),
    *("onnxruntime", "ukis-csmask"),  # which may judge views
)
_DATA: Final = "data.json"
_RESULT: Final = "result.json"
_ANEW: Final = "start anew with nubila train --no-resume, or name another folder with -o"
# What may differ from the run that is gone on with: none of it changes a number.
_FREE: Final = (
    *("labels", "export", "evaluation", "mask", "track"),
    *("workers", "checkpoint_minutes"),
)


def check_same_recipe(recipe: Recipe, folder: Path) -> None:
    """Compare with the recipe that a folder's run was started with.

    Raises:
        RecipeError: they differ in what changes the weights; the message names it.
    """
    written = folder / "recipe.yaml"
    if not written.is_file():
        return
    before, now = load_recipe(written).model_dump(), recipe.model_dump()
    changed = [key for key in now if key not in _FREE and now[key] != before[key]]
    if recipe.monitor != "loss" and before["export"]["decision"] != recipe.export.decision:
        changed.append("export.decision")  # by which the best checkpoint is chosen
    if changed:
        raise RecipeError(
            f"{written} is not the recipe given now ({', '.join(changed)} differ); {_ANEW}"
        )


def check_finished(folder: Path, recipe: Recipe | None = None) -> None:
    """Raise unless a folder's run came to its end: its best checkpoint may else be of any step.

    Args:
        folder: of the run.
        recipe: that it has to be of, as `check_same_recipe` says; None for any.

    Raises:
        RecipeError: nothing was trained, the training was broken off, or it was by another recipe.
    """
    if not (folder / "best.ckpt").is_file():
        raise RecipeError(f"{folder}: there is no best.ckpt; do the stage train first")
    if recipe is not None:
        check_same_recipe(recipe, folder)
    if not is_finished(folder):
        raise RecipeError(
            f"{folder}: its training was broken off (there is no {_RESULT}); do the stage train "
            f"first, which ends it"
        )


def is_finished(folder: Path) -> bool:
    """Tell whether a folder's run came to its end."""
    return (folder / _RESULT).is_file()


def check_same_data(
    folder: Path, train: Sequence[Labelled], validation: Sequence[Labelled]
) -> None:
    """Compare with the samples that a folder's run was started with.

    The recipe may name the same manifest, and labels or splits in it have changed since.

    Raises:
        RecipeError: they differ; the message says which split.
    """
    now = {"train": data_hash(train), "validation": data_hash(validation)}
    if changed := changed_since(folder, now):
        raise RecipeError(
            f"{folder / _DATA} tells of other samples than there are now "
            f"(to {' and to '.join(changed)}); {_ANEW}"
        )


def check_same_chips(folder: Path, made: Mapping[str, Sequence[Labelled]]) -> None:
    """Compare with the chips that were made before a folder's run was started.

    They are made anew where the generator, spectra or detectors are others by now.

    Args:
        folder: of the run.
        made: ``synthetic`` and ``views`` -> chips.

    Raises:
        RecipeError: they differ; the message says which.
    """
    now = {name: _chips_hash(chips) for name, chips in made.items()}
    if changed := changed_since(folder, now):
        raise RecipeError(
            f"{folder / _DATA} tells of other chips than are made now ({', '.join(changed)}); "
            f"{_ANEW}"
        )


def check_same_checkpoints(folder: Path, checkpoints: Mapping[str, Any]) -> None:
    """Compare with the checkpoints that a folder's run was built on.

    Args:
        folder: of the run.
        checkpoints: as `checkpoint_hashes` gives them.

    Raises:
        RecipeError: they differ; the message says which.
    """
    if changed := changed_since(folder, checkpoints):
        raise RecipeError(
            f"{folder / _DATA} tells of another checkpoint than there is now "
            f"({', '.join(changed)}: trained anew since); {_ANEW}"
        )


def changed_since(folder: Path, now: Mapping[str, Any]) -> list[str]:
    """Return what of `now` differs from what a folder's run was started with.

    What the run does not tell of, as an older one or none, does not count.

    Raises:
        InputError: what it was started with cannot be read.
    """
    written = folder / _DATA
    before = read_json(written, _ANEW) if written.is_file() else {}
    return [name for name, found in now.items() if before.get(name, found) != found]


def forget_run(folder: Path) -> None:
    """Take away what an earlier run left to go on from, which is of another recipe.

    A new run that is killed before its first checkpoint would else go on from it.
    """
    for name in ("last.ckpt", "best.ckpt", _RESULT):
        (folder / name).unlink(missing_ok=True)


def describe_run(recipe: Recipe, folder: Path) -> None:
    """Write the whole recipe and the environment: ``recipe.yaml`` and ``environment.json``."""
    write_recipe(recipe, folder)
    write_json(folder / "environment.json", _environment(recipe))


def describe_data(
    folder: Path,
    train: Sequence[Labelled],
    validation: Sequence[Labelled],
    made: Mapping[str, Sequence[Labelled]],
    checkpoints: Mapping[str, Any],
) -> None:
    """Write what a run is started with: ``data.json``.

    Args:
        folder: of the run.
        train: samples to train on.
        validation: samples to validate on.
        made: ``synthetic`` and ``views`` -> chips, none where the recipe has none.
        checkpoints: as `checkpoint_hashes` gives them.
    """
    data = {"train": data_hash(train), "validation": data_hash(validation)}
    data |= {name: _chips_hash(chips) for name, chips in made.items() if len(chips)}
    write_json(folder / _DATA, data | dict(checkpoints))


def write_recipe(recipe: Recipe, folder: Path) -> None:
    """Write the whole recipe, for a run that is done too: some sections change no weight."""
    path, text = make_folder(folder) / "recipe.yaml", recipe.to_yaml()
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return  # its time tells what is older than it
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def renew_export(recipe: Recipe, folder: Path) -> None:
    """Give a run the section `export` of a recipe; its file is touched only if it had another."""
    before = load_recipe(folder / "recipe.yaml")
    write_recipe(before.model_copy(update={"export": recipe.export}), folder)


def data_hash(samples: Sequence[Labelled]) -> dict[str, Any]:
    """Return number and SHA-256 of samples: folder, shape, label, and the image's middle row.

    A row tells another product, scale or order of bands as well as a whole image would. Of a tile
    store, which may be larger than the memory, the table of its tiles and labels is taken.
    """
    digest = hashlib.sha256()
    if isinstance(samples, TileSamples):
        digest.update("\n".join((*samples.folders, *samples.groups)).encode())
        digest.update(np.ascontiguousarray(samples.label_sets).tobytes())
        return {"tiles": len(samples), "sha256": digest.hexdigest()}
    for sample in samples:
        digest.update(f"{sample.folder} {sample.image.shape}".encode())
        middle = np.asarray(sample.image[:, sample.image.shape[1] // 2])
        for values in (np.asarray(sample.label), middle):
            digest.update(np.ascontiguousarray(values).tobytes())
    return {"samples": len(samples), "sha256": digest.hexdigest()}


def checkpoint_hashes(recipe: Recipe) -> dict[str, dict[str, str]]:
    """Return the SHA-256 of the checkpoints that a run builds on, by their keys in the recipe.

    One that is not there is left out: a run that is done stays so without it.
    """
    given = {"finetune.start_from": recipe.finetune.start_from}
    if needs_teacher(recipe.loss):
        given["finetune.teacher"] = recipe.finetune.teacher
    files = {name: checkpoint_file(path) for name, path in given.items() if path is not None}
    return {
        name: {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        for name, file in files.items()
        if file.is_file()
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path, advice: str) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Args:
        path: of the file.
        advice: what to do where it is damaged, for the message.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"expected names and values, found {type(found).__name__}")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is damaged ({error}); {advice}") from error
    return found


def read_metrics(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the series of a ``metrics.csv``: name -> (step, value) in the order of the steps."""
    series: dict[str, list[tuple[int, float]]] = {}
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            series.setdefault(row["name"], []).append((int(row["step"]), float(row["value"])))
    return series


class Log:
    """Figures as rows ``step,name,value``; those after the step to go on from are forgotten."""

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        rows = []
        if step and path.is_file():
            with path.open(newline="", encoding="utf-8") as stream:
                rows = [row for row in csv.reader(stream) if row and row[0] != "step"]
        # A run that was killed while it wrote leaves a row that is cut off; it is later than step.
        kept = [row for row in rows if len(row) == 3 and int(row[0]) <= step]
        with (
            atomic_path(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as stream,
        ):
            csv.writer(stream).writerows([["step", "name", "value"], *kept])

    def write(self, step: int, values: dict[str, float]) -> None:
        """Add a row for each value."""
        with self._path.open("a", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([step, name, value] for name, value in values.items())


def _chips_hash(chips: Sequence[Labelled]) -> dict[str, Any]:
    """Return number and SHA-256 of made chips: the middle row of each image and label."""
    digest = hashlib.sha256()
    for chip in chips:
        for values in (chip.image, chip.label):
            middle = values[..., values.shape[-2] // 2, :]
            digest.update(np.ascontiguousarray(middle).tobytes())
    return {"chips": len(chips), "sha256": digest.hexdigest()}


def _environment(recipe: Recipe) -> dict[str, Any]:
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "nubila": __version__,
        "python": platform.python_version(),
        **{name: found for name in _PACKAGES if (found := _version(name))},
        "system": platform.platform(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "gpus": devices,
        "threads": recipe.threads,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
