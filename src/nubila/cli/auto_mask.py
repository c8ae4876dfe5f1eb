"""``nubila auto-mask``: label images without a person."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nubila.datasets import SampleSpec

__all__ = ["auto_mask"]


def auto_mask(
    manifests: Annotated[
        list[Path],
        typer.Argument(
            metavar="MANIFEST...",
            help="Tables of images; the mask may be empty. A label that is there keeps its say, "
            "and is told more where it leaves several classes open.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Masks and manifest.csv.")
    ],
    clouds: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DETECTOR",
            help="Of clouds and shadows: a model of nubila's, ukis-csmask, ukis-csmask-4 ...; "
            "several are averaged. Without one, indices alone.",
            show_default=False,
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="What the paths are relative to; default: the first manifest's folder."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Label only rows of this split; the others are copied as they are."),
    ] = None,
    flips: Annotated[
        str, typer.Option(help="Average over flips of the image: none, hflip, vflip, four, eight.")
    ] = "none",
    least: Annotated[
        float,
        typer.Option(min=0.0, max=0.5, help="What is less probable than this is ruled out."),
    ] = 0.1,
    keep: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Leave out images without a drawn label of which less than this share is certain.",
        ),
    ] = 0.0,
    indices: Annotated[
        bool, typer.Option(help="Tell snow and water by index where the sky is clear.")
    ] = True,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Images side by side; default: one a processor.")
    ] = None,
) -> None:
    """Make labels from detectors and indices: masks of sets of classes, and their manifest.

    Run again, it makes only the masks that are not there yet.
    """
    from rich.progress import Progress

    from nubila.curate.automatic import Means, automatic_labels, labelled_row
    from nubila.curate.pseudo import Sureness
    from nubila.datasets.manifest import manifest_rows, read_manifest, write_manifest
    from nubila.detect import FLIPS, open_detector
    from nubila.errors import InputError, nearest
    from nubila.raster.atomic import make_folder

    if flips not in FLIPS:
        raise InputError(f"--flips {flips!r}{nearest(flips, FLIPS)} (known: {', '.join(FLIPS)})")
    base = (root or manifests[0].parent).absolute()
    specs: list[SampleSpec] = []
    rows: list[dict[str, str]] = []
    for manifest in manifests:
        specs += read_manifest(manifest, root=base, unlabelled=True)
        rows += [cells for _, cells in manifest_rows(manifest)]
    chosen = [split is None or spec.split == split for spec in specs]
    detectors = tuple(open_detector(name) for name in clouds or ())
    means = Means(detectors, flips, Sureness(least), indices)
    folder = make_folder(output).absolute()
    todo = [spec for spec, take in zip(specs, chosen, strict=True) if take]
    labels = automatic_labels(todo, means, folder, threads=threads or os.cpu_count() or 1)
    written, left_out = [], 0
    with Progress(transient=True) as progress:
        bar = progress.add_task("labelling", total=len(todo))
        for cells, take in zip(rows, chosen, strict=True):
            if not take:
                if cells.get("mask", "").strip():
                    written.append(dict(cells))
                continue
            label = next(labels)
            progress.advance(bar)
            if label.spec.mask is None and label.sure < keep:
                left_out += 1
                continue
            written.append(labelled_row(cells, label, base))
    path = folder / "manifest.csv"
    write_manifest(path, written)
    typer.echo(f"{len(todo)} labelled, {left_out} of them left out as less certain than {keep:g}")
    typer.echo(path)
