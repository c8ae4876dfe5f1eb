"""How labels are made, doubted and won back: steps that are done in order before the model is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import Field, field_validator, model_validator

from nubila.errors import nearest
from nubila.recipe.section import Section

__all__ = [
    "FLAGS",
    "Audit",
    "AutoMask",
    "Drop",
    "Ensemble",
    "Flag",
    "FoldStep",
    "LabelStep",
    "Labels",
    "PseudoLabel",
    "TrainFolds",
]

Flips = Literal["none", "hflip", "vflip", "four", "eight"]
Flag = Literal[
    "duplicate",
    "near duplicate",
    "contradicts duplicate",
    "no data",
    "blank",
    "saturated",
    "empty on cloudy",
    "full on clear",
    "shifted",
    "flipped",
    "inverted",
]
# What `nubila audit` may say of a sample (curate.audit_words).
FLAGS: Final[tuple[Flag, ...]] = get_args(Flag)

_Share = Annotated[float, Field(ge=0, le=1)]
_MONTHS: Final = 12


class AutoMask(Section):
    """Make `data.manifest` and its masks without a person, as `nubila auto-mask` does.

    Attributes:
        manifests: tables of images, whose mask may be empty; relative to the recipe.
        clouds: detectors of cloud and shadow, of which the mean is taken.
        split: label only rows of this split; the others are copied as they are.
        flips: over which turns of an image the detectors are averaged.
        least: what is less probable than this is ruled out.
        keep: images without a drawn label of which less than this share is certain are left out.
        indices: tell snow and water by index, thick cloud from thin by its brightness, and shadow
            by the sun's place; overrule detectors where what they call shadow is bright.
        cirrus: with indices, leave open whether ground that detectors call open is under thin cloud
            where the cirrus band shows some.
        snow_line: metres below which there is no snow, for all the year or for each of twelve
            months; without it, what the image itself tells.
        water: map of water in place of the water index; relative to the recipe.
    """

    name: Literal["auto_mask"]
    manifests: tuple[Path, ...] = Field(min_length=1)
    clouds: tuple[str, ...] = ()
    split: str | None = None
    flips: Flips = "none"
    least: float = Field(default=0.1, ge=0, le=0.5)
    keep: _Share = 0.0
    indices: bool = True
    cirrus: bool = True
    snow_line: tuple[float, ...] = ()
    water: Path | None = None

    @field_validator("snow_line", mode="before")
    @classmethod
    def _one_for_all(cls, value: Any) -> Any:  # noqa: ANN401 (whatever YAML holds)
        return (value,) if isinstance(value, int | float) else value

    @field_validator("snow_line")
    @classmethod
    def _one_or_by_month(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(value) not in (0, 1, _MONTHS):
            raise ValueError(f"expected one number of metres or {_MONTHS}, January's first")
        return value


class FoldStep(Section):
    """Deal the training split out to folds, as `nubila folds` does; other splits stay out.

    Attributes:
        count: of folds.
        by: columns to be even in; default those of location, year, month, hour and cloud cover
            that there are.
        together: columns whose values stay in one fold, in the pool too.
        pool: tables of images without a label, besides the rows of `data.manifest` whose mask is
            empty; relative to the recipe.
    """

    name: Literal["folds"]
    count: int = Field(default=5, ge=2)
    by: tuple[str, ...] | None = None
    together: tuple[str, ...] = ("group",)
    pool: tuple[Path, ...] = ()


class TrainFolds(Section):
    """Train a network a fold on all the others, and keep its prediction of its own fold."""

    name: Literal["train"]


class Audit(Section):
    """Rank the training split by how likely a label is wrong, by networks that have not seen it."""

    name: Literal["audit"]


class Drop(Section):
    """Take doubtful labels out, and train anew; their images go to the pool.

    Attributes:
        share: part of the training split that goes, the most doubtful first.
        flags: whatever has one of these flags of the audit goes too (`FLAGS`).
    """

    name: Literal["drop"]
    share: _Share = 0.1
    flags: tuple[Flag, ...] = ()

    @field_validator("flags", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:  # noqa: ANN401 (whatever YAML holds)
        for flag in value if isinstance(value, list | tuple) else ():
            if flag not in FLAGS:
                near = nearest(str(flag), FLAGS)
                raise ValueError(f"no flag {flag!r}{near} (known: {', '.join(FLAGS)})")
        return value


class PseudoLabel(Section):
    """Label the pool by the mean of the last networks where they are sure, and train anew.

    Attributes:
        low: a class below this probability is ruled out.
        high: a pixel is sure where one class is above this and the others are ruled out.
        keep: images of which more than this share is sure are trained on.
        unsure: pixels that are not sure have no label, the likeliest, or all that is not ruled out.
    """

    name: Literal["pseudo_label"]
    low: _Share = 0.1
    high: _Share = 0.9
    keep: _Share = 0.9
    unsure: Literal["ignore", "likeliest", "open"] = "ignore"

    @model_validator(mode="after")
    def _low_below_high(self) -> PseudoLabel:
        if self.low > self.high:
            raise ValueError(
                f"low {self.low:g} is above high {self.high:g}: what is not likely enough to stay "
                f"open would be sure"
            )
        return self


class Ensemble(Section):
    """Put the last networks into one ONNX file, which takes the place of `nubila export`'s."""

    name: Literal["ensemble"]


LabelStep = Annotated[
    AutoMask | FoldStep | TrainFolds | Audit | Drop | PseudoLabel | Ensemble,
    Field(discriminator="name"),
]

# What has to stand before a step, and what may not.
_AFTER: Final = {
    "train": "folds",
    "audit": "train",
    "drop": "audit",
    "pseudo_label": "train",
    "ensemble": "train",
}
_BEFORE: Final = {
    "auto_mask": {"folds"},
    "audit": {"pseudo_label"},
    "drop": {"pseudo_label"},
}
_MANY: Final = "pseudo_label"


class Labels(Section):
    """The steps, and by which flips every step is judged and the pool is labelled.

    Attributes:
        flips: over which turns of an image the networks' answers are averaged.
        steps: in order; a name alone stands for the step with its defaults.
    """

    flips: Flips = "none"
    steps: tuple[LabelStep, ...] = ()

    @field_validator("steps", mode="before")
    @classmethod
    def _names_alone(cls, steps: Any) -> Any:  # noqa: ANN401 (whatever YAML holds)
        if not isinstance(steps, list | tuple):
            return steps
        return [{"name": step} if isinstance(step, str) else step for step in steps]

    @model_validator(mode="after")
    def _in_order(self) -> Labels:
        names: list[str] = [step.name for step in self.steps]
        for place, name in enumerate(names):
            before, after = names[:place], names[place + 1 :]
            if name in before and name != _MANY:
                raise ValueError(f"the step {name!r} stands twice")
            if (needed := _AFTER.get(name)) is not None and needed not in before:
                raise ValueError(f"the step {name!r} needs {needed!r} before it")
            if wrong := sorted(_BEFORE.get(name, set()) & {*before}):
                raise ValueError(f"the step {name!r} has to stand before {wrong[0]!r}")
            if name == "ensemble" and after:
                raise ValueError("the step 'ensemble' is the last one")
        return self

    @property
    def makes_model(self) -> bool:
        """Whether the steps end with a model, so that none has to be trained after them."""
        return bool(self.steps) and self.steps[-1].name == "ensemble"
