"""What labels and predictions are made from, as a digest: how a sample is read, and its files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nubila.datasets import SampleSpec
from nubila.datasets.content import content_hash

__all__ = ["image_digest", "sample_digest"]

_LENGTH: Final = 16  # hexadecimal digits, 64 bits: enough to tell versions of one sample apart
# What decides how files are read and what detectors see. Not the place in a table, split or group.
_READ: Final = (
    *("bands", "scale", "offset", "nodata", "codes", "sensor", "level", "resolution", "scene"),
    "corner",
)
_OF_LABEL: Final = ("codes", "corner")


def sample_digest(spec: SampleSpec) -> str:
    """Return 16 hexadecimal digits that change when a sample's pixels or its drawn label would.

    Files count by their content, so that a copy of the data is the same data. Products count by
    name, and by size if they are one file: they hold gigabytes, and the agencies do not change them
    under one name. A file that is not there counts as such, for whoever reads it to tell.
    """
    how = [getattr(spec, name) for name in _READ]
    drawn = [path and content_hash(path) for path in (spec.mask, spec.coverage)]
    return _digest([how, _images(spec), drawn, _auxiliary(spec)])


def image_digest(spec: SampleSpec) -> str:
    """Return the same of the image alone: what a model sees, whatever the label says."""
    how = [getattr(spec, name) for name in _READ if name not in _OF_LABEL]
    return _digest([how, _images(spec), _auxiliary(spec)])


def _digest(parts: Sequence[object]) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:_LENGTH]


def _images(spec: SampleSpec) -> list[object]:
    return [_product(path) if spec.scene else content_hash(path) for path in spec.images]


def _auxiliary(spec: SampleSpec) -> list[tuple[str, str | None]]:
    return [(name, content_hash(path)) for name, path in spec.auxiliary]


def _product(path: Path) -> tuple[str, int | None]:
    return path.name, path.stat().st_size if path.is_file() else None
