"""Masks of whole scenes in a run's own folder, where those made otherwise give way to new ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from nubila.errors import BatchError
from nubila.infer import MaskOptions, mask_many
from nubila.models_io import Model
from nubila.recipe.stages import Masking

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
    outcomes = []
    for outcome in mask_many(
        [str(path) for path in wanted.scenes],
        folder,
        model=model,
        options=MaskOptions(resolution=wanted.resolution),
        auxiliary=wanted.auxiliary,
        renew=True,
    ):
        report("  " + json.dumps(outcome.record()))
        outcomes.append(outcome)
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if failed:
        raise BatchError(f"{len(failed)} of {len(outcomes)} scenes failed: {failed[0].error}")
    return tuple(p for o in outcomes if o.result is not None for p in o.result.paths.values())
