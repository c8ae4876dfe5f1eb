"""Pseudo-labels of whole manifests: what teachers are sure of becomes the label.

::

    folder/manifest.csv   rows with a label, drawn or one that teachers are sure of
    folder/dropped.csv    the others, as they were: a pool for a later round
    folder/**/*.tif       masks of label sets, as automatic labels have them

Both tables say ``sure`` (share of the judged pixels), ``kept`` (1 or 0) and ``reason``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nubila.curate.automatic import AutomaticLabel, Means, automatic_labels, labelled_row
from nubila.datasets import SampleSpec, write_manifest
from nubila.raster.atomic import make_folder

__all__ = ["PseudoLabels", "label_rows", "write_pseudo_labels"]

_DRAWN: Final = "drawn by a person"
_OTHER: Final = "not of the split to label"


@dataclass(frozen=True)
class PseudoLabels:
    """What became of the rows of a manifest.

    Attributes:
        kept: rows with a label, drawn or made.
        dropped: rows without one, as they were.
        made: how many of the kept ones have a made label.
        reasons: of those dropped -> how many.
    """

    kept: tuple[dict[str, str], ...]
    dropped: tuple[dict[str, str], ...]
    made: int
    reasons: Mapping[str, int] = field(default_factory=dict)


def label_rows(
    rows: Sequence[Mapping[str, str]],
    specs: Sequence[SampleSpec],
    means: Means,
    folder: Path,
    *,
    root: Path,
    keep: float = 0.9,
    split: str | None = None,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> PseudoLabels:
    """Label the rows that have no drawn label; those whose masks are there stay.

    Args:
        rows: cells of the manifest.
        specs: the same as samples.
        means: the teachers, and when a pixel is sure; with `replace`, drawn labels are made anew
            too.
        folder: gets the masks.
        root: what the manifest's paths are relative to.
        keep: a sample is kept where more than this share of its judged pixels is sure.
        split: only rows of this split are labelled.
        threads: samples side by side.
        progress: called with the number of samples done, after each.

    Raises:
        NubilaError: whatever `automatic_labels` raises.
    """
    todo = [_is_to_label(spec, means, split) for spec in specs]
    chosen = [spec for spec, take in zip(specs, todo, strict=True) if take]
    labels = automatic_labels(chosen, means, make_folder(folder), threads=threads)
    kept: list[dict[str, str]] = []
    dropped: list[dict[str, str]] = []
    reasons, made, done = Counter[str](), 0, 0
    for cells, spec, take in zip(rows, specs, todo, strict=True):
        if not take:
            has = spec.mask is not None
            told = {"sure": "", "kept": str(int(has)), "reason": _DRAWN if has else _OTHER}
            (kept if has else dropped).append({**cells, **told})
            reasons.update([] if has else [_OTHER])
            continue
        label = next(labels)
        done += 1
        if progress is not None:
            progress(done)
        reason = _why_not(label, keep)
        told = {"sure": f"{label.sure:.4f}", "kept": str(int(not reason)), "reason": reason}
        if reason:
            dropped.append({**cells, **told})
            reasons[reason] += 1
            continue
        made += 1
        kept.append({**labelled_row(cells, label, root), **told, "reason": "sure"})
    return PseudoLabels(tuple(kept), tuple(dropped), made, dict(reasons))


def write_pseudo_labels(found: PseudoLabels, folder: Path) -> tuple[Path, Path]:
    """Write the two tables; return their paths. Of no rows there is no table."""
    paths = folder / "manifest.csv", folder / "dropped.csv"
    for path, rows in zip(paths, (found.kept, found.dropped), strict=True):
        path.unlink(missing_ok=True)
        if rows:
            write_manifest(path, rows)
    return paths


def _is_to_label(spec: SampleSpec, means: Means, split: str | None) -> bool:
    if split is not None and spec.split != split:
        return False
    return spec.mask is None or means.replace


def _why_not(label: AutomaticLabel, keep: float) -> str:
    """Return why a sample is dropped; empty if it is kept."""
    if label.judged == 0:
        return "no teacher judges a pixel of it"
    return "" if label.sure > keep else f"not more than {keep:g} of it is sure"
