"""Masks of whole scenes in a run's own folder, where those made otherwise give way to new ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from nubila.errors import BatchError, OutputError
from nubila.infer import MaskOptions, mask_many
from nubila.infer.delivery import prepare
from nubila.infer.finished import finished_item
from nubila.infer.output import FileSet
from nubila.models_io import Model
from nubila.recipe.stages import Masking
from nubila.scenes import Scene, open_scenes
from nubila.scenes.auxiliary import with_auxiliary

__all__ = ["mask_scenes"]


def mask_scenes(
    model: Model, wanted: Masking, folder: Path, *, report: Callable[[str], None]
) -> tuple[Path, ...]:
    """Mask a recipe's scenes; masks that are there are kept if they were made in the same way.

    Args:
        model: the model.
        wanted: the scenes, and how they are masked.
        folder: of the run's masks; nubila's own in it are replaced if they were made otherwise.
        report: called with each line for people.

    Returns:
        The files of all masks.

    Raises:
        BatchError: a scene failed; the others are done.
        InputError, OutputError: as `nubila.infer.mask_many`.
    """
    sources = [str(path) for path in wanted.scenes]
    options = MaskOptions(resolution=wanted.resolution)
    seen: set[str] = set()
    for source in sources:
        with suppress(Exception):  # `mask_many` tells of it, and goes on with the next scene
            for scene in open_scenes(source):
                # The second of two scenes of one name is an error, and undoes nothing.
                if scene.id.lower() not in seen:
                    seen.add(scene.id.lower())
                    _give_way(with_auxiliary(scene, wanted.auxiliary), folder, model, options)
    outcomes = []
    for outcome in mask_many(
        sources, folder, model=model, options=options, auxiliary=wanted.auxiliary
    ):
        report("  " + json.dumps(outcome.record()))
        outcomes.append(outcome)
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if failed:
        raise BatchError(f"{len(failed)} of {len(outcomes)} scenes failed: {failed[0].error}")
    return tuple(p for o in outcomes if o.result is not None for p in o.result.paths.values())


def _give_way(scene: Scene, folder: Path, model: Model, options: MaskOptions) -> None:
    """Have a mask that was made otherwise count as unfinished, so that it is made anew.

    A killed run goes on from there, which it would not if all masks were replaced.
    """
    files = FileSet(folder, scene.id)
    files.check_apart(scene.path)
    try:
        finished_item(prepare(scene, model, options), files)
    except OutputError:
        if files.is_ours("item"):
            files.remove("item")
