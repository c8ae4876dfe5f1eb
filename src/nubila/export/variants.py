"""Smaller, faster or better variants of a model, each kept by what it measures."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import default_collate

from nubila.classes import CLOUD_CODES, NO_DATA
from nubila.export.card import write_item
from nubila.export.graph import statistics_of
from nubila.export.onnx import Source, write_calibrated
from nubila.export.options import ExportOptions, Shape
from nubila.export.parity import feeds
from nubila.export.prune import finetune, prune
from nubila.export.smaller import halve, quantise
from nubila.infer import MaskOptions
from nubila.infer.delivery import mask_in_memory, prepare
from nubila.models_io import Model, ModelCard, load_model
from nubila.nn import Segmenter
from nubila.raster.atomic import atomic_path
from nubila.scenes.array import scene_from_array
from nubila.train.data import Chips, Labelled

__all__ = ["Measured", "cloud_iou_of", "export_variants", "judge", "table"]

_CALIBRATION: Final = 32  # training images; ranges change little after a few dozen
_TIMED: Final = 512  # pixels of a side
_ROUNDS: Final = 7
# Two runs of one file differ by a few per cent on a shared machine.
_AS_FAST: Final = 0.95
# A fine-tuned network has its weights already: a tenth of the rate they were found with.
_FINETUNE_RATE: Final = 0.1


@dataclass(frozen=True)
class Measured:
    """A line of the table.

    Attributes:
        name: ``original``, ``fp16``, ``int8`` ...
        file: its name.
        megabytes: of the file, in 10^6 bytes.
        megapixels_per_second: of one thread, best of several runs between those of the others.
        cloud_iou: over all pixels of the validation split that are judged.
        parameters: number of weights.
        kept: whether the file is there.
        why: it is not, or was kept all the same.
    """

    name: str
    file: str
    megabytes: float
    megapixels_per_second: float
    cloud_iou: float
    parameters: int
    kept: bool = True
    why: str = ""


def export_variants(
    source: Source,
    shape: Shape,
    output: Path,
    options: ExportOptions,
    report: Callable[[str], None],
) -> tuple[Measured, ...]:
    """Make the variants that are asked for, measure them beside the original, keep the good ones.

    Args:
        source: the run.
        shape: of the original.
        output: the original's file; variants are written beside it, and ``variants.json``.
        options: which, and what they may lose.
        report: called with each line for people.

    Returns:
        What was measured, the original first.

    Raises:
        InputError: a variant cannot be made of this network.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = dict(_make(source, shape, output, options, Path(folder), report))
        models = {"original": load_model(output)}
        models |= {name: load_model(path) for name, path in made.items()}
        speeds = _speeds(list(models.values()))
        measured = [
            Measured(
                name=name,
                file=output.name if name == "original" else _file(output, name).name,
                megabytes=round(Path(model.path).stat().st_size / 1e6, 3),
                megapixels_per_second=speed,
                cloud_iou=cloud_iou_of(model, source.validation),
                parameters=model.card.parameters,
            )
            for (name, model), speed in zip(models.items(), speeds, strict=True)
        ]
        found = [measured[0], *(judge(m, measured[0], options) for m in measured[1:])]
        for row in found[1:]:
            _place(row, made[row.name], output, source)
    with atomic_path(output.parent / "variants.json") as temporary:
        rows = [_rounded(row) for row in found]
        temporary.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    report(table(found))
    if refused := [row.name for row in found if not row.kept]:
        report(f"refused and not written: {', '.join(refused)}; {output} is as trained")
    return tuple(found)


def _rounded(row: Measured) -> dict[str, Any]:
    """Return a line of ``variants.json``: no more digits than the figures mean."""
    speed, iou = round(row.megapixels_per_second, 3), round(row.cloud_iou, 4)
    return asdict(row) | {"megapixels_per_second": speed, "cloud_iou": iou}


def _make(
    source: Source,
    shape: Shape,
    output: Path,
    options: ExportOptions,
    folder: Path,
    report: Callable[[str], None],
) -> Iterator[tuple[str, Path]]:
    """Write the variants into a folder; give their names and files."""
    # What was scored is the original: no variant gives just what it gives.
    source = replace(source, scores={})
    card = load_model(output).card
    if options.fp16:
        halve(output, _named(card, "fp16"), folder / "fp16.onnx")
        yield "fp16", folder / "fp16.onnx"
    if options.int8:
        # From first to last: tables go source by source.
        count = min(len(source.train), _CALIBRATION)
        images = [source.train[i] for i in np.linspace(0, len(source.train) - 1, count).astype(int)]
        inputs = feeds(images, card, batch=shape.batch, largest=source.recipe.chip)
        quantise(output, _named(card, "int8"), folder / "int8.onnx", inputs)
        yield "int8", folder / "int8.onnx"
    if options.prune:
        name = f"prune{round(100 * options.prune)}"
        told = _told(report, name)
        network = _pruned(source, options, told)
        path = folder / f"{name}.onnx"
        yield name, write_calibrated(source, network, shape, path, told, suffix=f"-{name}")
    if options.flips != "none":
        name, turned = f"flips-{options.flips}", replace(shape, flips=options.flips)
        told, path = _told(report, name), folder / f"{name}.onnx"
        network = source.network
        yield name, write_calibrated(source, network, turned, path, told, suffix=f"-{name}")


def _pruned(source: Source, options: ExportOptions, report: Callable[[str], None]) -> Segmenter:
    """Return the network with fewer channels, trained on."""
    network, removed = prune(source.network, options.prune)
    report(f"{removed} channels taken out")
    torch.manual_seed(source.recipe.seed)
    steps, rate = options.finetune, _FINETUNE_RATE * source.recipe.optim.lr
    finetune(network, _batches(source, steps), steps, rate, report)
    return network


def _told(report: Callable[[str], None], name: str) -> Callable[[str], None]:
    return lambda line: report(f"{name}: {line}")


def _named(card: ModelCard, name: str) -> ModelCard:
    # Other arithmetic gives other probabilities: neither they nor their calibration were scored.
    unknown: dict[str, Any] = {"calibration_error": None, "scores": {}}
    return card.model_copy(update=unknown | {"name": f"{card.name}-{name}"})


def _file(output: Path, name: str) -> Path:
    return output.with_name(f"{output.stem}-{name}{output.suffix}")


def _place(row: Measured, made: Path, output: Path, source: Source) -> None:
    """Put a variant's file and item beside the original, or take away what was there."""
    target = _file(output, row.name)
    item = target.with_suffix(".stac.json")
    if not row.kept:
        # What an earlier export left would pass for the one that was just refused.
        target.unlink(missing_ok=True)
        item.unlink(missing_ok=True)
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(made, temporary)
    model = load_model(target)
    write_item(model.card, target, source.when, source.recipe.model.name, model.batch)


def _batches(source: Source, steps: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Give the chips of the first steps of the run, without the synthetic ones and the views."""
    recipe = source.recipe
    none = {"share": 0.0}
    synth, views = recipe.synth.model_copy(update=none), recipe.views.model_copy(update=none)
    plain = recipe.model_copy(update={"synth": synth, "views": views})
    chips = Chips(plain, source.train, (), statistics_of(source.network))
    for step in range(steps):
        numbers = range(step * recipe.batch, (step + 1) * recipe.batch)
        image, label, statistics = default_collate([chips[n] for n in numbers])
        yield image, label, statistics if statistics.numel() else None


def judge(row: Measured, original: Measured, options: ExportOptions) -> Measured:
    """Return a variant's line with whether it is kept, and why not.

    Args:
        row: of the variant.
        original: of the original.
        options: what it may lose, and whether it is kept all the same.
    """
    problems = []
    ratio = row.megapixels_per_second / original.megapixels_per_second
    if ratio < _AS_FAST:
        problems.append(f"{1 / ratio:.2f} times slower")
    lost = original.cloud_iou - row.cloud_iou
    if not lost <= options.tolerance:  # NaN too: without a pixel of cloud nothing is known
        problems.append(f"loses {lost:.4f} IoU, more than {options.tolerance:g}")
    if not problems:
        return row
    why = ("kept by --force: " if options.force else "refused: ") + ", ".join(problems)
    return replace(row, kept=options.force, why=why)


def table(rows: Sequence[Measured]) -> str:
    """Return the lines of the table for people."""
    lines = [f"{'variant':16}{'MB':>9}{'Mpx/s':>9}{'cloud IoU':>11}  "]
    for row in rows:
        numbers = f"{row.megabytes:9.2f}{row.megapixels_per_second:9.2f}{row.cloud_iou:11.4f}"
        lines.append(f"{row.name:16}{numbers}  {row.why or row.file}")
    return "\n".join(lines)


def cloud_iou_of(model: Model, samples: Sequence[Labelled]) -> float:
    """Return the IoU of cloud over all pixels of samples, through nubila's own engine.

    Pixels whose label allows cloud and something else, and those not judged, are left out.
    """
    cloud = sum(1 << code for code in CLOUD_CODES)
    sets = zip(model.card.class_codes, model.card.class_sets, strict=True)
    codes = [code for code, members in sets if members & ~cloud == 0]
    both = either = 0
    for sample in samples:
        classes = _classes(model, sample)
        truth = (sample.label & cloud) != 0
        certain = (sample.label & ~np.uint8(cloud)) == 0
        judged = (sample.label != 0) & (~truth | certain) & (classes != NO_DATA)
        found = np.isin(classes, codes)
        both += int(np.count_nonzero(truth & found & judged))
        either += int(np.count_nonzero((truth | found) & judged))
    return both / either if either else float("nan")


def _classes(model: Model, sample: Labelled) -> NDArray[np.uint8]:
    image = sample.image.astype(np.float32)
    there = [n for n, band in enumerate(image) if not np.isnan(band).all()]
    names = [model.card.bands[n].name for n in there]
    missing = set(model.card.required_bands) - set(names)
    if missing:  # all of it is no data
        return np.full(sample.label.shape, NO_DATA, np.uint8)
    scene = scene_from_array(image[there], names, scale=1.0)
    task = prepare(scene, model, MaskOptions(picture=False))
    return mask_in_memory(task, threads=1, progress=None).classes


def _speeds(models: Sequence[Model]) -> list[float]:
    """Return the megapixels a second of each, on one thread, by turns so that all share noise."""
    random = np.random.default_rng(0)
    best = [float("inf")] * len(models)
    inputs = [_image(model, random) for model in models]
    for number in range(_ROUNDS + 1):  # the first is to warm up
        for place, (model, (image, statistics)) in enumerate(zip(models, inputs, strict=True)):
            start = time.perf_counter()
            model.run(image, statistics=statistics)
            if number:
                best[place] = min(best[place], time.perf_counter() - start)
    pixels = [image.shape[0] * image.shape[2] * image.shape[3] for image, _ in inputs]
    return [n / seconds / 1e6 for n, seconds in zip(pixels, best, strict=True)]


def _image(
    model: Model, random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    card = model.card
    side = card.tile or -(-_TIMED // card.stride) * card.stride
    image = random.uniform(0, 1, (model.batch or 1, len(card.bands), side, side))
    if not card.statistics:
        return image.astype(np.float32), None
    statistics = np.sort(random.uniform(0, 1, (len(card.statistics), len(card.bands))), axis=0)
    return image.astype(np.float32), statistics.astype(np.float32)
