"""An ensemble as one ONNX file with a card, usable wherever a model is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper, version_converter

from nubila.curate.combination import LEAST, Combination
from nubila.errors import InputError, NubilaError
from nubila.export.card import write_item
from nubila.export.graph import write_card
from nubila.models_io import BandUse, Model, ModelCard, TrainingSource, load_model
from nubila.raster.atomic import atomic_path, make_folder

__all__ = ["write_ensemble"]

# By which the file may differ from its members run one by one and combined here.
_TOLERANCE: Final = 1e-5


def write_ensemble(
    members: Sequence[Model], combination: Combination, path: Path, *, name: str
) -> Path:
    """Write members and their combination as one graph, and hold it to the members.

    Members may take different bands or statistics: the graph takes all of them, and hands each
    member its own. One whose card lists no such band takes no notice of it.

    Args:
        members: that tell the same classes apart.
        combination: weights in the order of the members and of the first one's classes.
        path: the file to write; its STAC item goes beside it.
        name: of the ensemble.

    Raises:
        InputError: the members do not fit together.
        NubilaError: the file gives something else than the members.
    """
    plan = _Plan.of(members)
    card = _card(plan, combination, name)
    make_folder(path.parent)
    with atomic_path(path) as temporary:
        write_card(_graph(plan, combination, card), card, temporary)
        _check(load_model(temporary), plan, combination)
    write_item(card, path, datetime.now(UTC), "ensemble", plan.batch)
    return path


@dataclass(frozen=True)
class _Plan:
    """What the members have in common.

    Attributes:
        members: as given.
        bands, statistics: of all of them, in the order in which they first come.
        batch, tile: of the graph; None = any.
    """

    members: tuple[Model, ...]
    bands: tuple[str, ...]
    statistics: tuple[str, ...]
    batch: int | None
    tile: int | None

    @classmethod
    def of(cls, members: Sequence[Model]) -> _Plan:
        cards = [member.card for member in members]
        if len(cards) < 2:
            raise InputError(f"an ensemble has two members at least, got {len(cards)}")
        for member in members:
            if member.card.output in ("classes", "mask"):
                raise InputError(
                    f"{member.path}: gives {member.card.output}, of which there is no mean; export "
                    f"it with --output probabilities"
                )
            if _meaning(member.card) != _meaning(cards[0]):
                raise InputError(
                    f"{members[0].path} and {member.path} tell different classes apart: "
                    f"{', '.join(cards[0].classes)} and {', '.join(member.card.classes)}"
                )
        return cls(
            members=tuple(members),
            bands=tuple(dict.fromkeys(band.name for card in cards for band in card.bands)),
            statistics=tuple(dict.fromkeys(name for card in cards for name in card.statistics)),
            batch=_one("batch", [member.batch for member in members]),
            tile=_one("tile", [card.tile for card in cards]),
        )

    @property
    def stride(self) -> int:
        """The least that every member's stride divides."""
        return math.lcm(*(member.card.stride for member in self.members))


def _meaning(card: ModelCard) -> dict[int, int]:
    return dict(zip(card.class_codes, card.class_sets, strict=True))


def _one(what: str, values: Sequence[int | None]) -> int | None:
    fixed = sorted({value for value in values if value is not None})
    if len(fixed) > 1:
        raise InputError(f"members have a fixed {what} of {' and '.join(map(str, fixed))}")
    return fixed[0] if fixed else None


def _card(plan: _Plan, combination: Combination, name: str) -> ModelCard:
    cards = [member.card for member in plan.members]
    fields = [card.receptive_field for card in cards]
    if plan.tile is not None and plan.tile % plan.stride:
        raise InputError(
            f"a member sees just {plan.tile} pixels, no multiple of {plan.stride}, the stride that "
            f"suits all members"
        )
    required = {band for card in cards for band in card.required_bands}
    return ModelCard(
        name=name,
        version="1",
        summary=f"Ensemble of {', '.join(f'{card.name} {card.version}' for card in cards)}.",
        bands=tuple(_band(band, band in required, cards) for band in plan.bands),
        classes=cards[0].classes,
        stands_for=cards[0].stands_for,
        resolution=_resolution(cards),
        receptive_field=None if None in fields else max(f for f in fields if f is not None),
        stride=plan.stride,
        tile=plan.tile,
        statistics=plan.statistics,
        decision="kind" if any(card.decision == "kind" for card in cards) else "class",
        calibration="that of the members",
        training=_training(cards),
        recipe=_recipe(plan, combination),
        measured=tuple(n for n in cards[0].measured if all(n in card.measured for card in cards)),
        limits=tuple(dict.fromkeys(limit for card in cards for limit in card.limits)),
        licence=_licence(cards),
        parameters=sum(card.parameters for card in cards),
        flops_per_pixel=sum(card.flops_per_pixel for card in cards),
    )


def _licence(cards: Sequence[ModelCard]) -> str:
    """Return the licences of all members; empty where one's owner has not said."""
    told = [card.licence for card in cards]
    return " AND ".join(dict.fromkeys(told)) if all(told) else ""


def _band(name: str, required: bool, cards: Sequence[ModelCard]) -> BandUse:
    """Return a band with what its absence does to any member; nothing where all need it."""
    told = [use.without for card in cards for use in card.bands if use.name == name]
    without = "" if required else "; ".join(dict.fromkeys(filter(None, told)))
    return BandUse(name=name, required=required, without=without)


def _resolution(cards: Sequence[ModelCard]) -> tuple[float, float]:
    """Return what all members were trained on; where there is no such, what any was."""
    low, high = max(card.resolution[0] for card in cards), min(card.resolution[1] for card in cards)
    if low <= high:
        return low, high
    return min(card.resolution[0] for card in cards), max(card.resolution[1] for card in cards)


def _training(cards: Sequence[ModelCard]) -> tuple[TrainingSource, ...]:
    """Return every source of a member; of one that several name, the larger."""
    found: dict[str, TrainingSource] = {}
    for source in (source for card in cards for source in card.training):
        if source.name not in found or found[source.name].images < source.images:
            found[source.name] = source
    return tuple(found[name] for name in sorted(found))


def _recipe(plan: _Plan, combination: Combination) -> str:
    """Return the members and their weights as YAML."""
    members = [
        {
            "name": member.card.name,
            "version": member.card.version,
            "sha256": member.sha256,
            "weights": {
                name: round(float(weight), 6)
                for name, weight in zip(plan.members[0].card.classes, weights, strict=True)
            },
        }
        for member, weights in zip(plan.members, combination.weights, strict=True)
    ]
    content = {"ensemble": {"members": members, "scaled": combination.scaled}}
    return yaml.safe_dump(content, sort_keys=False)


def _graph(plan: _Plan, combination: Combination, card: ModelCard) -> Any:  # noqa: ANN401 (untyped)
    models = _same_operators([onnx.load(member.path) for member in plan.members])
    nodes: list[Any] = []
    tensors: list[Any] = []
    functions: list[Any] = []
    weighted = []
    for number, (member, model) in enumerate(zip(plan.members, models, strict=True)):
        prefix = f"member{number}_"
        own = compose.add_prefix(model, prefix)
        nodes += _inputs(plan, member.card, prefix, tensors)
        nodes += own.graph.node
        tensors += own.graph.initializer
        functions += own.functions
        last = f"{prefix}{member.card.output}"
        if member.card.output == "logits":
            nodes.append(helper.make_node("Softmax", [last], [f"{last}_softmax"], axis=1))
            last += "_softmax"
        codes = member.card.class_codes
        places = [codes.index(code) for code in card.class_codes]
        last = _gathered(last, places, 1, len(codes), nodes, tensors)
        weights = combination.weights[number].astype(np.float32)[None, :, None, None]
        tensors.append(numpy_helper.from_array(weights, f"{prefix}weights"))
        nodes.append(helper.make_node("Mul", [last, f"{prefix}weights"], [f"{prefix}weighted"]))
        weighted.append(f"{prefix}weighted")
    nodes += _combined(weighted, combination.scaled, tensors)
    graph = helper.make_graph(nodes, "ensemble", *_ports(plan, card), tensors)
    opsets: dict[str, int] = {}
    for model in models:
        opsets |= {entry.domain: entry.version for entry in model.opset_import}
    found = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(*item) for item in sorted(opsets.items())],
        ir_version=max(model.ir_version for model in models),
        functions=functions,
    )
    onnx.checker.check_model(found)
    return found


def _same_operators(models: Sequence[Any]) -> list[Any]:
    """Bring models to the latest version of ONNX's own operators among them."""
    versions = [{entry.domain: entry.version for entry in m.opset_import} for m in models]
    latest = max(version.get("", 1) for version in versions)
    found = []
    for model, version in zip(models, versions, strict=True):
        try:
            same = version.get("", 1) == latest
            found.append(model if same else version_converter.convert_version(model, latest))
        except Exception as error:  # the converter raises its own C++ classes
            raise InputError(
                f"a member's operators are of version {version.get('')}, another's of {latest}, "
                f"and they cannot be brought to it: {error}"
            ) from error
    return found


def _inputs(plan: _Plan, card: ModelCard, prefix: str, tensors: list[Any]) -> list[Any]:
    """Return the nodes that give a member its own bands and statistics."""
    nodes: list[Any] = []
    bands = [plan.bands.index(band.name) for band in card.bands]
    last = _gathered("reflectance", bands, 1, len(plan.bands), nodes, tensors, prefix)
    nodes.append(helper.make_node("Identity", [last], [f"{prefix}reflectance"]))
    if card.statistics:
        rows = [plan.statistics.index(name) for name in card.statistics]
        last = _gathered("statistics", rows, 1, len(plan.statistics), nodes, tensors, prefix)
        last = _gathered(last, bands, 2, len(plan.bands), nodes, tensors, prefix)
        nodes.append(helper.make_node("Identity", [last], [f"{prefix}statistics"]))
    return nodes


def _gathered(
    source: str,
    places: Sequence[int],
    axis: int,
    length: int,
    nodes: list[Any],
    tensors: list[Any],
    prefix: str = "",
) -> str:
    """Take places of an axis, unless they are all of it in order; return the name of the result."""
    if list(places) == list(range(length)):
        return source
    name = f"{prefix}{source}_axis{axis}"
    tensors.append(numpy_helper.from_array(np.array(places, np.int64), f"{name}_places"))
    nodes.append(helper.make_node("Gather", [source, f"{name}_places"], [name], axis=axis))
    return name


def _combined(weighted: Sequence[str], scaled: bool, tensors: list[Any]) -> list[Any]:
    if not scaled:
        return [helper.make_node("Sum", list(weighted), ["probabilities"])]
    tensors.append(numpy_helper.from_array(np.array(LEAST, np.float32), "least"))
    tensors.append(numpy_helper.from_array(np.array([1], np.int64), "classes_axis"))
    return [
        helper.make_node("Sum", list(weighted), ["summed"]),
        helper.make_node("Max", ["summed", "least"], ["positive"]),
        helper.make_node("ReduceSum", ["positive", "classes_axis"], ["total"], keepdims=1),
        helper.make_node("Div", ["positive", "total"], ["probabilities"]),
    ]


def _ports(plan: _Plan, card: ModelCard) -> tuple[list[Any], list[Any]]:
    batch = plan.batch or "batch"
    sides = (plan.tile, plan.tile) if plan.tile else ("rows", "columns")
    float32 = TensorProto.FLOAT
    inputs = {"reflectance": [batch, len(plan.bands), *sides]}
    if plan.statistics:
        inputs["statistics"] = [batch, len(plan.statistics), len(plan.bands)]
    given = [helper.make_tensor_value_info(n, float32, shape) for n, shape in inputs.items()]
    shape = [batch, len(card.classes), *sides]
    return given, [helper.make_tensor_value_info("probabilities", float32, shape)]


def _check(model: Model, plan: _Plan, combination: Combination) -> None:
    """Raise if the file differs from its members, on noise with a band and pixels of no data."""
    random = np.random.default_rng(0)
    side = plan.tile or 4 * plan.stride
    shape = (1, len(plan.bands), side, side)
    image: NDArray[np.float32] = random.uniform(0, 1, shape).astype(np.float32)
    required = [band.name in model.card.required_bands for band in model.card.bands]
    absent = [n for n, needed in enumerate(required) if not needed]
    image[:, absent[:1]] = np.nan
    image[:, :, : side // 4, : side // 3] = np.nan
    size = len(plan.statistics), len(plan.bands)
    statistics = np.sort(random.uniform(0, 1, size), axis=0).astype(np.float32)
    single = []
    for member in plan.members:
        card = member.card
        bands = [plan.bands.index(band.name) for band in card.bands]
        rows = [plan.statistics.index(name) for name in card.statistics]
        own = np.ascontiguousarray(statistics[np.ix_(rows, bands)]) if rows else None
        found = member.run(np.ascontiguousarray(image[:, bands]), statistics=own)[0]
        single.append(found[[card.class_codes.index(c) for c in model.card.class_codes]])
    whole = model.run(image, statistics=statistics if plan.statistics else None)[0]
    difference = float(np.abs(whole - combination.apply(np.stack(single))).max())
    if not difference <= _TOLERANCE:
        raise NubilaError(
            f"the ensemble's file differs from its members by {difference:.2e}, more than "
            f"{_TOLERANCE:g}; nothing was written"
        )
