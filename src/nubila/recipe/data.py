"""What a run is trained on: labelled images, tiles cut from them, synthetic chips."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from nubila.classes import CLASS_NAMES
from nubila.errors import nearest
from nubila.recipe.section import ImageWeights, Section

__all__ = ["Data", "Synth", "Tiling"]


class Data(Section):
    """Labelled samples: a manifest, or a collection in its published layout, or a tile store.

    Attributes:
        manifest: table of samples (CSV, Parquet, GeoJSON); relative to the recipe.
        dataset: name of a collection that `nubila data list` knows, in place of a manifest.
        root: folder that the manifest's paths are relative to, or the collection's own;
            relative to the recipe.
        tiles: tile store to fill from the samples (see `tiling`) and to train from; relative to the
            recipe. Without it, chips are cut from whole samples in memory.
        train, validation, test: names of the splits.
        weights: how often an image of a folder (first part of its path) is drawn, relative to
            the others; a folder that is not named gets 1. A name with a slash is the beginning of
            images' names (as `nubila evaluate` lists them) and goes before their folder: for a few
            images of what is rare, such as snow.
        gains: folder -> factors of its reflectance, one of which is drawn for each chip: for images
            whose stretch is not known for sure. Scores are of the images as they are.
        favour: class -> an image that is all of the class is drawn 1 + this many times as often;
            in between in proportion to the share of its pixels.
        subset: only this many images are drawn for each cycle of as many chips, each of them once;
            then others. Without it, each chip is of an image drawn from all.
    """

    manifest: Path | None = None
    dataset: str | None = None
    root: Path
    tiles: Path | None = None
    train: str = "train"
    validation: str = "validation"
    test: str = "test"
    weights: ImageWeights = {}
    gains: dict[str, tuple[float, ...]] = {}
    favour: dict[str, float] = {}
    subset: int | None = Field(default=None, ge=1)

    @field_validator("favour")
    @classmethod
    def _favours_classes(cls, favour: dict[str, float]) -> dict[str, float]:
        for name, times in favour.items():
            if name not in CLASS_NAMES.values():
                raise ValueError(f"no class {name!r}{nearest(name, CLASS_NAMES.values())}")
            if times < 0:
                raise ValueError(f"{times} of {name!r} is negative")
        return favour

    @field_validator("gains")
    @classmethod
    def _gains_positive(cls, gains: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
        for folder, factors in gains.items():
            if not factors or min(factors) <= 0:
                raise ValueError(
                    f"{list(factors)} of {folder!r}: expected factors above 0, such as [1.0, 2.0]"
                )
        return gains

    @model_validator(mode="after")
    def _one_source(self) -> Data:
        if (self.manifest is None) == (self.dataset is None):
            raise ValueError("expected either manifest or dataset")
        return self


class Tiling(Section):
    """How samples are cut into the tiles of a store (`Data.tiles`).

    Attributes:
        size: rows and columns of a tile.
        overlap: rows and columns that neighbours share.
        resolution: metres that samples are brought to first; default their own. Scores of whole
            images are at their own in any case.
        least_valid: tiles with a smaller share of pixels that have data are left out.
        least_share: class name -> tiles with a smaller share of the class are left out.
        windows: in place of a lattice, this many random windows an image; 0 for the lattice.
        dates: only samples of these dates (ISO, YYYY-MM-DD); empty for all.
        splits: split -> share of the samples that the manifest gives none, dealt out by group.
        seed: of the windows and of the splits.
    """

    size: int = Field(default=256, ge=16, le=4096)
    overlap: int = Field(default=0, ge=0)
    resolution: float | None = Field(default=None, gt=0)
    least_valid: float = Field(default=0.0, ge=0, le=1)
    least_share: dict[str, float] = {}
    windows: int = Field(default=0, ge=0)
    dates: tuple[str, ...] = ()
    splits: dict[str, float] = {}
    seed: int = Field(default=0, ge=0)

    @field_validator("least_share")
    @classmethod
    def _classes_known(cls, shares: dict[str, float]) -> dict[str, float]:
        for name, share in shares.items():
            if name not in CLASS_NAMES.values():
                raise ValueError(f"no class {name!r}{nearest(name, CLASS_NAMES.values())}")
            if not 0 <= share <= 1:
                raise ValueError(f"share {share} of {name!r} is not between 0 and 1")
        return shares

    @field_validator("dates", mode="before")
    @classmethod
    def _dates_as_text(cls, dates: Any) -> Any:  # noqa: ANN401 (whatever YAML holds)
        """Take a date that YAML has understood as one."""
        if not isinstance(dates, list | tuple):
            return dates  # pydantic says what was expected
        return [str(d) if isinstance(d, date) else d for d in dates]

    @field_validator("dates")
    @classmethod
    def _iso_dates(cls, dates: tuple[str, ...]) -> tuple[str, ...]:
        for text in dates:
            try:
                date.fromisoformat(text)
            except ValueError as error:
                raise ValueError(f"{text!r} is no date of the form YYYY-MM-DD") from error
        return dates

    @field_validator("splits")
    @classmethod
    def _shares_positive(cls, splits: dict[str, float]) -> dict[str, float]:
        if splits and (min(splits.values()) < 0 or sum(splits.values()) <= 0):
            raise ValueError("expected shares that are not negative and not all 0")
        return splits

    @model_validator(mode="after")
    def _overlap_fits(self) -> Tiling:
        if self.overlap >= self.size:
            raise ValueError(f"overlap {self.overlap} is not smaller than size {self.size}")
        return self


class Synth(Section):
    """Synthetic chips, made once and kept.

    Attributes:
        chips: how many are made; 0 for none.
        share: part of the training chips that is synthetic.
        storms: two chips more to every thirteen are storms of ice, which are as bright as snow, and
            as dark in the short-wave infrared.
        veils: two more are low, thin clouds, which the cirrus band does not show.
        like_snow: what a label says of thin cloud that is as bright as thick cloud and, in the
            short-wave infrared, like snow: ``thin cloud``; ``any cloud``, as tops of ice look the
            same; ``open``, that it may be snow too, as over snow it can hardly be seen.
        spectra: folder of the published points of glacier-snow-cover-mapping; half of the chips
            have snow, ice and rock of them in place of tabulated ones. Relative to the recipe.
        cache: folder where they are kept; relative to the recipe.
    """

    chips: int = Field(default=0, ge=0)
    share: float = Field(default=0.0, ge=0, le=1)
    storms: bool = False
    veils: bool = False
    like_snow: Literal["thin cloud", "any cloud", "open"] = "thin cloud"
    spectra: Path | None = None
    cache: Path = Path("../runs/synth")

    @model_validator(mode="before")
    @classmethod
    def _as_it_was_called(cls, given: Any) -> Any:  # noqa: ANN401 (whatever a file holds)
        """Read the recipes of runs from before `like_snow`, which had `open_over_snow`."""
        if not isinstance(given, dict) or "open_over_snow" not in given:
            return given
        rest = {key: value for key, value in given.items() if key != "open_over_snow"}
        return {"like_snow": "any cloud" if given["open_over_snow"] else "thin cloud", **rest}

    @model_validator(mode="after")
    def _chips_to_share(self) -> Synth:
        if self.share > 0 and self.chips == 0:
            raise ValueError(f"share is {self.share} but chips is 0")
        return self
