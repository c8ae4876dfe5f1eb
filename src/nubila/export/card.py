"""The card of an exported model, and the STAC item that says the same to catalogues."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import onnx

from nubila.classes import CLASS_NAMES, class_code
from nubila.errors import InputError
from nubila.models_io import BandUse, ModelCard, TrainingSource
from nubila.nn import Segmenter
from nubila.recipe import Recipe
from nubila.train.data import Labelled

__all__ = ["build_card", "mlm_item", "read_scores"]

_MLM: Final = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
_CLASSIFICATION: Final = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"


def build_card(
    recipe: Recipe,
    network: Segmenter,
    *,
    train: Sequence[Labelled],
    validation: Sequence[Labelled],
    calibration: str,
    scores: dict[str, Any],
) -> ModelCard:
    """Return the card of a network: what its graph takes and gives, and what it rests on."""
    about = recipe.export
    return ModelCard(
        name=about.name,
        version=about.version,
        summary=about.summary,
        bands=tuple(BandUse(name=b, required=b in recipe.required) for b in network.bands),
        classes=network.classes,
        resolution=about.resolution,
        receptive_field=_reach(network),
        stride=network.stride,
        calibration=calibration,
        training=_sources(recipe, train),
        recipe=_portable(recipe),
        seed=recipe.seed,
        measured=_measured(validation),
        scores=scores,
        limits=about.limits,
        licence=about.licence,
        parameters=sum(p.numel() for p in network.parameters()),
        flops_per_pixel=network.flops_per_pixel(),
    )


def _reach(network: Segmenter) -> int:
    reach = network.receptive_field()
    if reach is None:
        raise InputError("a network that looks at the whole image cannot be exported yet")
    return reach


def read_scores(path: Path | None) -> dict[str, Any]:
    """Return what ``nubila evaluate`` wrote, or nothing.

    Raises:
        InputError: the file cannot be read or is no JSON object.
    """
    if path is None:
        return {}
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: no scores.json that can be read; nubila evaluate writes one: {error}"
        ) from error
    if not isinstance(scores, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(scores).__name__}")
    return scores


def mlm_item(card: ModelCard, model: Path, when: datetime) -> dict[str, Any]:
    """Return a STAC item of a model file by the machine learning model extension."""
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
            "license": card.licence,
            "mlm:name": card.name,
            "mlm:architecture": "U-Net",
            "mlm:tasks": ["semantic-segmentation"],
            "mlm:framework": "ONNX",
            "mlm:framework_version": onnx.__version__,
            "mlm:memory_size": model.stat().st_size,
            "mlm:total_parameters": card.parameters,
            "mlm:pretrained": True,
            "mlm:input": [_mlm_input(card)],
            "mlm:output": [_mlm_output(card)],
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


def _mlm_input(card: ModelCard) -> dict[str, Any]:
    return {
        "name": "reflectance",
        "description": "1.0 = 100 %; NaN where there is no data, and all over an absent band",
        "bands": [{"name": band.name} for band in card.bands],
        "input": {
            "shape": [-1, len(card.bands), -1, -1],
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": "float32",
        },
    }


def _mlm_output(card: ModelCard) -> dict[str, Any]:
    return {
        "name": "probabilities",
        "tasks": ["semantic-segmentation"],
        "result": {
            "shape": [-1, len(card.classes), -1, -1],
            "dim_order": ["batch", "classes", "height", "width"],
            "data_type": "float32",
        },
        "classification:classes": [
            {"value": class_code(name), "name": name.replace(" ", "_"), "description": name}
            for name in card.classes
        ],
    }


def _sources(recipe: Recipe, train: Sequence[Labelled]) -> tuple[TrainingSource, ...]:
    counts = Counter(sample.folder for sample in train)
    if recipe.synth.share:
        counts["nubila synth"] = recipe.synth.chips
    licences = {"nubila synth": "Apache-2.0"} | recipe.export.licences
    return tuple(
        TrainingSource(name=name, licence=licences.get(name, "not stated"), images=images)
        for name, images in sorted(counts.items())
    )


def _measured(validation: Sequence[Labelled]) -> tuple[str, ...]:
    """Return the classes that some label of the validation split names without another."""
    sets = {bits for sample in validation for bits in set(sample.label.ravel().tolist())}
    return tuple(CLASS_NAMES[code] for code in CLASS_NAMES if 1 << code in sets)


def _portable(recipe: Recipe) -> str:
    """Return the recipe's text with file names in place of this machine's paths."""
    data = recipe.data.model_copy(
        update={k: Path(v.name) for k, v in recipe.data if isinstance(v, Path)}
    )
    synth = recipe.synth.model_copy(update={"cache": Path(recipe.synth.cache.name)})
    return recipe.model_copy(update={"data": data, "synth": synth}).to_yaml()
