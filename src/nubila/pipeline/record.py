"""Which stages of a run are done, and with what; one is done again when what it rests on changed.

One JSON file in the run folder: stage -> key and outputs. The key is a hash of the sections of the
recipe that the stage reads, of the files that they name, of the key of the stage before it, and of
what that stage left, which may have been made anew. Beside it stands what the samples were that the
stage has read (`seen`); it is no part of the key, for what an older run does not tell, or what is
gone by now, is not held against it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from nubila.errors import InputError
from nubila.pipeline.seen import Seen
from nubila.raster.atomic import atomic_path
from nubila.recipe import Recipe
from nubila.recipe.labels import AutoMask, FoldStep, LabelStep
from nubila.recipe.stages import Stage

__all__ = ["Record", "file_hash", "joined_key", "stage_key", "step_key"]

# What a stage reads of the recipe besides what the stages before it read.
_SECTIONS: Final[dict[Stage, tuple[str, ...]]] = {
    "labels": ("labels",),
    "tile": ("bands", "required", "data", "tiling"),
    "train": (),  # all of it but what later stages read, see below
    "export": ("export",),
    "evaluate": ("data", "evaluation"),
    "mask": ("mask",),
}
_LATER: Final = ("labels", "export", "evaluation", "mask")
# The same for the steps of the section `labels`. Those that train read all that changes a number.
_STEP_SECTIONS: Final = {
    "auto_mask": ("data",),
    "folds": ("data", "tiling", "seed"),
    "ensemble": ("export",),
}
_TRAINED: Final = ("train", "drop", "pseudo_label")
_FREE: Final = (*_LATER, "track", "workers", "checkpoint_minutes")
_BEFORE: Final[dict[Stage, Stage]] = {
    "train": "tile",
    "export": "train",
    "evaluate": "export",
    "mask": "export",
}


def stage_key(recipe: Recipe, stage: Stage) -> str:
    """Return a hash of everything that a stage's outputs depend on, as far as the recipe tells."""
    values = recipe.model_dump(mode="json")
    if stage == "train":
        read: dict[str, Any] = {k: v for k, v in values.items() if k not in _LATER}
    else:
        read = {name: values[name] for name in _SECTIONS[stage]}
    parts = [stage, json.dumps(read, sort_keys=True), _manifest_hash(recipe)]
    if stage in _BEFORE:
        parts.append(stage_key(recipe, _BEFORE[stage]))
    return joined_key(*parts)


def step_key(recipe: Recipe, step: LabelStep, before: str) -> str:
    """Return a hash of everything that the outputs of a step of the labels depend on.

    Args:
        recipe: the effort.
        step: of its section ``labels``.
        before: key of the step before it and the files that it left, empty for the first.
    """
    values = recipe.model_dump(mode="json")
    sections = _STEP_SECTIONS.get(step.name, ())
    if step.name in _TRAINED:
        sections = tuple(name for name in values if name not in _FREE)
    read: dict[str, Any] = {name: values[name] for name in sections}
    read["step"] = step.model_dump(mode="json")
    read["flips"] = recipe.labels.flips if step.name in _TRAINED else ""
    files: list[Path] = []
    if isinstance(step, AutoMask):
        files = [*step.manifests, *([step.water] if step.water else [])]
    elif isinstance(step, FoldStep):
        files = [*([recipe.data.manifest] if recipe.data.manifest else []), *step.pool]
    hashes = [file_hash(path) for path in files]
    return joined_key(before, json.dumps(read, sort_keys=True), *hashes)


def joined_key(*parts: str) -> str:
    """Return a hash of several texts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _manifest_hash(recipe: Recipe) -> str:
    return "" if recipe.data.manifest is None else file_hash(recipe.data.manifest)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes; empty for none, which is the stage's own error."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


@dataclass
class Record:
    """The record of a run folder.

    Attributes:
        path: its JSON file.
        stages: stage, or step of the labels, -> ``{"key": ..., "outputs": [...]}``, paths relative
            to the folder, and ``"samples"`` of a stage that reads them.
    """

    path: Path
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> Record:
        """Read the record of a run folder; an empty one where there is none.

        Raises:
            InputError: the file is there and is no record.
        """
        path = folder / "stages.json"
        if not path.is_file():
            return cls(path)
        try:
            stages = json.loads(path.read_text(encoding="utf-8"))
            if not all({"key", "outputs"} <= set(entry) for entry in stages.values()):
                raise ValueError("expected a key and outputs for each stage")
            for entry in stages.values():
                Seen(**entry.get("samples", {"stamp": "", "content": ""}))
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise InputError(
                f"{path}: not the record of a run ({error}); remove it to do every stage again"
            ) from error
        return cls(path, stages)

    def outputs(self, stage: str, key: str) -> tuple[Path, ...] | None:
        """Return the outputs of a finished stage; None if it is to be done."""
        entry = self.stages.get(stage)
        if entry is None or entry["key"] != key:
            return None
        paths = tuple(self.path.parent / name for name in entry["outputs"])
        return paths if all(path.exists() for path in paths) else None

    def seen(self, stage: str) -> Seen | None:
        """Return what the samples of a stage were when it was done; None where that is not told."""
        told = self.stages.get(stage, {}).get("samples")
        return None if told is None else Seen(**told)

    def start(self, stage: str) -> None:
        """Write down that a stage is no longer done: its outputs are about to be replaced."""
        if self.stages.pop(stage, None) is not None:
            self._write()

    def finish(
        self, stage: str, key: str, outputs: Sequence[Path], seen: Seen | None = None
    ) -> None:
        """Write down that a stage is done, and what the samples were that it has read."""
        folder = self.path.parent.resolve()
        names = [_relative(path.resolve(), folder) for path in outputs]
        self.stages[stage] = {"key": key, "outputs": names}
        if seen is not None:
            self.stages[stage]["samples"] = asdict(seen)
        self._write()

    def _write(self) -> None:
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(self.stages, indent=2) + "\n", encoding="utf-8")


def _relative(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
