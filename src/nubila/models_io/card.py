"""The card of a model: what an ONNX file says of itself, in its own metadata.

The card is one JSON document under the metadata key ``nubila.card``. The graph has one output,
named by the card's `output`, and one input, or two where a normalisation looks at whole scenes::

    reflectance    float32 (N, B, H, W)  bands in the card's order, 1.0 = 100 %; NaN where a pixel
                                         has no data, and all over a band that is not there
    statistics     float32 (N, S, B)     of the whole scene, in the card's order of `statistics`

    probabilities  float32 (N, C, H, W)  classes in the card's order, summing to 1
    logits         float32 (N, C, H, W)  calibrated; their softmax is the probabilities
    classes        uint8   (N, H, W)     nubila's class codes, the most probable ones
    mask           uint8   (N, H, W)     1 cloud, 0 anything else

H and W are multiples of the card's stride, or just its `tile`; N may be fixed by the graph.
Scaling, softmax and calibration are inside the graph, so any ONNX runtime gives the same answer.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nubila.bands import band_name
from nubila.classes import DecisionRule, class_code, class_set

__all__ = [
    "CARD_KEY",
    "BandUse",
    "CalibrationError",
    "ModelCard",
    "OperatingPoint",
    "TrainingSource",
]

CARD_KEY: Final = "nubila.card"

# The latest layout. Format 2 added `stands_for`, `tile`, `statistics`, `output`; then, before any
# release, `calibration_error`, more than thresholds in a point, and `without` of a band.
_FORMAT: Final = 2


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BandUse(_Frozen):
    """A band that the model takes; an optional one may be absent, as it was in training.

    Attributes:
        name: common name.
        required: whether the model needs it.
        without: for people: what a mask suffers where it is absent; empty where that is nothing
            worth telling, or not known.
    """

    name: str
    required: bool
    without: str = ""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return band_name(name)


class TrainingSource(_Frozen):
    """A data source that the weights were trained on."""

    name: str
    licence: str
    images: int
    url: str = ""


class OperatingPoint(_Frozen):
    """How probabilities become classes: a choice between missed clouds and false alarms.

    Of older cards, where a point was class -> least probability, the thresholds are taken.

    Attributes:
        thresholds: class -> least probability to be called so, 0 to 1; it is then called so in
            place of any class without a threshold, however probable. A class that is absent has
            none. Empty = the most probable class. See `nubila.infer.decide.decide`.
        min_area: square metres; smaller objects of one class are filled by what is around them.
        dilate: metres by which cloud, thin cloud and cloud shadow then grow.
        about: for people: what it is for, and what it was tuned on.
    """

    thresholds: dict[str, float] = {}
    min_area: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    dilate: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    about: str = ""

    @model_validator(mode="before")
    @classmethod
    def _thresholds_alone(cls, values: Any) -> Any:  # noqa: ANN401 (whatever JSON holds)
        if isinstance(values, dict) and not set(values) & set(cls.model_fields):
            return {"thresholds": values}
        return values


class CalibrationError(_Frozen):
    """How far probabilities are from how often they are right, on labelled pixels of one split.

    The expected calibration error of each scored class (`nubila.datasets.reliability`), 0 to 1.

    Attributes:
        split: name of the split that it was measured on.
        ece: scored class -> error of the probabilities that the graph gives.
        before: the same without calibration; empty where that is not known.
    """

    split: str
    ece: dict[str, float]
    before: dict[str, float] = {}


class ModelCard(_Frozen):
    """Everything nubila needs to run a model, and a person to judge it.

    Attributes:
        format: version of this card's layout.
        name: short name, as ``nubila models`` lists it.
        version: of the weights.
        summary: a sentence for people.
        bands: in the order of the graph's input.
        classes: class names in the order of the graph's output.
        stands_for: output -> nubila's classes that count as it, where the model merges some: with
            ``clear: [clear, snow, water]`` it is right to call snow clear. An output that is
            absent stands for itself.
        resolution: smallest and largest ground resolution in metres it was trained on.
        receptive_field: pixels to each side that an output pixel can depend on, at most, counted
            from the edge of its cell of `stride` pixels; tiles, which consist of whole cells, are
            read with a halo of at least this. None where it depends on all that the network sees.
        stride: input heights and widths are multiples of this, and so are tile corners.
        tile: the height and width that the network must see, None where any will do.
        statistics: of each band over the whole scene, by the names of
            `nubila.scenes.statistics`: what the graph's second input takes.
        output: what the graph gives.
        decision: how a class follows from probabilities: the most probable ``class``, or first the
            most probable ``kind`` of `nubila.classes.KINDS` by the sum of its classes, then the
            most probable class of that kind; whoever decides without nubila has to do the same.
        calibration: how probabilities were calibrated, or "none".
        calibration_error: what calibration left, and on which split; None = not measured.
        operating_points: name -> thresholds and post-processing; such as conservative (few missed
            clouds), balanced and permissive (few false alarms), as ``nubila tune`` writes them.
            Used only where asked for by name.
        measured: classes whose scores, where there are some, rest on labels made by people; the
            others are implied by synthetic scenes only.
        scores: split -> folder -> figures, as ``nubila evaluate`` writes them.
        parameters: number of weights.
        flops_per_pixel: floating-point operations (2 x multiply-adds) an input pixel.
    """

    format: Literal[1, 2] = _FORMAT
    name: str
    version: str
    summary: str
    bands: tuple[BandUse, ...] = Field(min_length=1)
    classes: tuple[str, ...] = Field(min_length=2)
    stands_for: dict[str, tuple[str, ...]] = {}
    resolution: tuple[float, float]
    receptive_field: int | None = Field(ge=0)
    stride: int = Field(ge=1)
    tile: int | None = Field(default=None, ge=1)
    statistics: tuple[str, ...] = ()
    output: Literal["probabilities", "logits", "classes", "mask"] = "probabilities"
    decision: DecisionRule = "class"
    calibration: str = "none"
    calibration_error: CalibrationError | None = None
    operating_points: dict[str, OperatingPoint] = {}
    training: tuple[TrainingSource, ...] = ()
    recipe: str = ""
    seed: int = 0
    measured: tuple[str, ...] = ()
    scores: dict[str, Any] = {}
    limits: tuple[str, ...] = ()
    licence: str = ""
    parameters: int = 0
    flops_per_pixel: float = 0.0

    @field_validator("classes")
    @classmethod
    def _codes(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        for name in classes:
            class_code(name)
        return classes

    @model_validator(mode="before")
    @classmethod
    def _known_layout(cls, values: Any) -> Any:  # noqa: ANN401 (whatever JSON holds)
        """Refuse later layouts before their other fields look wrong."""
        found = values.get("format", 1) if isinstance(values, dict) else 1
        if isinstance(found, int) and found > _FORMAT:
            raise ValueError(
                f"its layout is format {found}, and this nubila reads up to {_FORMAT}: a newer "
                f"nubila is needed"
            )
        return values

    @model_validator(mode="after")
    def _holds_together(self) -> ModelCard:
        for what, names in (("bands", [b.name for b in self.bands]), ("classes", self.class_codes)):
            if len(set(names)) < len(names):
                raise ValueError(f"the {what} name one twice")
        self._check_tile()
        low, high = self.resolution
        if not 0 < low <= high:
            raise ValueError(f"resolution must be the smallest and the largest, got {low}, {high}")
        for output, members in self.stands_for.items():
            if output not in self.classes or not class_set(members):
                raise ValueError(
                    f"stands_for: {output!r} = {list(members)}; expected one of the classes "
                    f"{', '.join(self.classes)}, and at least one that counts as it"
                )
        self._check_points()
        return self

    def _check_points(self) -> None:
        for point, values in self.operating_points.items():
            for name, value in values.thresholds.items():
                if class_code(name) not in self.class_codes or not 0 <= value <= 1:
                    raise ValueError(f"operating point {point!r}: {name!r} = {value}")
            if len(values.thresholds) >= len(self.classes):
                raise ValueError(
                    f"operating point {point!r}: every class has a threshold, and none is left for "
                    f"the other pixels"
                )

    def _check_tile(self) -> None:
        if self.tile is None and self.receptive_field is None:
            raise ValueError("without a receptive_field, tile must say what the network sees")
        if self.tile is not None and self.tile % self.stride:
            raise ValueError(f"tile {self.tile} is no whole number of cells of {self.stride}")

    @property
    def class_codes(self) -> tuple[int, ...]:
        """Class codes in the order of the graph's output."""
        return tuple(class_code(name) for name in self.classes)

    @property
    def class_sets(self) -> tuple[int, ...]:
        """Set of nubila's classes (bits as in `classes.class_set`) that each output stands for."""
        return tuple(class_set(self.stands_for.get(name, (name,))) for name in self.classes)

    @property
    def required_bands(self) -> tuple[str, ...]:
        """Bands without which the model does not run."""
        return tuple(b.name for b in self.bands if b.required)

    @property
    def halo(self) -> int:
        """The margin that tiles need: the receptive field in whole strides.

        Of a fixed tile it is a quarter at most: where the network sees further, its answer is that
        of the tile, and half of the tile's side (its middle) is kept.
        """
        quarter = None if self.tile is None else self.tile // 4
        if self.receptive_field is None:
            assert quarter is not None  # held by _check_tile
            return quarter
        whole = -(-self.receptive_field // self.stride) * self.stride
        return whole if quarter is None else min(whole, quarter)
