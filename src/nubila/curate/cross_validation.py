"""Cross-validation: a network a fold, and predictions of every sample by one that never saw it.

::

    run/manifest-0.csv      the manifest with fold 0 as the validation split
    run/fold-0/             what `nubila train` leaves
    run/predictions/        of each sample, by the network that did not see its fold
    run/scores.json         over all folds together
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nubila.classes import class_set
from nubila.curate.network import network_probabilities, network_version
from nubila.curate.origin import image_digest
from nubila.curate.predictions import Output, PredictionWriter, open_predictions
from nubila.curate.tallies import sample_tally
from nubila.datasets import SampleSpec, load_sample, read_manifest, write_manifest
from nubila.datasets.manifest import manifest_rows
from nubila.datasets.row import COLUMNS
from nubila.errors import RecipeError, command_line
from nubila.evaluate.scores import full_scores
from nubila.evaluate.strata import strata
from nubila.nn import Segmenter
from nubila.raster.atomic import make_folder
from nubila.recipe import Recipe
from nubila.train import fit
from nubila.train.folder import write_json
from nubila.train.samples import drop_stale_tiles
from nubila.train.state import load_weights

__all__ = [
    "fold_names",
    "fold_recipe",
    "sample_probabilities",
    "score_folds",
    "train_fold",
]

_PREDICTIONS = "predictions"


def fold_names(recipe: Recipe) -> tuple[str, ...]:
    """Return the folds that a recipe's manifest has, sorted.

    Raises:
        RecipeError: the recipe names no manifest, or the manifest has no folds.
    """
    manifest = _manifest(recipe)
    names = {cells.get("fold", "") for _, cells in manifest_rows(manifest)} - {""}
    if len(names) < 2:
        raise RecipeError(
            f"{manifest}: its column 'fold' names {len(names)} folds, expected at least two; make "
            f"them with: {command_line('nubila', 'folds', manifest)}"
        )
    return tuple(sorted(names, key=lambda name: (len(name), name)))


def train_fold(
    recipe: Recipe,
    fold: str,
    folder: str | Path,
    *,
    resume: bool = True,
    report: Callable[[str], None],
) -> Path:
    """Train on all other folds, validate on one, and keep the predictions of that one.

    What is done already is not done again. Rows without a fold, of the test split for one, stay
    out of all.

    Args:
        recipe: the run; its manifest has a column ``fold``.
        fold: the one to leave out.
        folder: of all folds together.
        resume: go on from the fold's last checkpoint.
        report: called with each line for people.

    Returns:
        The fold's `best.ckpt`.

    Raises:
        RecipeError: there is no such fold, the recipe asks for more than one device, or the folder
            holds a network of this fold that was trained when the folds were others.
        NubilaError: whatever training raises.
    """
    target = make_folder(folder)
    own = fold_recipe(recipe, fold, target, resume=resume, report=report)
    best = fit(own, target / f"fold-{fold}", resume=resume, report=report)
    specs = read_manifest(str(own.data.manifest), root=own.data.root, split=own.data.validation)
    outputs = [Output(name, class_set(members)) for name, members in own.classes.items()]
    decision = recipe.export.decision
    version = network_version(f"{target.name}/fold-{fold}", best, decision)
    writer = PredictionWriter(target / _PREDICTIONS, outputs)
    left = writer.left(specs, version)
    if left:
        network = load_weights(best)
        for spec in left:
            digest = image_digest(spec)  # before it is read, for it may change meanwhile
            found = sample_probabilities(network, own, spec)
            writer.write(spec, found, model=version, fold=fold, decision=decision, digest=digest)
    report(f"fold {fold}: {len(specs)} predictions in {writer.folder}")
    return best


def fold_recipe(
    recipe: Recipe,
    fold: str,
    folder: Path,
    *,
    resume: bool = True,
    report: Callable[[str], None] = lambda _: None,
) -> Recipe:
    """Return the recipe of one fold; its manifest is written into the folder.

    A tile store holds its tiles' splits, so each fold gets one of its own
    beside it; one that was made when the folds or labels were others is made anew.

    Raises:
        RecipeError: there is no such fold, the recipe asks for more than one device, or, if
            `resume`, the folder holds a network of this fold that was trained on other rows.
    """
    names = fold_names(recipe)
    if fold not in names:
        raise RecipeError(f"--fold {fold!r}: no such fold (found: {', '.join(names)}); or all")
    if recipe.devices * recipe.nodes > 1:
        raise RecipeError(
            f"devices x nodes is {recipe.devices * recipe.nodes}: a fold trains on one device; "
            f"start one `nubila train --fold` for each device instead, side by side"
        )
    data = recipe.data
    rows = [
        cells | {"split": data.validation if cells["fold"] == fold else data.train}
        for _, cells in manifest_rows(_manifest(recipe))
        if cells.get("fold") and cells.get("split") != data.test
    ]
    manifest = (folder / f"manifest-{fold}.csv").absolute()
    if resume and (folder / f"fold-{fold}" / "last.ckpt").is_file():
        _hold_to_same(manifest, rows, fold)
    write_manifest(manifest, rows)
    changes: dict[str, Any] = {"manifest": manifest}
    if data.tiles is not None:
        changes["tiles"] = data.tiles.with_name(f"{data.tiles.name}-{folder.name}-fold-{fold}")
    tiling = recipe.tiling.model_copy(update={"splits": {}})
    own = recipe.model_copy(update={"data": data.model_copy(update=changes), "tiling": tiling})
    drop_stale_tiles(own, report)
    return own


def _hold_to_same(manifest: Path, rows: Sequence[Mapping[str, str]], fold: str) -> None:
    """Raise if a fold was trained on other rows: its network may have seen what it now predicts."""
    before = [cells for _, cells in manifest_rows(manifest)] if manifest.is_file() else []
    then, now = ([[c.get(n, "") for n in COLUMNS] for c in each] for each in (before, rows))
    if then != now:
        raise RecipeError(
            f"{manifest}: fold {fold} was trained on these rows, and the manifest has others now: "
            f"its network may have seen what it would predict; use --no-resume to train anew, or "
            f"another run folder with -o"
        )


def score_folds(recipe: Recipe, folder: str | Path) -> dict[str, Any]:
    """Score the predictions of all folds together, as `nubila evaluate` scores a model.

    Writes ``scores.json``: ``overall`` with global and scene-mean figures and their intervals, and
    the same for each fold under ``strata.fold``.

    Raises:
        RecipeError: a sample of some fold has no prediction yet by the network that left it out.
    """
    target = Path(folder)
    specs = [s for s in _specs(recipe) if s.tags.get("fold") and s.split != recipe.data.test]
    kept = open_predictions(target / _PREDICTIONS)
    absent = [s for s in specs if s.id not in kept or kept[s.id].fold != s.tags["fold"]]
    if absent:
        raise RecipeError(
            f"{kept.folder}: no prediction of {len(absent)} of {len(specs)} samples, such as "
            f"{absent[0].id} of fold {absent[0].tags['fold']}; train that fold first"
        )
    tallies = [
        sample_tally(
            spec,
            load_sample(spec).label,
            kept.read(spec.id),
            kept.outputs,
            recipe.export.decision,
        )
        for spec in specs
    ]
    scores = full_scores(
        tallies,
        [output.name for output in kept.outputs],
        buffer=None,
        strata=strata(tallies) | strata(tallies, ["fold"]),
    )
    write_json(target / "scores.json", scores)
    return scores


def _manifest(recipe: Recipe) -> Path:
    if recipe.data.manifest is None:
        raise RecipeError(
            f"data.dataset is {recipe.data.dataset!r}: folds stand in a manifest; make one with "
            f"`nubila folds {recipe.data.dataset} --root ...` and give it as data.manifest"
        )
    return recipe.data.manifest


def _specs(recipe: Recipe) -> Sequence[SampleSpec]:
    return read_manifest(_manifest(recipe), root=recipe.data.root)


def sample_probabilities(
    network: Segmenter, recipe: Recipe, spec: SampleSpec
) -> NDArray[np.float32]:
    """Return (outputs, rows, columns), NaN where a band that is required has no data.

    Raises:
        ManifestError: the sample cannot be read, or a band that is required is absent.
    """
    sample = load_sample(spec)
    return network_probabilities(network, recipe, sample.image, sample.bands)
