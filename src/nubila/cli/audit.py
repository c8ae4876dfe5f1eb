"""``nubila audit``: which labels are likely to be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nubila.cli.options import Root, Split, keep_inputs

__all__ = ["audit"]

_SHOWN = 10


def audit(
    manifest: Annotated[
        str,
        typer.Argument(
            metavar="MANIFEST|COLLECTION",
            help="Table that lists images and masks, or the name of a collection (nubila data "
            "list), which needs --root.",
            show_default=False,
        ),
    ],
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Kept predictions, as nubila train --fold all leaves them.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME|FILE",
            help="Predict with this model or detector first. It should not have been trained on "
            "these labels.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The ranking: CSV, Parquet or GeoJSON."
        ),
    ] = Path("audit.csv"),
    root: Root = None,
    split: Split = None,
    threads: Annotated[int, typer.Option(min=1, help="Images predicted side by side.")] = 1,
) -> None:
    """Rank samples by how likely their label is wrong; also without any predictions.

    What was predicted and measured stays beside the ranking, so that the same command goes on
    where it was stopped.
    """
    from nubila import datasets
    from nubila.curate.audit import audit as ranked
    from nubila.curate.audit import write_audit
    from nubila.curate.predict import keep_predictions
    from nubila.curate.predictions import open_predictions
    from nubila.detect import open_detector
    from nubila.errors import InputError
    from nubila.raster.atomic import make_folder

    if predictions is not None and model is not None:
        raise InputError("--predictions and --model: give one of the two")
    if Path(manifest).is_file() or Path(manifest).suffix:
        specs = datasets.read_manifest(manifest, root=root, split=split)
    elif root is not None:
        specs = datasets.read_collection(manifest, root, split=split)
    else:
        raise InputError(
            f"{manifest!r}: no such file; if it is a collection, give its folder with --root"
        )
    keep_inputs(output, [manifest])
    make_folder(output.parent)
    kept = None if predictions is None else open_predictions(predictions)
    if model is not None:
        kept = keep_predictions(
            open_detector(model),
            specs,
            output.with_name(f"{output.stem}-predictions"),
            threads=threads,
            report=typer.echo,
        )
    journal = output.with_name(f"{output.stem}-measured.jsonl")
    rows = ranked(specs, kept, journal, report=typer.echo)
    write_audit(rows, output)
    for row in rows[:_SHOWN]:
        typer.echo(f"{row.score:.2f}  {row.spec.id}: {row.finding.reason}")
    flags = sorted({flag for row in rows for flag in row.finding.flags})
    for flag in flags:
        typer.echo(f"{sum(flag in row.finding.flags for row in rows):6d} {flag}")
    typer.echo(output)
