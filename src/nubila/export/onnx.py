"""Checkpoint to ONNX: batch norms folded, calibrated, with its card, and held to the original."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from nubila.errors import NubilaError
from nubila.export.calibrate import Calibration, fit_calibration
from nubila.export.card import build_card, mlm_item, read_scores
from nubila.models_io import CARD_KEY, ModelCard, load_model
from nubila.nn import Segmenter
from nubila.raster.atomic import atomic_path
from nubila.recipe import Recipe, load_recipe
from nubila.train.data import Labelled, load_split, pad
from nubila.train.state import load_weights
from nubila.train.validate import logits_of

__all__ = ["export_onnx", "parity", "write_onnx"]

_OPSET: Final = 18
_TOLERANCE: Final = 1e-4
_PARITY_SAMPLES: Final = 12


def export_onnx(
    run: Path, output: Path, *, scores: Path | None, report: Callable[[str], None]
) -> Path:
    """Write the averaged weights of a run's best checkpoint as ONNX, and a STAC item beside it.

    Args:
        run: folder of ``nubila train``.
        output: the ONNX file; the item gets the suffix ``.stac.json``.
        scores: ``scores.json`` of ``nubila evaluate`` for the card, or None.
        report: called with each line for people.

    Raises:
        NubilaError: no run or checkpoint there, or the file's probabilities differ from
            PyTorch's by more than 1e-4.
    """
    recipe = load_recipe(run / "recipe.yaml")
    network = load_weights(run / "best.ckpt")
    torch.set_num_threads(recipe.threads)
    found = read_scores(scores)
    train, held_back = (load_split(recipe, s) for s in (recipe.data.train, recipe.data.validation))

    fitted = fit_calibration(network, recipe.classes, held_back, _biases(recipe))
    calibration = _describe(fitted, network.classes)
    report(f"{calibration}: loss {fitted.before:.4f} -> {fitted.after:.4f}")
    card = build_card(
        recipe, network, train=train, validation=held_back, calibration=calibration, scores=found
    )
    with atomic_path(output) as temporary:
        write_onnx(network.folded(fitted.temperature, fitted.biases), card, temporary)
        difference = parity(network, fitted, temporary, held_back[:_PARITY_SAMPLES])
        report(f"largest difference from PyTorch on real samples: {difference:.2e}")
        if not difference <= _TOLERANCE:
            raise NubilaError(
                f"{output}: probabilities differ from PyTorch's by {difference:.2e}, more than "
                f"{_TOLERANCE:g}; nothing was written"
            )
    when = datetime.fromtimestamp((run / "best.ckpt").stat().st_mtime, UTC)
    with atomic_path(output.with_suffix(".stac.json")) as temporary:
        temporary.write_text(json.dumps(mlm_item(card, output, when), indent=2) + "\n", "utf-8")
    report(f"{output}: {output.stat().st_size / 1e6:.1f} MB, {card.parameters} parameters")
    return output


def _biases(recipe: Recipe) -> tuple[float, ...]:
    given: dict[str, float] = dict(recipe.export.biases.items())
    return tuple(given.get(name, 0.0) for name in recipe.classes)


def _describe(fitted: Calibration, classes: Sequence[str]) -> str:
    named = zip(classes, fitted.biases, strict=True)
    biases = ", ".join(f"{name} {bias:+g}" for name, bias in named if bias)
    return f"temperature {fitted.temperature:.4f} fitted on the validation split" + (
        f", after biases of the recipe: {biases}" if biases else ""
    )


class _Probabilities(nn.Module):
    """The graph that is exported; its argument's name becomes the input's."""

    def __init__(self, network: Segmenter) -> None:
        super().__init__()
        self.network = network

    def forward(self, reflectance: Tensor) -> Tensor:
        return self.network.probabilities(reflectance)


def write_onnx(network: Segmenter, card: ModelCard, path: Path) -> None:
    """Write a folded network with its card; the same network gives the same bytes.

    Args:
        network: in evaluation mode.
        card: goes into the file's metadata.
        path: the file to write.
    """
    stride = network.stride
    # Sizes that differ from one another keep the exporter from taking one for another.
    example = torch.zeros(2, len(network.bands), 3 * stride, 4 * stride)
    rows, columns = (stride * torch.export.Dim(name) for name in ("rows", "columns"))
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        _Probabilities(network).eval(),
        (example,),
        dynamo=True,
        opset_version=_OPSET,
        input_names=["reflectance"],
        output_names=["probabilities"],
        dynamic_shapes=({0: batch, 2: rows, 3: columns},),
        verbose=False,
    )
    if program is None:  # only where the exporter writes a file itself
        raise NubilaError("PyTorch's exporter gave no program")
    model = program.model_proto
    _strip(model)
    entry = model.metadata_props.add()
    entry.key, entry.value = CARD_KEY, card.model_dump_json()
    path.write_bytes(model.SerializeToString(deterministic=True))


def _strip(model: Any) -> None:  # noqa: ANN401 (untyped library)
    """Take out what the exporter notes for debugging, such as this machine's file names."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        del part.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
    del graph.value_info[:]
    onnx.checker.check_model(model)


def parity(
    network: Segmenter, fitted: Calibration, path: Path, samples: Sequence[Labelled]
) -> float:
    """Return the largest difference in probability between PyTorch and a model file.

    PyTorch runs the network as trained, batch norms and all, with its own softmax.
    """
    model = load_model(path)
    worst = 0.0
    for sample in samples:
        rows, columns = sample.label.shape
        expected = fitted.apply(logits_of(network, sample.image)).softmax(dim=0).numpy()
        batch = pad(sample.image.astype(np.float32), network.stride)[None]
        found = model.run(batch)[0, :, :rows, :columns]
        worst = max(worst, float(np.abs(found - expected).max()))
    return worst
