"""The stages of a whole effort: from labels and tiles to masks of scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from nubila.recipe.section import Section

__all__ = ["STAGES", "Evaluation", "Masking", "Stage"]

Stage = Literal["labels", "tile", "train", "export", "evaluate", "mask"]

STAGES: Final[tuple[Stage, ...]] = ("labels", "tile", "train", "export", "evaluate", "mask")


class Evaluation(Section):
    """What the exported model is scored on.

    Attributes:
        split: name of the split; its samples are seen once each, whole and unchanged.
    """

    split: str = "validation"


class Masking(Section):
    """What the exported model is run on.

    Attributes:
        scenes: products, rasters or STAC items that `nubila mask` takes; relative to the recipe.
        chips: folder of chips in the layout of On Cloud N, one folder a chip that holds
            ``B02.tif``, ``B03.tif``, ``B04.tif`` and ``B08.tif``; each becomes ``<chip>.tif`` of 0
            and 1, as the competition takes it; relative to the recipe.
        auxiliary: band -> raster of its own, as ``--auxiliary`` of `nubila mask`; relative to the
            recipe.
        resolution: metres a pixel of the scenes' masks; default the scene's own choice.
    """

    scenes: tuple[Path, ...] = ()
    chips: Path | None = None
    auxiliary: dict[str, Path] = {}
    resolution: float | None = Field(default=None, gt=0)
