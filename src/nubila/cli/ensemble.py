"""``nubila ensemble``: several models as one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nubila.cli.options import Root, Split, check_onnx, keep_inputs

if TYPE_CHECKING:
    from nubila.curate.combination import Combination
    from nubila.curate.ensemble import Study
    from nubila.curate.predictions import Predictions
    from nubila.datasets import SampleSpec
    from nubila.detect import Detector

__all__ = ["ensemble"]


def ensemble(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Models of nubila by name or ONNX file; without -o, any detector.",
            show_default=False,
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            "--on",
            metavar="MANIFEST|COLLECTION",
            help="Labels to score members on and to fit weights on. No member should have been "
            "trained on them.",
            show_default=False,
        ),
    ] = None,
    split: Split = None,
    root: Root = None,
    predictions: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="Kept predictions of the data (of nubila train --fold all), one for each model "
            "in order; default: the models are run.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            help="mean; simplex: fitted, none negative, summing to one; free: fitted, any."
        ),
    ] = "mean",
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Weights of their own for each class.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="ONNX file to write, its table beside it."
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Images predicted side by side.")] = 1,
) -> None:
    """Combine models: what members and pairs score, weights for them, and one ONNX file.

    \b
    nubila ensemble compact small.onnx -o mean.onnx
    nubila ensemble a.onnx b.onnx --data table.csv --split validation --weights simplex -o e.onnx
    """  # noqa: D301 (the backslash is a backspace: what follows keeps its lines)
    from nubila.cli.evaluate import samples_of
    from nubila.curate.combination import WEIGHTS, mean_of
    from nubila.curate.ensemble import Members, study, write_table
    from nubila.detect.own import ModelDetector
    from nubila.errors import InputError, nearest
    from nubila.evaluate.compare_detectors import open_detectors
    from nubila.export import need_extra

    known = {name: name for name in WEIGHTS}
    if weights not in known:
        raise InputError(
            f"--weights {weights!r}{nearest(weights, known)} (known: {', '.join(known)})"
        )
    if data is None and (weights != "mean" or predictions or output is None):
        raise InputError("--data: name the labels to score on and to fit weights on")
    if data is None and (split is not None or root is not None):
        raise InputError("--split and --root say which labels; name their table with --data")
    if per_class and weights == "mean":
        raise InputError("--per-class: a mean has no weights to fit; add --weights free")
    if output is not None:
        check_onnx(output)
    detectors = open_detectors(models)
    files = [d.model for d in detectors.values() if isinstance(d, ModelDetector)]
    if output is not None and len(files) < len(detectors):
        others = [name for name, d in detectors.items() if not isinstance(d, ModelDetector)]
        raise InputError(
            f"{', '.join(others)}: no ONNX file of nubila's, so that it cannot be put into one; "
            f"leave out -o for the table alone (flips are exported by nubila export --flips)"
        )
    if output is not None:
        need_extra()  # now, before hours of predictions
        for written in (output, output.with_suffix(".csv")):
            keep_inputs(written, [data, *(file.path for file in files)])
    combination: Combination | None = None
    if data is not None:
        specs = samples_of(data, root, split)
        beside = (output or Path("ensemble.onnx")).with_suffix("")
        kept = _kept(detectors, specs, predictions, Path(f"{beside}-predictions"), threads)
        found = study(Members.of(kept), specs, known[weights], per_class=per_class)
        combination = found.combination
        _print(typer.echo, found, list(kept))
        if output is not None:
            write_table(output.with_suffix(".csv"), found)
            typer.echo(output.with_suffix(".csv"))
    if output is not None:
        from nubila.curate.ensemble_graph import write_ensemble

        combination = combination or mean_of(len(files), len(files[0].card.classes))
        typer.echo(write_ensemble(files, combination, output, name=output.stem))


def _kept(
    detectors: Mapping[str, Detector],
    specs: Sequence[SampleSpec],
    folders: Sequence[Path] | None,
    target: Path,
    threads: int,
) -> dict[str, Predictions]:
    """Return the members' predictions: those given, or made now and kept."""
    from nubila.curate.predict import keep_predictions
    from nubila.curate.predictions import open_predictions
    from nubila.errors import InputError

    if not folders:
        return {
            name: keep_predictions(
                detector,
                specs,
                target / re.sub(r"[^A-Za-z0-9_.+-]+", "-", name),
                threads=threads,
                report=lambda line: typer.echo(line),
            )
            for name, detector in detectors.items()
        }
    if len(folders) != len(detectors):
        raise InputError(
            f"--predictions: {len(folders)} folders for {len(detectors)} models; give one for each"
        )
    return {name: open_predictions(folder) for name, folder in zip(detectors, folders, strict=True)}


def _print(show: Callable[[str], None], found: Study, names: Sequence[str]) -> None:
    """Print the table, and the weights where they are fitted."""
    classes = list(dict.fromkeys(name for line in found.lines for name in line.ious))
    width = max(len(line.name) for line in found.lines) + 2
    show(f"{'IoU in percent':{width}}" + "".join(f"{n:>14}" for n in (*classes, "agreement")))
    for line in found.lines:
        cells = [line.ious.get(name) for name in classes] + [line.agreement]
        text = "".join(f"{'-' if c is None else f'{100 * c:.2f}':>14}" for c in cells)
        show(f"{line.name:{width}}{text}")
    table = found.combination.weights
    for name, row in zip(names, table, strict=True):
        same = len(set(row.round(9))) == 1
        values = f"{row[0]:.4f}" if same else ", ".join(f"{value:.4f}" for value in row)
        show(f"weight of {name}: {values}")
