"""A new manifest from an old one and the decisions on its samples; no original is touched."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from nubila.curate.review.digest import label_digest, sets_digest
from nubila.curate.review.export import mask_name, set_codes, write_sets
from nubila.curate.review.store import ACTIONS
from nubila.datasets import SampleSpec, write_manifest
from nubila.datasets.manifest import manifest_rows, read_manifest
from nubila.datasets.tables import check_suffix, read_table
from nubila.errors import InputError, ManifestError, nearest
from nubila.raster.atomic import new_folder

__all__ = ["Applied", "apply_decisions"]

_NEEDED: Final = ("sample", "action", "label", "result", "mask")

Cells = dict[str, str]


@dataclass(frozen=True)
class Applied:
    """What came of it.

    Attributes:
        rows: of the new manifest.
        counts: samples of the old manifest by action; those without a decision as ``undecided``.
        absent: decisions on samples that the manifest does not have.
        masks: folder of the new masks, or None where there are none.
        root: what the paths of the new manifest are relative to.
    """

    rows: int
    counts: Mapping[str, int]
    absent: int
    masks: Path | None
    root: Path


def apply_decisions(
    manifest: str | Path,
    decisions: str | Path,
    output: str | Path,
    *,
    root: str | Path | None = None,
    masks: str | Path | None = None,
) -> Applied:
    """Write a manifest without what was dropped, and with new masks where they were decided on.

    Rows keep their text, for a sample is known by its image's path as written; so the new manifest
    is relative to the same root as the old one. New masks hold sets of classes, one bit a class,
    on the image's pixels, and their rows say so in ``codes``.

    Args:
        manifest: the one that was reviewed.
        decisions: a table that `export_decisions` wrote.
        output: the new manifest; its suffix says what is written, as of `write_manifest`.
        root: what paths are relative to; default the manifest's folder.
        masks: folder for new masks; default ``<output's name>_masks`` beside `output`.

    Raises:
        ManifestError: a table is not what is expected, there are no decisions or none fits the
            manifest, or a label has changed since it was decided on.
        InputError: `output` is the manifest, or the masks would lie among the originals.
        OutputError: `output` has an unknown suffix, or a file cannot be written.
        MissingExtraError: Parquet without pyarrow.
    """
    manifest, decisions, output = Path(manifest), Path(decisions), Path(output)
    check_suffix(output)
    base = Path(root) if root is not None else manifest.parent
    target = Path(masks) if masks is not None else output.with_name(f"{output.stem}_masks")
    specs = read_manifest(manifest, root=base)
    _keep_originals(manifest, output, target, specs)
    decided = _read_decisions(decisions)
    if not decided:
        raise ManifestError(f"{decisions}: no decisions yet; nubila review makes them")
    known = {spec.id for spec in specs}
    if not known & set(decided):
        raise ManifestError(
            f"{decisions}: none of its {len(decided)} samples is in {manifest}; give the manifest "
            f"that was reviewed"
        )
    counts: Counter[str] = Counter()
    rows: list[Cells] = []
    with new_folder(target):
        for spec, (_, cells) in zip(specs, manifest_rows(manifest), strict=True):
            row = decided.get(spec.id, {})
            action = row.get("action", "undecided")
            counts[action] += 1
            if action == "drop":
                if row["label"]:  # else it could not be read, which is why it was dropped
                    _hold_to_seen(spec, row, decisions)
                continue
            if action == "keep" and row["label"]:
                _hold_to_seen(spec, row, decisions)
            if row.get("mask"):
                cells = cells | _new_mask(spec, row, decisions, target, base)
            rows.append(cells)
        if not rows:
            raise ManifestError(f"{decisions}: every sample of {manifest} is dropped")
        write_manifest(output, rows)
    has_masks = any(target.iterdir())
    if not has_masks:
        target.rmdir()
    absent = len(set(decided) - known)
    return Applied(len(rows), dict(counts), absent, target if has_masks else None, base)


def _keep_originals(
    manifest: Path, output: Path, target: Path, specs: tuple[SampleSpec, ...]
) -> None:
    if output.resolve() == manifest.resolve():
        raise InputError(f"{output}: is the manifest itself; name another file for the new one")
    folders = {spec.label_file.parent.resolve() for spec in specs}
    if target.resolve() in folders:
        raise InputError(f"{target}: the manifest's own masks lie there; name another folder")


def _read_decisions(path: Path) -> dict[str, Cells]:
    columns, rows = read_table(path)
    for name in _NEEDED if columns else ():  # GeoJSON without a row names no column
        if name not in columns:
            raise ManifestError(
                f"{path}: column {name!r} is missing{nearest(name, columns)}; expected a table "
                f"that nubila review --export wrote"
            )
    found: dict[str, Cells] = {}
    for line, cells in rows:
        row = dict(zip(columns, cells, strict=True))
        if row["action"] not in ACTIONS:
            raise ManifestError(
                f"{path}: line {line}: action {row['action']!r}{nearest(row['action'], ACTIONS)} "
                f"(known: {', '.join(ACTIONS)})"
            )
        if row["sample"] in found:
            raise ManifestError(f"{path}: line {line}: sample {row['sample']!r} stands twice")
        if row["action"] in ("prediction", "fix") and not row["mask"]:
            raise ManifestError(
                f"{path}: line {line}: action {row['action']!r} without a mask; export again"
            )
        found[row["sample"]] = row
    return found


def _new_mask(spec: SampleSpec, row: Cells, decisions: Path, target: Path, base: Path) -> Cells:
    """Write a sample's new mask; return the cells that change."""
    _hold_to_seen(spec, row, decisions)
    sets = _read_sets(decisions.parent / row["mask"], row["result"])
    path = target / mask_name(spec.id, row["result"])
    write_sets(path, sets, spec.images[0])
    written = Path(os.path.relpath(path.resolve(), base.resolve()))
    return {"mask": written.as_posix(), "codes": set_codes(sets), "coverage": "", "corner": ""}


def _hold_to_seen(spec: SampleSpec, row: Cells, decisions: Path) -> None:
    """Raise if a label is neither what was decided on nor what came of it."""
    if label_digest(spec) not in (row["label"], row["result"]):
        raise spec.error(
            "mask",
            f"{spec.label_file} has changed since {row.get('who') or 'somebody'} decided on it "
            f"({row.get('when') or 'time unknown'}); review the sample again, or leave it out of "
            f"{decisions}",
        )


def _read_sets(path: Path, digest: str) -> NDArray[np.uint8]:
    try:
        with rasterio.open(path) as data:
            sets: NDArray[np.uint8] = data.read(1)
    except RasterioError as error:
        raise ManifestError(f"{path}: the mask cannot be read: {error}; export again") from error
    if sets_digest(sets) != digest:
        raise ManifestError(f"{path}: is not the mask that was decided on; export again")
    return sets
