"""Whether the samples that a stage has read are still the same: their rows, images and labels.

Files count by their content, so that data that were copied are the same data. To read them all at
every start would take as long as a stage: names, sizes and times of change are asked first, and
only where one of them is another are the files read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nubila.curate.origin import sample_digest
from nubila.datasets import SampleSpec

__all__ = ["Seen", "look", "stamp"]


@dataclass(frozen=True)
class Seen:
    """What samples were when a stage began to read them.

    Attributes:
        stamp: of their rows, and of their files' paths, sizes and times of change.
        content: of their rows, and of what the files hold.
    """

    stamp: str
    content: str


def look(specs: Sequence[SampleSpec], before: Seen | None = None) -> Seen:
    """Return what samples are now; their files are read only where their stamp is another.

    A product counts by its name and size, as in `curate.origin`.

    Args:
        specs: the samples.
        before: what they were.
    """
    rows = [(spec.split, spec.id) for spec in specs]
    files = [stamp(spec.files) for spec in specs]
    found = _hash(zip(rows, files, strict=True))
    if before is not None and before.stamp == found:
        return before
    return Seen(found, _hash(zip(rows, map(sample_digest, specs), strict=True)))


def stamp(paths: Iterable[Path]) -> str:
    """Return a hash of path, size and time of change of files, and of all files in folders."""
    found: list[tuple[str, int, int]] = []
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            status = file.stat() if file.is_file() else None
            size, changed = (status.st_size, status.st_mtime_ns) if status else (0, 0)
            found.append((str(file), size, changed))
    return _hash(found)


def _hash(values: Iterable[object]) -> str:
    return hashlib.sha256(repr(list(values)).encode()).hexdigest()
