"""Checkpoint to ONNX: batch norms folded, calibrated, with its card, and held to the original."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import torch

from nubila.errors import InputError, NubilaError
from nubila.export.calibrate import Calibration, fit_calibration
from nubila.export.card import build_card, read_scores, write_item
from nubila.export.graph import Graph, write_onnx
from nubila.export.ground import check_data, drawn_sets, training_sources
from nubila.export.options import ExportOptions, Shape
from nubila.export.parity import check_parity
from nubila.models_io import CalibrationError, load_model
from nubila.models_io.metadata import without_card
from nubila.nn import Segmenter
from nubila.raster.atomic import atomic_path, make_folder
from nubila.recipe import Recipe, load_recipe
from nubila.train.data import Labelled, load_split
from nubila.train.labels import check_labelled
from nubila.train.state import load_weights

__all__ = ["Source", "export_onnx", "write_calibrated"]

_PARITY_SAMPLES: Final = 12


@dataclass(frozen=True)
class Source:
    """What a run gives to export from.

    Attributes:
        run: its folder.
        recipe, network: of the best checkpoint, the weights averaged.
        train, validation: the samples of both splits.
        drawn: sets of classes that labels of people's in the validation split hold.
        scores: of ``nubila evaluate`` on the network as it is, for its card.
    """

    run: Path
    recipe: Recipe
    network: Segmenter
    train: Sequence[Labelled]
    validation: Sequence[Labelled]
    drawn: frozenset[int]
    scores: dict[str, Any]

    @classmethod
    def of(cls, run: Path, scores: Path | None, scored: Path) -> Source:
        """Read a run folder; raises as `export_onnx`.

        Args:
            run: its folder.
            scores: for the card, or None.
            scored: the file that they have to be of.
        """
        recipe = load_recipe(run / "recipe.yaml")
        network = load_weights(run / "best.ckpt")
        torch.set_num_threads(recipe.threads)
        found: dict[str, Any] = {}
        if scores is not None:
            if not scored.is_file():
                raise InputError(
                    f"{scores}: scores are put on the card of the file that was scored, and there "
                    f"is no {scored}; export without them first, and score that"
                )
            found = read_scores(scores, recipe.export.name)
            if load_model(scored).card.scores != found:  # else they were put there before
                digest = hashlib.sha256(scored.read_bytes()).hexdigest()
                found = read_scores(scores, recipe.export.name, digest)
        splits = recipe.data.train, recipe.data.validation
        train, held_back = (load_split(recipe, split) for split in splits)
        check_data(run, train, held_back)
        check_labelled(recipe, recipe.data.validation, held_back)  # to calibrate on
        drawn = drawn_sets(recipe, held_back)
        return cls(run, recipe, network.eval(), train, held_back, drawn, found)

    @property
    def when(self) -> datetime:
        """Time of the checkpoint."""
        return datetime.fromtimestamp((self.run / "best.ckpt").stat().st_mtime, UTC)


def export_onnx(
    run: Path,
    output: Path,
    *,
    scores: Path | None,
    options: ExportOptions,
    report: Callable[[str], None],
) -> Path:
    """Write the averaged weights of a run's best checkpoint as ONNX, and a STAC item beside it.

    Args:
        run: folder of ``nubila train``.
        output: the ONNX file; the item gets the suffix ``.stac.json``.
        scores: ``scores.json`` of ``nubila evaluate`` on the file that is there now, for the card
            of the one that takes its place; or None.
        options: what to export; variants get names after the file's.
        report: called with each line for people.

    Raises:
        InputError: an option does not fit the network, or the scores are not of this model.
        ManifestError: no pixel of the validation split is labelled, to calibrate on.
        RecipeError: the run's manifest gives other samples now than it was trained on.
        NubilaError: no run or checkpoint there, or what the file gives differs from PyTorch by
            more than `parity.TOLERANCES`.
    """
    make_folder(output.parent)
    source = Source.of(run, scores, output)
    shape = options.shape(source.recipe, source.network.stride)
    written, shape = _write_any(source, shape, output, options, report)
    if options.variants:
        from nubila.export.variants import export_variants

        export_variants(source, shape, output, options, report)
    return written


def _write_any(
    source: Source,
    shape: Shape,
    output: Path,
    options: ExportOptions,
    report: Callable[[str], None],
) -> tuple[Path, Shape]:
    """Write for any size of image if the network allows it, else for the training's chips."""
    chip = source.recipe.chip
    if shape.size is not None:
        return write_calibrated(source, source.network, shape, output, report), shape
    try:
        return write_calibrated(source, source.network, shape, output, report), shape
    except InputError as error:
        report(f"{error}; for {chip} x {chip}, the training's chips, instead")
    fixed = replace(shape, size=chip)
    return write_calibrated(source, source.network, fixed, output, report), fixed


def write_calibrated(
    source: Source,
    network: Segmenter,
    shape: Shape,
    output: Path,
    report: Callable[[str], None],
    *,
    suffix: str = "",
) -> Path:
    """Calibrate a network, write it with its card and item, and hold the file to PyTorch.

    Args:
        source: where it is from.
        network: as trained, in evaluation mode.
        shape: what the graph takes and gives.
        output: the file to write.
        report: called with each line for people.
        suffix: of the name in the card.

    Raises:
        InputError: the network cannot be exported so.
        NubilaError: the file differs from PyTorch.
    """
    recipe = source.recipe
    fitted = fit_calibration(network, recipe.classes, source.validation, _biases(recipe))
    calibration = _describe(fitted, network.classes)
    report(f"{calibration}: loss {fitted.before:.4f} -> {fitted.after:.4f}")
    card = build_card(
        recipe,
        network,
        shape,
        training=training_sources(recipe, source.train),
        drawn=source.drawn,
        calibration=calibration,
        # It was measured without the turns, whose mean gives other probabilities.
        calibration_error=_error(recipe, fitted) if shape.flips == "none" else None,
        scores=source.scores,
        suffix=suffix,
    )
    folded = network.folded(fitted.temperature, fitted.biases)
    with atomic_path(output) as temporary:
        write_onnx(Graph(folded, recipe.classes, shape), card, temporary)
        graph = Graph(network, recipe.classes, shape)
        samples = source.validation[:_PARITY_SAMPLES]
        difference = check_parity(graph, fitted, load_model(temporary), samples)
        if source.scores and not suffix and not _same_masks(temporary, output):
            # No InputError, after which another size of input would be tried.
            raise NubilaError(
                f"{output}: the scores are of the file that is there, and this run gives another "
                f"network now; export without them, and score that"
            )
    report(f"largest difference from PyTorch on {len(samples)} real samples: {difference:.2e}")
    write_item(card, output, source.when, recipe.model.name, shape.batch)
    report(f"{output.name}: {output.stat().st_size / 1e6:.1f} MB, {card.parameters} parameters")
    return output


def _same_masks(one: Path, other: Path) -> bool:
    """Tell whether two files give the same masks: by graph, and by how their cards decide."""
    decisions = {load_model(path).card.decision for path in (one, other)}
    return len(decisions) == 1 and without_card(one) == without_card(other)


def _biases(recipe: Recipe) -> tuple[float, ...]:
    given: dict[str, float] = dict(recipe.export.biases.items())
    return tuple(given.get(name, 0.0) for name in recipe.classes)


def _error(recipe: Recipe, fitted: Calibration) -> CalibrationError:
    return CalibrationError(
        split=recipe.data.validation, ece=dict(fitted.ece_after), before=dict(fitted.ece_before)
    )


def _describe(fitted: Calibration, classes: Sequence[str]) -> str:
    named = zip(classes, fitted.biases, strict=True)
    biases = ", ".join(f"{name} {bias:+g}" for name, bias in named if bias)
    return (
        f"temperature {fitted.temperature:.4f} fitted on the validation split"
        + (", at the end of the range searched: the best may lie beyond" if fitted.at_end else "")
        + (f", after biases of the recipe: {biases}" if biases else "")
    )
