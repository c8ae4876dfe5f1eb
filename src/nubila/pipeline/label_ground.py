"""What a step of the labels is given, what it gives, and what there is to work on after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from nubila.curate.cross_validation import fold_names
from nubila.datasets import SampleSpec, read_manifest
from nubila.pipeline.gains import StepReport
from nubila.recipe import Recipe
from nubila.recipe.labels import LabelStep

__all__ = [
    "MANIFEST",
    "POOL",
    "PREDICTIONS",
    "RANKING",
    "Found",
    "Ground",
    "StepJob",
    "after",
]

MANIFEST: Final = "manifest.csv"
POOL: Final = "pool.csv"
RANKING: Final = "audit.csv"
PREDICTIONS: Final = "predictions"


@dataclass(frozen=True)
class Ground:
    """What a step works on: files that steps before it left.

    Attributes:
        manifest: rows that are trusted, with folds, and those of other splits; None before folds.
        trained: the same and what pseudo-labels added; the manifest of the last networks.
        pool: table of images without a label that is trusted; None for no such image.
        networks: folder of the step that trained last.
        ranking: the audit's table.
    """

    manifest: Path | None = None
    trained: Path | None = None
    pool: Path | None = None
    networks: Path | None = None
    ranking: Path | None = None


@dataclass(frozen=True)
class Found:
    """What a step gives: files, and what it did.

    Attributes:
        outputs: the files.
        report: what it did and gained.
    """

    outputs: tuple[Path, ...]
    report: StepReport


@dataclass(frozen=True)
class StepJob:
    """What every step is given.

    Attributes:
        recipe: the effort.
        run: the run folder.
        folder: of the step.
        ground: what steps before it left.
        report: called with each line for people.
    """

    recipe: Recipe
    run: Path
    folder: Path
    ground: Ground
    report: Callable[[str], None]

    @property
    def manifest(self) -> Path:
        """The rows with folds; the recipe is checked to have a step that makes them."""
        assert self.ground.manifest is not None
        return self.ground.manifest

    @property
    def networks(self) -> Path:
        """Folder of the step that trained last; the recipe is checked to have one."""
        assert self.ground.networks is not None
        return self.ground.networks

    @property
    def trained(self) -> Path:
        """The manifest of the last networks; the recipe is checked to have folds before."""
        assert self.ground.trained is not None
        return self.ground.trained

    @property
    def last_runs(self) -> tuple[Path, ...]:
        """Folders of the networks that were trained last, one a fold of their manifest."""
        names = fold_names(self.recipe_of(self.trained))
        return tuple(self.networks / f"run/fold-{name}" for name in names)

    def recipe_of(self, manifest: Path) -> Recipe:
        """Return the recipe with another manifest; a store of tiles holds its labels."""
        data = self.recipe.data
        changes: dict[str, Any] = {"manifest": manifest.absolute(), "dataset": None}
        if data.tiles is not None:
            changes["tiles"] = data.tiles.with_name(f"{data.tiles.name}-{self.folder.name}")
        return self.recipe.model_copy(update={"data": data.model_copy(update=changes)})

    def specs(self, manifest: Path, split: str) -> tuple[SampleSpec, ...]:
        """Read the samples of a split."""
        return read_manifest(manifest, root=self.recipe.data.root, split=split)


def after(step: LabelStep, folder: Path, ground: Ground) -> Ground:
    """Return what there is to work on once a step is done, whether now or before."""
    pool = folder / POOL
    match step.name:
        case "folds":
            manifest = folder / MANIFEST
            return Ground(manifest, manifest, pool if pool.is_file() else None)
        case "train":
            return replace(ground, networks=folder)
        case "audit":
            return replace(ground, ranking=folder / RANKING)
        case "drop":
            manifest = folder / MANIFEST
            pooled = pool if pool.is_file() else None
            return Ground(manifest, manifest, pooled, folder, ground.ranking)
        case "pseudo_label":
            return replace(ground, trained=folder / MANIFEST, networks=folder)
    return ground
