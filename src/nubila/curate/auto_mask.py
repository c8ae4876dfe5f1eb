"""`nubila auto-mask` as a function: tables of images in, masks and one manifest out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nubila.curate.automatic import Means, automatic_labels, labelled_row
from nubila.datasets import SampleSpec
from nubila.datasets.manifest import (
    manifest_rows,
    read_manifest,
    select_split,
    write_manifest,
)
from nubila.errors import InputError
from nubila.raster.atomic import make_folder

__all__ = ["AutoMasked", "auto_mask"]


@dataclass(frozen=True)
class AutoMasked:
    """What became of the tables.

    Attributes:
        manifest: the table that was written.
        labelled: images that got a mask.
        left_out: those of them that are not in the table, for they are not certain enough.
    """

    manifest: Path
    labelled: int
    left_out: int


def auto_mask(
    manifests: Sequence[Path],
    manifest: Path,
    means: Means,
    *,
    root: Path,
    split: str | None = None,
    keep: float = 0.0,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> AutoMasked:
    """Label images without a person; masks that were made in the same way before stay.

    Args:
        manifests: tables of images; their paths are relative to `root`.
        manifest: the table to write; masks go beside it.
        means: how.
        root: absolute.
        split: label only rows of this split; of the others, those with a mask are copied.
        keep: images without a drawn label of which less than this share is certain are left out.
        threads: images side by side.
        progress: called with how many are labelled, and of how many.

    Raises:
        ManifestError: a table or a sample cannot be read, or no row has the split.
        InputError: detectors differ in their outputs, what is written would replace a table, an
            image or a label, or every image is left out.
        OutputError: a file cannot be written.
    """
    specs: list[SampleSpec] = []
    rows: list[dict[str, str]] = []
    for table in manifests:
        if table.resolve() == manifest.resolve():
            raise InputError(f"{manifest}: is read and would be replaced; name another with -o")
        specs += read_manifest(table, root=root, unlabelled=True)
        rows += [cells for _, cells in manifest_rows(table)]
    if split is not None:
        select_split(", ".join(map(str, manifests)), specs, split)
    chosen = [split is None or spec.split == split for spec in specs]
    folder = make_folder(manifest.parent).absolute()
    todo = [spec for spec, take in zip(specs, chosen, strict=True) if take]
    labels = automatic_labels(todo, means, folder, threads=threads)
    written: list[dict[str, str]] = []
    done = left_out = 0
    for cells, take in zip(rows, chosen, strict=True):
        if not take:
            written += [dict(cells)] if cells.get("mask", "").strip() else []
            continue
        label = next(labels)
        done += 1
        if progress is not None:
            progress(done, len(todo))
        if label.spec.mask is None and label.sure < keep:
            left_out += 1
            continue
        written.append(labelled_row(cells, label, root))
    if not written:
        raise InputError(
            f"{', '.join(map(str, manifests))}: of no image is as much as {keep:g} certain, so "
            f"that no label is left; ask for less with --keep"
        )
    write_manifest(folder / manifest.name, written)
    return AutoMasked(folder / manifest.name, len(todo), left_out)
