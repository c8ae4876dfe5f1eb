"""A whole training run as one validated document; PyTorch is not imported to check it."""

from __future__ import annotations

from typing import Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from nubila.classes import CLASS_NAMES
from nubila.errors import nearest
from nubila.recipe.augment import Augment
from nubila.recipe.data import Data, Synth, Tiling
from nubila.recipe.export import Export
from nubila.recipe.finetune import FineTune
from nubila.recipe.labels import Labels
from nubila.recipe.loss import CrossEntropy, LossTerm
from nubila.recipe.model import Compact, Model
from nubila.recipe.normalise import Normalise, Reflectance
from nubila.recipe.optim import AdamW, Optimiser
from nubila.recipe.section import Section, known_band
from nubila.recipe.stages import Evaluation, Masking
from nubila.recipe.track import Track
from nubila.recipe.views import Views

__all__ = ["Recipe"]


def _every_class() -> dict[str, tuple[str, ...]]:
    return {name: (name,) for name in CLASS_NAMES.values()}


class Recipe(Section):
    """A training run.

    Attributes:
        seed: of weights, chips and order.
        steps: optimiser steps, the whole budget of the run.
        epochs, steps_per_epoch: in place of `steps`, which is their product; `validate_every` is
            then an epoch where it is not given.
        batch: chips a step, over all devices and passes (`optim.accumulate`) together.
        chip: rows and columns of a chip, a multiple of 16.
        bands: what the network takes, in this order; further names of `bands.BANDS`, and
            ``elevation`` (kilometres), where samples have it.
        required: bands without which an image cannot be used; the others may be absent.
        classes: what the network tells apart, in this order: name -> the classes that count as it.
            Pixels whose label allows none of them are ignored.
        precision: ``32-true``, ``bf16-mixed`` where the processor has bfloat16, or ``16-mixed``
            on a GPU.
        compile: let ``torch.compile`` make the network faster, after minutes of preparation.
        devices: GPUs, or processes on a CPU, of each node; a step's chips are dealt out to them.
        nodes: machines.
        threads: PyTorch threads.
        workers: processes that cut chips; the numbers do not depend on it.
        class_weights: weight of a pixel by its class, the least where its label allows several;
            a class that is not named gets 1.
        validate_every: steps between validations.
        monitor: what tells the best checkpoint: ``cloud_iou``, ``mean_iou`` over the classes, or
            the ``loss`` on the validation split.
        patience: validations without a better one after which the run ends; 0 = never.
        checkpoint_minutes: time between checkpoints of the whole state.
    """

    seed: int = Field(default=0, ge=0)
    steps: int = Field(gt=0)
    epochs: int | None = Field(default=None, gt=0)
    steps_per_epoch: int | None = Field(default=None, gt=0)
    batch: int = Field(default=12, gt=0)
    chip: int = Field(default=256, ge=32, le=2048, multiple_of=16)
    bands: tuple[str, ...] = ("blue", "green", "red", "nir", "swir16", "swir22", "cirrus")
    required: tuple[str, ...] = ("blue", "green", "red")
    classes: dict[str, tuple[str, ...]] = Field(default_factory=_every_class)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    compile: bool = False
    devices: int = Field(default=1, ge=1)
    nodes: int = Field(default=1, ge=1)
    threads: int = Field(default=1, ge=1)
    workers: int = Field(default=1, ge=0)
    class_weights: dict[str, float] = {}
    validate_every: int = Field(default=500, gt=0)
    monitor: Literal["cloud_iou", "mean_iou", "loss"] = "cloud_iou"
    patience: int = Field(default=0, ge=0)
    checkpoint_minutes: float = Field(default=3.0, gt=0)
    data: Data
    labels: Labels = Labels()
    synth: Synth = Synth()
    views: Views = Views()
    augment: Augment = Augment()
    tiling: Tiling = Tiling()
    normalise: Normalise = Reflectance()
    model: Model = Compact()
    loss: tuple[LossTerm, ...] = (CrossEntropy(),)
    optim: Optimiser = AdamW()
    finetune: FineTune = FineTune()
    track: Track = Track()
    export: Export = Export()
    evaluation: Evaluation = Evaluation()
    mask: Masking = Masking()

    @model_validator(mode="before")
    @classmethod
    def _steps_of_epochs(cls, values: Any) -> Any:  # noqa: ANN401 (whatever YAML holds)
        if not isinstance(values, dict):
            return values
        epochs, each = values.get("epochs"), values.get("steps_per_epoch")
        if (epochs is None) != (each is None):
            raise ValueError("epochs and steps_per_epoch go together")
        if isinstance(epochs, int) and isinstance(each, int):
            return {"steps": epochs * each, "validate_every": each} | values
        return values

    @model_validator(mode="after")
    def _shares_fit(self) -> Recipe:
        if self.synth.share + self.views.share > 1:
            raise ValueError(
                f"synth.share {self.synth.share} and views.share {self.views.share} are parts of "
                f"the same chips; expected a sum up to 1"
            )
        return self

    @field_validator("class_weights")
    @classmethod
    def _classes_known(cls, weights: dict[str, float]) -> dict[str, float]:
        for name in weights:
            if name not in CLASS_NAMES.values():
                raise ValueError(f"no class {name!r}{nearest(name, CLASS_NAMES.values())}")
        return weights

    @model_validator(mode="after")
    def _weighted_classes_told(self) -> Recipe:
        for what, names in (
            ("class_weights", self.class_weights),
            ("export.biases", self.export.biases),
        ):
            for name in names:
                if name not in self.classes:
                    raise ValueError(
                        f"{what}: {name!r} is no class of this network"
                        f"{nearest(name, self.classes)} (it has: {', '.join(self.classes)})"
                    )
        return self

    @field_validator("bands", "required")
    @classmethod
    def _bands_known(cls, bands: tuple[str, ...]) -> tuple[str, ...]:
        known = tuple(known_band(name) for name in bands)
        if len(set(known)) < len(known):
            raise ValueError("a band stands twice")
        return known

    @field_validator("classes")
    @classmethod
    def _classes_apart(cls, classes: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        members = [member for among in classes.values() for member in among]
        for name in (*classes, *members):
            if name not in CLASS_NAMES.values():
                raise ValueError(f"no class {name!r}{nearest(name, CLASS_NAMES.values())}")
        if len(set(members)) < len(members):
            raise ValueError("a class counts as two")
        if len(classes) < 2 or not all(classes.values()):
            raise ValueError("expected at least two classes, each of at least one")
        return classes

    @field_validator("model", mode="before")
    @classmethod
    def _compact_by_default(cls, model: Any) -> Any:  # noqa: ANN401 (whatever YAML holds)
        return {"name": "compact"} | model if isinstance(model, dict) else model

    @field_validator("optim", mode="before")
    @classmethod
    def _adamw_by_default(cls, optim: Any) -> Any:  # noqa: ANN401 (whatever YAML holds)
        return {"name": "adamw"} | optim if isinstance(optim, dict) else optim

    @field_validator("normalise", mode="before")
    @classmethod
    def _name_alone(cls, normalise: Any) -> Any:  # noqa: ANN401 (whatever YAML holds)
        return {"name": normalise} if isinstance(normalise, str) else normalise

    @field_validator("loss", mode="before")
    @classmethod
    def _one_or_many(cls, loss: Any) -> Any:  # noqa: ANN401 (whatever YAML holds)
        """Take `dice`, `{name: dice}` and a list of either."""
        terms = loss if isinstance(loss, list | tuple) else [loss]
        return [{"name": term} if isinstance(term, str) else term for term in terms]

    @model_validator(mode="after")
    def _required_is_there(self) -> Recipe:
        absent = [name for name in self.required if name not in self.bands]
        if absent:
            raise ValueError(f"band {absent[0]!r} is required but not among bands")
        return self

    @model_validator(mode="after")
    def _masks_have_a_manifest(self) -> Recipe:
        if self.data.manifest is None and any(s.name == "auto_mask" for s in self.labels.steps):
            raise ValueError("labels: auto_mask writes data.manifest, which is not named")
        return self

    @model_validator(mode="after")
    def _budget_adds_up(self) -> Recipe:
        if self.epochs and self.steps_per_epoch:
            whole = self.epochs * self.steps_per_epoch
            if self.steps != whole:
                raise ValueError(
                    f"steps is {self.steps}, but epochs x steps_per_epoch is {whole}; give one"
                )
        parts = self.optim.accumulate * self.devices * self.nodes
        if self.batch % parts:
            raise ValueError(
                f"batch {self.batch} cannot be dealt out evenly: optim.accumulate x devices x "
                f"nodes is {parts}"
            )
        return self

    @model_validator(mode="after")
    def _monitored_is_there(self) -> Recipe:
        cloud = {"cloud", "thin cloud"}
        if self.monitor == "cloud_iou" and not any(
            set(members) <= cloud for members in self.classes.values()
        ):
            raise ValueError("no class is of cloud alone, so monitor cannot be cloud_iou")
        return self

    def to_yaml(self) -> str:
        """Return the recipe with every default written out, as `load_recipe` reads it."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
