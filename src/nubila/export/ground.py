"""What a card's claims rest on: what the weights were trained on, and which labels people made."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from nubila.datasets.collections import SYNTHETIC
from nubila.errors import RecipeError
from nubila.models_io import TrainingSource
from nubila.recipe import Recipe
from nubila.tiles.store import open_store
from nubila.train.data import Labelled
from nubila.train.folder import check_same_data
from nubila.train.odds import image_weights
from nubila.train.pool import held_out_count
from nubila.train.samples import TileSamples, folders, read_specs

__all__ = ["check_data", "drawn_sets", "training_sources"]

# `auto_mask` and `pseudo_label` fill in the first where they made the label, in no other row. Their
# column `sure` would not do: `pseudo_label` empties it in rows whose masks an earlier step made.
# The second says that image and label are generated.
_MADE: Final = ("judged", SYNTHETIC)


def check_data(run: Path, train: Sequence[Labelled], validation: Sequence[Labelled]) -> None:
    """Hold a run to the samples that its manifest gives now, where the run says what it had.

    Raises:
        RecipeError: they are others: the card would name, and calibration rest on, images or
            labels that the weights were not trained with.
    """
    try:
        check_same_data(run, train, validation)
    except RecipeError as error:
        raise RecipeError(
            f"{error}; or put the samples and labels back that it was trained "
            f"on: card and calibration rest on them"
        ) from error


def training_sources(recipe: Recipe, train: Sequence[Labelled]) -> tuple[TrainingSource, ...]:
    """Return the sources that chips were drawn from, synthetic scenes and views with them."""
    drawn = image_weights("data.weights", recipe.data.weights, train) > 0
    of_images = [folder for folder, taken in zip(folders(train), drawn, strict=True) if taken]
    if isinstance(train, TileSamples):  # of an image there are many tiles
        taken_ids = [name for name, taken in zip(train.ids, drawn, strict=True) if taken]
        of_images = [folder for folder, _ in {*zip(of_images, taken_ids, strict=True)}]
    counts = Counter(of_images)
    if recipe.synth.share:
        counts["nubila synth"] = recipe.synth.chips - held_out_count(recipe.synth.chips)
    views = f"views, labelled by {' and '.join(recipe.views.detectors)}"
    if recipe.views.share:
        counts[views] = recipe.views.chips
    spectra = recipe.synth.spectra and ", with spectra of glacier-snow-cover-mapping (MIT)"
    own = {"nubila synth": f"Apache-2.0{spectra or ''}", views: "that of the images"}
    licences = own | recipe.export.licences
    return tuple(
        TrainingSource(name=name, licence=licences.get(name, "not stated"), images=images)
        for name, images in sorted(counts.items())
    )


def drawn_sets(recipe: Recipe, validation: Sequence[Labelled]) -> frozenset[int]:
    """Return the sets of classes (bits as in `classes.class_set`) that labels of people's hold.

    Labels that nubila made are passed over, also where they only go into more detail than a
    person's did: the detail is no person's. So are those of them that a person looked at in a
    review, for the manifest does not tell.

    Args:
        recipe: of the run.
        validation: the samples of its validation split.
    """
    made = [any(_says_so(row.get(name, "")) for name in _MADE) for row in _tags(recipe)]
    drawn = (s for s, by_nubila in zip(validation, made, strict=True) if not by_nubila)
    return frozenset(bits for s in drawn for bits in set(s.label.ravel().tolist()) if bits)


def _says_so(cell: str) -> bool:
    """Tell whether a cell says yes: `judged` is a share, of which 0 is one, `synthetic` a word."""
    return cell.strip().lower() not in ("", "0", "no", "false")


def _tags(recipe: Recipe) -> Sequence[Mapping[str, str]]:
    """Return the further columns of the manifest's row of each sample or tile to validate on."""
    data = recipe.data
    if data.tiles is None:
        return [spec.tags for spec in read_specs(recipe, data.validation)]
    store = open_store(data.tiles).select(data.validation)
    return [json.loads(text) for text in store.column("tags")]
