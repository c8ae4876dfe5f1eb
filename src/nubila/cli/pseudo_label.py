"""``nubila pseudo-label``: what models are sure of becomes the label."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from nubila.cli.options import Certain, Improbable, Root, SideBySide, keep_inputs, keep_others

__all__ = ["pseudo_label"]


def pseudo_label(
    manifest: Annotated[
        Path,
        typer.Argument(
            help="Table of images; rows without a mask are labelled.", show_default=False
        ),
    ],
    by: Annotated[
        list[str],
        typer.Option(
            "--by",
            metavar="DETECTOR|FOLDER",
            help="Models, any detector that nubila compare takes, or kept predictions (of nubila "
            "train --fold all); repeatable: their mean counts. compact+four is the mean over "
            "four flips.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Masks, manifest.csv and dropped.csv."
        ),
    ],
    root: Root = None,
    split: Annotated[
        str | None,
        typer.Option(help="Label only rows of this split; the others are copied as they are."),
    ] = None,
    low: Improbable = 0.1,
    high: Certain = 0.9,
    keep: Annotated[
        float,
        typer.Option(min=0, max=1, help="Keep images of which more than this share is sure."),
    ] = 0.9,
    unsure: Annotated[
        str,
        typer.Option(
            help="Pixels that are not sure: ignore them, take the likeliest class (of two, cut at "
            "0.5), or open: any class that is not ruled out."
        ),
    ] = "ignore",
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="CLASS|CLASS",
            help="Be sure of these alone, against all others: 'cloud|thin cloud'; repeatable; "
            "default: all that the detectors tell apart.",
            show_default=False,
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Replace drawn labels too; needs --split."),
    ] = False,
    threads: SideBySide = None,
) -> None:
    """Label images with what models are sure of, and keep those that are sure nearly all over.

    Labels drawn by people stay. Run again, it makes only the masks that are not there yet.
    """
    from nubila.classes import class_set
    from nubila.cli.evaluate import progress_bar
    from nubila.curate.automatic import Means
    from nubila.curate.pseudo import UNSURE, Sureness
    from nubila.curate.pseudo_label import label_rows, write_pseudo_labels
    from nubila.curate.teachers import open_teacher
    from nubila.datasets.manifest import manifest_rows, read_manifest, select_split
    from nubila.errors import InputError, nearest

    known = {name: name for name in UNSURE}
    if unsure not in known:
        raise InputError(f"--unsure {unsure!r}{nearest(unsure, known)} (known: {', '.join(known)})")
    if replace and split is None:
        raise InputError(
            "--replace: name the split with --split, so that labels to be scored on stay drawn"
        )
    for name in ("manifest.csv", "dropped.csv"):
        keep_inputs(output / name, [manifest])
        keep_others(output / name)
    sets = tuple(class_set(names.split("|")) for names in classes or ())
    sureness = Sureness(low, high, known[unsure], sets)
    base = (root or manifest.parent).absolute()
    specs = read_manifest(manifest, root=base, unlabelled=True)
    if split is not None:
        select_split(str(manifest), specs, split)
    scored = {s.split for s in specs if s.mask is None} - {"", "train"}
    if split is None and scored:
        raise InputError(
            f"{manifest}: rows without a mask are of split {', '.join(sorted(scored))} too, and "
            f"would be scored on pseudo-labels; give --split train"
        )
    rows = [cells for _, cells in manifest_rows(manifest)]
    teachers = tuple(open_teacher(name) for name in by)
    means = Means(teachers, sureness=sureness, indices=False, replace=replace)
    folder = output.absolute()
    with progress_bar(len(specs)) as progress:
        found = label_rows(
            rows,
            specs,
            means,
            folder,
            root=base,
            keep=keep,
            split=split,
            threads=threads or os.cpu_count() or 1,
            progress=progress,
        )
    paths = write_pseudo_labels(found, folder)
    drawn = len(found.kept) - found.made
    typer.echo(f"{found.made} labelled, {drawn} drawn labels stay, {len(found.dropped)} dropped")
    for reason, count in found.reasons.items():
        typer.echo(f"  {count}: {reason}")
    for path in paths:
        if path.is_file():
            typer.echo(path)
    if folder != base:
        typer.echo(f"their paths are relative to {base}: give that as --root, or as data.root")
