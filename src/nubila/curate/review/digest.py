"""Digests by which a second pass tells what has changed since a decision."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.curate.review.store import ReviewStore
from nubila.datasets import SampleSpec
from nubila.datasets.sample import mask_codes

__all__ = ["file_digest", "label_digest", "sets_digest"]

_LENGTH: Final = 16  # hexadecimal digits, 64 bits: enough to tell versions of one sample apart


def sets_digest(sets: NDArray[np.uint8]) -> str:
    """Return a digest of (rows, columns) sets of classes, the same wherever they are kept."""
    found = hashlib.sha256(f"{sets.shape}".encode())
    found.update(np.ascontiguousarray(sets).tobytes())
    return found.hexdigest()[:_LENGTH]


def label_digest(spec: SampleSpec, store: ReviewStore | None = None) -> str:
    """Return a digest of a sample's label file: the sets that its codes stand for.

    A file that has not been touched is not read again where a store remembers its digest. Of a
    label that is part of a larger raster, or has a coverage, those count too.

    Raises:
        ManifestError: the mask cannot be decoded.
        OutputError: the store cannot be written.
    """
    key = f"{spec.label_file.absolute()}\n{spec.codes}\n{spec.corner}\n{spec.coverage}"
    stamp = _stamp(spec.label_file) + (_stamp(spec.coverage) if spec.coverage else "")
    if store is not None and (kept := store.digest(key, stamp)) is not None:
        return kept
    found = sets_digest(spec.codes.apply(mask_codes(spec)))
    if spec.corner is not None or spec.coverage is not None:
        coverage = spec.coverage.read_bytes() if spec.coverage else b""
        whole = f"{found} {spec.corner} {hashlib.sha256(coverage).hexdigest()}"
        found = hashlib.sha256(whole.encode()).hexdigest()[:_LENGTH]
    if store is not None:
        store.keep_digest(key, stamp, found)
    return found


def file_digest(path: Path, store: ReviewStore) -> str:
    """Return a digest of a file's content, which is read only if it has been touched.

    Raises:
        OSError: it cannot be read.
        OutputError: the store cannot be written.
    """
    key, stamp = str(path.absolute()), _stamp(path)
    if (kept := store.digest(key, stamp)) is not None:
        return kept
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()[:_LENGTH]
    store.keep_digest(key, stamp, found)
    return found


def _stamp(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns};"
