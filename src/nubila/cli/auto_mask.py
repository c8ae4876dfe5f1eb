"""``nubila auto-mask``: label images without a person."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from nubila.cli.options import Root, SideBySide, keep_inputs, keep_others

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
    root: Root = None,
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
        bool,
        typer.Option(
            help="Tell snow and water by index where the sky is clear, thick cloud from thin by "
            "brightness, and shadow by the sun's place (columns sun_elevation and sun_azimuth, or "
            "the product's metadata). They overrule detectors where what these call shadow is "
            "bright."
        ),
    ] = True,
    cirrus: Annotated[
        bool,
        typer.Option(
            help="With indices: leave open whether ground that detectors call open is under thin "
            "cloud where the cirrus band shows some."
        ),
    ] = True,
    snow_line: Annotated[
        str | None,
        typer.Option(
            metavar="METRES",
            help="No snow below: one number, or twelve joined by commas from January on; for "
            "images with a band of elevation. Default: what the image itself tells.",
            show_default=False,
        ),
    ] = None,
    water: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Map of water in any CRS (1 = water, 0 = none, else not known) for images with "
            "a georeference, in place of the water index.",
            show_default=False,
        ),
    ] = None,
    threads: SideBySide = None,
) -> None:
    """Make labels from detectors and indices: masks of sets of classes, and their manifest.

    Run again, it makes only the masks that are not there yet.
    """
    from rich.progress import Progress

    from nubila.curate.auto_mask import auto_mask as label_all
    from nubila.curate.automatic import Means
    from nubila.curate.pseudo import Sureness
    from nubila.detect import FLIPS, open_detector
    from nubila.errors import InputError, nearest

    folders = sorted({table.parent for table in manifests})
    if root is None and len({folder.resolve() for folder in folders}) > 1:
        raise InputError(
            f"the manifests lie in several folders ({', '.join(map(str, folders))}): --root is "
            f"needed, the one folder that the paths in all of them are relative to"
        )
    keep_inputs(output / "manifest.csv", manifests)
    keep_others(output / "manifest.csv")
    if flips not in FLIPS:
        raise InputError(f"--flips {flips!r}{nearest(flips, FLIPS)} (known: {', '.join(FLIPS)})")
    try:
        line = tuple(float(part) for part in (snow_line or "").split(",") if part.strip())
    except ValueError as error:
        raise InputError(f"--snow-line {snow_line!r}: expected numbers of metres") from error
    if water is not None and not water.is_file():
        raise InputError(f"--water {water}: no such file")
    detectors = tuple(open_detector(name) for name in clouds or ())
    means = Means(detectors, flips, Sureness(least), indices, cirrus, snow_line=line, water=water)
    with Progress(transient=True) as progress:
        bar = progress.add_task("labelling", total=None)
        found = label_all(
            manifests,
            output / "manifest.csv",
            means,
            root=(root or manifests[0].parent).absolute(),
            split=split,
            keep=keep,
            threads=threads or os.cpu_count() or 1,
            progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )
    typer.echo(
        f"{found.labelled} labelled, {found.left_out} of them left out as less certain than "
        f"{keep:g}"
    )
    typer.echo(found.manifest)
    base = (root or manifests[0].parent).absolute()
    if base != found.manifest.parent:
        typer.echo(f"its paths are relative to {base}: give that as --root, or as data.root")
