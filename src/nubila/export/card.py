"""The card of an exported model, and the STAC item that says the same to catalogues."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import onnx
import yaml

from nubila.classes import class_code, class_set
from nubila.errors import InputError, reason
from nubila.export.graph import TURNS, cloudy_outputs, looks_at_all, statistics_of
from nubila.export.options import Shape
from nubila.models_io import BandUse, CalibrationError, ModelCard, TrainingSource
from nubila.nn import Segmenter
from nubila.raster.atomic import atomic_path
from nubila.recipe import Recipe
from nubila.recipe.load import is_weights_file

__all__ = ["build_card", "card_scores", "mlm_item", "read_scores", "write_item"]

_MLM: Final = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
# Of the figures of a class those that a card keeps; scores.json has all.
_KEPT: Final = (
    "iou",
    "iou_interval",
    "iou_scene_mean",
    "iou_scene_mean_scenes",
    "precision",
    "recall",
)
_BY_KIND: Final = (
    "Decide first between ground (clear, snow, water), cloud (cloud, thin cloud) and cloud shadow "
    "by the sums of their probabilities, then take the most probable class of that kind."
)
_CLASSIFICATION: Final = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"


def build_card(
    recipe: Recipe,
    network: Segmenter,
    shape: Shape,
    *,
    training: Sequence[TrainingSource],
    drawn: Collection[int],
    calibration: str,
    calibration_error: CalibrationError | None = None,
    scores: dict[str, Any],
    suffix: str = "",
) -> ModelCard:
    """Return the card of a network: what its graph takes and gives, and what it rests on.

    Args:
        recipe: of the run.
        network: as trained.
        shape: of the graph.
        training: what the weights were trained on.
        drawn: sets of classes (bits as in `classes.class_set`) that labels made by people hold; an
            output that one of them decides is measured.
        calibration: how it was calibrated, for people.
        calibration_error: what that left; None where it was not measured on this graph.
        scores: of ``nubila evaluate`` on this very network.
        suffix: of the name.
    """
    about = recipe.export
    reach = None if looks_at_all(network) else network.receptive_field()
    classes, stands_for = _classes(recipe, shape)
    return ModelCard(
        name=about.name + suffix,
        version=about.version,
        summary=about.summary,
        bands=tuple(
            BandUse(name=b, required=b in recipe.required, without=about.without.get(b, ""))
            for b in network.bands
        ),
        classes=classes,
        stands_for=stands_for,
        resolution=about.resolution,
        receptive_field=reach,
        stride=network.stride,
        tile=recipe.chip if reach is None and shape.size is None else shape.size,
        statistics=statistics_of(network),
        output=shape.output,
        decision=about.decision,
        calibration=calibration,
        calibration_error=calibration_error,
        training=tuple(training),
        recipe=_portable(recipe),
        seed=recipe.seed,
        measured=tuple(
            name
            for name in classes
            if any(bits & ~class_set(stands_for.get(name, (name,))) == 0 for bits in drawn)
        ),
        scores=scores,
        limits=about.limits,
        licence=about.licence,
        parameters=sum(p.numel() for p in network.parameters()),
        flops_per_pixel=network.flops_per_pixel() * TURNS[shape.flips],
    )


def _classes(recipe: Recipe, shape: Shape) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Return the classes of the graph's output, and what each that is merged stands for."""
    classes = recipe.classes
    if shape.output == "mask":
        sides: dict[str, tuple[str, ...]] = {"clear": (), "cloud": ()}
        cloudy = cloudy_outputs(classes)
        for members, is_cloud in zip(classes.values(), cloudy, strict=True):
            sides["cloud" if is_cloud else "clear"] += members
        classes = sides
    merged = {name: members for name, members in classes.items() if members != (name,)}
    return tuple(classes), merged


def read_scores(
    path: Path | None, model: str | None = None, sha256: str | None = None
) -> dict[str, Any]:
    """Return what a card keeps of what ``nubila evaluate`` or ``nubila compare`` wrote.

    Args:
        path: its ``scores.json``; None for no scores.
        model: whose they have to be; None takes those of a file of one model, whosever they are.
        sha256: of the file that they have to be of; None for any file of this model.

    Raises:
        InputError: the file cannot be read, holds something else than scores, or they are of
            another model or file, of some bands alone, or at an operating point.
    """
    if path is None:
        return {}
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: no scores.json that can be read; nubila evaluate writes one: {reason(error)}"
        ) from error
    if not isinstance(scores, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(scores).__name__}")
    several = _object(path, "models", scores.get("models") or {})
    if several and model not in several:
        raise InputError(f"{path}: has scores of {', '.join(several)}; none of {model}")
    found = _object(path, f"models.{model}", several.get(str(model))) if several else scores
    if not _figures(_object(path, "overall", found.get("overall") or {})):
        raise InputError(
            f"{path}: expected the scores of nubila evaluate or nubila compare, under 'overall'; "
            f"found {', '.join(found) or 'nothing'}"
        )
    for name, part in _object(path, "folders", found.get("folders") or {}).items():
        _object(path, f"folders.{name}", part)
    protocol = _object(path, "protocol", scores.get("protocol") or {})
    if model is not None:
        _check_model(path, protocol, model, sha256, several=bool(several))
    if protocol.get("bands"):
        raise InputError(
            f"{path}: is of images shown in {', '.join(protocol['bands'])} alone (--bands); a card "
            f"takes the scores of all bands"
        )
    if point := protocol.get("operating_point"):
        raise InputError(
            f"{path}: is of the operating point {point!r} (--operating-point); a card takes the "
            f"scores of the most probable class"
        )
    split = protocol.get("split")
    return card_scores(found, str(split or "all"))


def _check_model(
    path: Path, protocol: dict[str, Any], model: str, sha256: str | None, *, several: bool
) -> None:
    """Raise if scores are not of the model, or not of the file, that they are taken for.

    A comparison says what each model is under ``detectors``, an evaluation of several under
    ``models``, where a key may be a file's name instead of the model's; one of a single model says
    so itself.
    """
    about = protocol
    if several:
        kind = "detectors" if "detectors" in protocol else "models"
        known = _object(path, f"protocol.{kind}", protocol.get(kind) or {})
        about = _object(path, f"protocol.{kind}.{model}", known.get(model) or {})
    name = about.get("model", model if several else None)
    if name != model:
        raise InputError(
            f"{path}: its scores are of {name or 'a model that it does not name'}; expected those "
            f"of {model}"
        )
    found = str(about.get("sha256", about.get("model_sha256", "not told")))
    if sha256 is not None and found != sha256:
        raise InputError(
            f"{path}: its scores of {model} are of another file, of SHA-256 {found[:16]}; "
            f"this one has {sha256[:16]}: score it with nubila compare or nubila evaluate"
        )


def _object(path: Path, key: str, value: object) -> dict[str, Any]:
    """Return a part of a file of scores, or raise if it is no JSON object."""
    if not isinstance(value, dict):
        raise InputError(f"{path}: {key}: expected a JSON object, found {json.dumps(value)[:60]}")
    return value


def card_scores(scores: Mapping[str, Any], split: str) -> dict[str, Any]:
    """Return ``{split: {"overall" or folder: {"scenes", "all_cloud_iou", class: figures}}}``.

    Args:
        scores: of one model, with ``overall`` and ``folders``.
        split: that they are of.
    """
    parts = {"overall": scores["overall"], **scores.get("folders", {})}
    return {split: {name: _figures(part) for name, part in parts.items()}}


def _figures(part: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: part[name] for name in ("scenes", "all_cloud_iou") if name in part}
    classes = {name: own for name, own in part.items() if isinstance(own, dict) and "iou" in own}
    return plain | {
        name: {key: own[key] for key in _KEPT if key in own} for name, own in classes.items()
    }


def mlm_item(
    card: ModelCard, model: Path, when: datetime, *, architecture: str, batch: int | None = None
) -> dict[str, Any]:
    """Return a STAC item of a model file by the machine learning model extension.

    Args:
        card: of the model.
        model: its file.
        when: it was trained.
        architecture: of the network, by name.
        batch: images that the graph takes at once; None = any number.
    """
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [_MLM, _CLASSIFICATION],
        "id": f"nubila-{card.name}-{card.version}",
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]],
        },
        "bbox": [-180, -90, 180, 90],
        "properties": {
            "datetime": when.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "description": card.summary,
            **({"license": card.licence} if card.licence else {}),
            "mlm:name": card.name,
            "mlm:architecture": architecture,
            "mlm:tasks": ["semantic-segmentation"],
            "mlm:framework": "ONNX",
            "mlm:framework_version": onnx.__version__,
            "mlm:memory_size": model.stat().st_size,
            "mlm:total_parameters": card.parameters,
            "mlm:pretrained": True,
            "mlm:input": [_mlm_input(card, batch), *_mlm_statistics(card, batch)],
            "mlm:output": [_mlm_output(card, batch)],
        },
        "links": [],
        "assets": {
            "model": {
                "href": f"./{model.name}",
                "type": "application/octet-stream; framework=onnx; profile=onnx",
                "roles": ["mlm:model", "mlm:weights"],
                "mlm:artifact_type": "onnx",
            }
        },
    }


def write_item(
    card: ModelCard, model: Path, when: datetime, architecture: str, batch: int | None
) -> None:
    """Write the STAC item of a model file beside it; arguments as for `mlm_item`."""
    item = mlm_item(card, model, when, architecture=architecture, batch=batch)
    with atomic_path(model.with_suffix(".stac.json")) as temporary:
        temporary.write_text(json.dumps(item, indent=2) + "\n", "utf-8")


def _mlm_input(card: ModelCard, batch: int | None) -> dict[str, Any]:
    side = card.tile or -1
    return {
        "name": "reflectance",
        "description": "1.0 = 100 %; NaN where there is no data, and all over an absent band",
        "bands": [{"name": band.name} for band in card.bands],
        "input": {
            "shape": [batch or -1, len(card.bands), side, side],
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": "float32",
        },
    }


def _mlm_statistics(card: ModelCard, batch: int | None) -> list[dict[str, Any]]:
    if not card.statistics:
        return []
    shape = [batch or -1, len(card.statistics), len(card.bands)]
    return [
        {
            "name": "statistics",
            "description": f"{', '.join(card.statistics)} of each band over the whole scene",
            "bands": [{"name": band.name} for band in card.bands],
            "input": {
                "shape": shape,
                "dim_order": ["batch", "statistics", "bands"],
                "data_type": "float32",
            },
        }
    ]


def _mlm_output(card: ModelCard, batch: int | None) -> dict[str, Any]:
    side = card.tile or -1
    shape, order = [batch or -1, side, side], ["batch", "height", "width"]
    whole = card.output in ("classes", "mask")
    if not whole:
        shape.insert(1, len(card.classes))
        order.insert(1, "classes")
    by_kind = card.decision == "kind" and not whole
    return {
        "name": card.output,
        **({"description": _BY_KIND} if by_kind else {}),
        "tasks": ["semantic-segmentation"],
        "result": {
            "shape": shape,
            "dim_order": order,
            "data_type": "uint8" if whole else "float32",
        },
        "classification:classes": [
            {"value": class_code(name), "name": name.replace(" ", "_"), "description": name}
            for name in card.classes
        ],
    }


def _portable(recipe: Recipe) -> str:
    """Return the recipe's text with file names in place of this machine's paths."""
    named = _named(recipe.model_dump(), recipe.model_dump(mode="json"))
    if is_weights_file(weights := named["model"].get("weights")):
        named["model"]["weights"] = Path(weights).name
    return yaml.safe_dump(named, sort_keys=False)


def _named(value: Any, plain: Any) -> Any:  # noqa: ANN401 (whatever a recipe holds)
    """Return `plain`, the text of `value`, but of every path in it the file's name alone."""
    if isinstance(value, Path):
        return value.name
    if isinstance(value, dict):
        return {key: _named(inner, plain[str(key)]) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_named(*pair) for pair in zip(value, plain, strict=True)]
    return plain
