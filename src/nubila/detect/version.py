"""What tells a detector from itself with other weights."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from nubila.datasets.content import content_hash
from nubila.detect.detector import Detector
from nubila.detect.flipped import Flipped

__all__ = ["Versioned", "peer_version", "version_of"]

_DIGITS: Final = 12  # hexadecimal ones, of a hash


@runtime_checkable
class Versioned(Protocol):
    """A detector of which its name alone does not tell what it says."""

    @property
    def version(self) -> str:
        """What changes when it may judge otherwise: a release, a hash of weights, or both."""


def version_of(detector: Detector) -> str:
    """Return the detector's name with its version, ``ukis-csmask@1.0.0``; flips come last.

    A rule that has no version is told by its name alone.
    """
    if isinstance(detector, Flipped):
        return f"{version_of(detector.detector)}+{detector.flips}"
    if isinstance(detector, Versioned):
        return f"{detector.name}@{detector.version}"
    return detector.name


def peer_version(project: str, weights: Iterable[Path] = ()) -> str:
    """Return the release of a peer's package, ``1.0.0``, and a hash of weights beside it.

    Args:
        project: what installs it; ``unknown`` stands for the release of a package that was put
            there in another way.
        weights: files that do not come with the package. They count by content, in any order.
    """
    try:
        release = version(project)
    except PackageNotFoundError:
        release = "unknown"
    files = sorted((path.name, content_hash(path)) for path in weights)
    if not files:
        return release
    return f"{release}-{sha256(repr(files).encode()).hexdigest()[:_DIGITS]}"
