"""A whole training run as one validated YAML file.

A wrong key or value is an error that names it, its line and the nearest valid one; PyTorch is
not imported to find it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from nubila.classes import CLASS_NAMES
from nubila.errors import RecipeError, nearest

__all__ = ["Augment", "Data", "Export", "Model", "Optimiser", "Recipe", "Synth", "load_recipe"]


class _Section(BaseModel):
    # allow_inf_nan: a NaN in a recipe would pass every range check and surface hours later.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Data(_Section):
    """Labelled samples.

    Attributes:
        manifest: CSV of samples; relative to the recipe.
        root: folder that the manifest's paths are relative to; relative to the recipe.
        train, validation: names of the splits.
        weights: how often an image of a folder (first part of its path) is drawn, relative to
            the others; a folder that is not named gets 1.
    """

    manifest: Path
    root: Path
    train: str = "train"
    validation: str = "validation"
    weights: dict[str, float] = {}

    @model_validator(mode="after")
    def _not_negative(self) -> Data:
        for folder, weight in self.weights.items():
            if weight < 0:
                raise ValueError(f"weight {weight} of {folder!r} is negative")
        return self


class Synth(_Section):
    """Synthetic chips, made once and kept.

    Attributes:
        chips: how many are made; 0 for none.
        share: part of the training chips that is synthetic.
        cache: folder where they are kept; relative to the recipe.
    """

    chips: int = Field(default=0, ge=0)
    share: float = Field(default=0.0, ge=0, le=1)
    cache: Path = Path("../runs/synth")

    @model_validator(mode="after")
    def _chips_to_share(self) -> Synth:
        if self.share > 0 and self.chips == 0:
            raise ValueError(f"share is {self.share} but chips is 0")
        return self


class Augment(_Section):
    """How chips are varied; chances are between 0 and 1, spreads are standard deviations.

    Attributes:
        zoom: a chip covers up to this many times its size, or as many times less.
        full_bands: chance that all bands of a sample stay; else some optional ones are dropped.
        gain: relative brightness, all bands together.
        band_gain: relative brightness, each band.
        band_offset: reflectance, each band.
        haze: chance of an even haze.
        saturate: chance that values above 0.4 are cut, as in 8-bit quick-looks.
        noise: greatest noise in reflectance.
        tear: chance of an edge without data.
    """

    zoom: float = Field(default=1.5, ge=1, le=4)
    full_bands: float = Field(default=0.4, ge=0, le=1)
    gain: float = Field(default=0.08, ge=0, le=1)
    band_gain: float = Field(default=0.03, ge=0, le=1)
    band_offset: float = Field(default=0.006, ge=0, le=0.1)
    haze: float = Field(default=0.15, ge=0, le=1)
    saturate: float = Field(default=0.15, ge=0, le=1)
    noise: float = Field(default=0.008, ge=0, le=0.1)
    tear: float = Field(default=0.1, ge=0, le=1)


class Model(_Section):
    """The network. `widths` are channels at strides 2, 4, 8 and so on."""

    widths: tuple[int, ...] = Field(default=(16, 48, 112, 192), min_length=2, max_length=5)

    @model_validator(mode="after")
    def _blocked(self) -> Model:
        for width in self.widths:
            if width < 8 or width % 8:
                raise ValueError(f"width {width} is not a positive multiple of 8")
        return self


class Optimiser(_Section):
    """AdamW with a linear warm-up and a cosine decay to zero.

    Attributes:
        lr: highest learning rate.
        weight_decay: decoupled weight decay.
        warmup: part of the steps over which the rate rises.
        clip: greatest norm of the gradient.
        ema: decay of the exponential moving average of the weights; the average is shipped.
    """

    lr: float = Field(default=3e-3, gt=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0, le=1)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    clip: float = Field(default=1.0, gt=0)
    ema: float = Field(default=0.998, ge=0, lt=1)


class Export(_Section):
    """What the exported model says of itself.

    Attributes:
        biases: class name -> what is added to its calibrated logit: the logarithm of how much rarer
            the class is on Earth than in the training mixture.
    """

    name: str = Field(default="compact", pattern=r"^[a-z0-9][a-z0-9-]*$")
    version: str = "1"
    summary: str = ""
    licence: str = "Apache-2.0"
    resolution: tuple[float, float] = (10.0, 60.0)
    limits: tuple[str, ...] = ()
    licences: dict[str, str] = {}
    biases: dict[
        Literal["clear", "cloud", "thin cloud", "cloud shadow", "snow", "water"], float
    ] = {}


class Recipe(_Section):
    """A training run.

    Attributes:
        seed: of weights, chips and order.
        steps: optimiser steps, the whole budget of the run.
        batch: chips a step.
        chip: rows and columns of a chip, a multiple of 16.
        precision: ``32-true``, or ``bf16-mixed`` where the processor has bfloat16.
        threads: PyTorch threads.
        workers: processes that cut chips; the numbers do not depend on it.
        class_weights: weight of a pixel by its class, the least where its label allows several;
            a class that is not named gets 1.
        validate_every: steps between validations.
        checkpoint_minutes: time between checkpoints of the whole state.
    """

    seed: int = Field(default=0, ge=0)
    steps: int = Field(gt=0)
    batch: int = Field(default=12, gt=0)
    chip: int = Field(default=256, ge=32, le=2048, multiple_of=16)
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    threads: int = Field(default=1, ge=1)
    workers: int = Field(default=1, ge=0)
    class_weights: dict[str, float] = {}
    validate_every: int = Field(default=500, gt=0)
    checkpoint_minutes: float = Field(default=3.0, gt=0)
    data: Data
    synth: Synth = Synth()
    augment: Augment = Augment()
    model: Model = Model()
    optim: Optimiser = Optimiser()
    export: Export = Export()

    @field_validator("class_weights")
    @classmethod
    def _classes_known(cls, weights: dict[str, float]) -> dict[str, float]:
        for name in weights:
            if name not in CLASS_NAMES.values():
                raise ValueError(f"no class {name!r}{nearest(name, CLASS_NAMES.values())}")
        return weights

    def to_yaml(self) -> str:
        """Return the recipe with every default written out, as `load_recipe` reads it."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe; paths in it, relative to its folder, come out absolute.

    Args:
        path: YAML file.
        overrides: ``key.subkey=value`` each, the value in YAML.

    Raises:
        RecipeError: no such file, no YAML, or a wrong key or value, with its line.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{file}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{file}: no valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{file}: expected keys and values, found {type(values).__name__}")
    _check_repeats(file, node)
    given = {_override(file, values, text) for text in overrides}
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(_explain(file, node, given, error)) from error
    return _placed(recipe, file.parent)


def _placed(recipe: Recipe, folder: Path) -> Recipe:
    """Return the recipe with its paths taken from the folder that it lies in."""
    data = recipe.data.model_copy(
        update={
            "manifest": (folder / recipe.data.manifest).resolve(),
            "root": (folder / recipe.data.root).resolve(),
        }
    )
    synth = recipe.synth.model_copy(update={"cache": (folder / recipe.synth.cache).resolve()})
    return recipe.model_copy(update={"data": data, "synth": synth})


def _override(file: Path, values: dict[str, Any], text: str) -> tuple[str, ...]:
    """Set one value in place and return its key."""
    key, sign, value = text.partition("=")
    names = tuple(name.strip() for name in key.split("."))
    if not sign or not all(names):
        raise RecipeError(f"--set {text!r}: expected key=value, such as optim.lr=1e-4")
    target = values
    for name in names[:-1]:
        target = target.setdefault(name, {})
        if not isinstance(target, dict):
            raise RecipeError(f"--set {text!r}: {name!r} in {file} is a value, not a section")
    try:
        target[names[-1]] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {text!r}: the value is no valid YAML") from error
    return names


def _check_repeats(file: Path, node: yaml.Node | None) -> None:
    """Raise for a key that stands twice, of which YAML would keep the last without a word."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.value in seen:
            raise RecipeError(
                f"{file}: line {line}: {key.value!r} stands on line {seen[key.value]} already"
            )
        seen[key.value] = line
        _check_repeats(file, value)


def _explain(
    file: Path, node: yaml.Node | None, given: set[tuple[str, ...]], error: ValidationError
) -> str:
    """Return one line of text for each thing that is wrong."""
    lines = []
    for problem in error.errors(include_url=False):
        path = tuple(str(part) for part in problem["loc"])
        from_set = any(path[: len(key)] == key for key in given)
        where = "--set" if from_set else f"line {_line(node, path)}"
        key = ".".join(path) or "recipe"
        if problem["type"] == "extra_forbidden":
            choices = _keys(path[:-1])
            text = f"unknown key {key!r}{nearest(path[-1], choices)} (known: {', '.join(choices)})"
        elif problem["type"] == "missing":
            text = f"key {key!r} is missing"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            message = message[0].lower() + message[1:]
            value = problem["input"]
            found = "" if isinstance(value, Mapping | BaseModel) else f", found {value!r}"
            text = f"{key}: {message}{found}"
        lines.append(f"{file}: {where}: {text}")
    return "\n".join(lines)


def _line(node: yaml.Node | None, path: Sequence[str]) -> int:
    """Return the line of the deepest part of a key path that the file has."""
    line = 1
    for part in path:
        if isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            line = node.start_mark.line + 1
            continue
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == part), None)
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def _keys(path: Sequence[str]) -> list[str]:
    """Return the keys that a section knows."""
    section: type[BaseModel] = Recipe
    for part in path:
        inner = section.model_fields[part].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        section = inner
    return list(section.model_fields)
