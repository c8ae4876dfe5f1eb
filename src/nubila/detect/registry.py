"""Detectors by the names that the command line takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from nubila.detect.csmask import Csmask
from nubila.detect.detector import Detector
from nubila.detect.own import ModelDetector
from nubila.detect.rules import AllOne, Bright
from nubila.errors import ModelError, nearest
from nubila.models_io import find_model, load_model

__all__ = ["DETECTORS", "open_detector"]

# What is no model of nubila's: name -> how to make it for a number of threads.
DETECTORS: Final[dict[str, Callable[[int], Detector]]] = {
    "ukis-csmask": lambda threads: Csmask(threads=threads),
    "ukis-csmask-4": lambda threads: Csmask(4, threads=threads),
    "ukis-csmask-native": lambda threads: Csmask(resolution=None, threads=threads),
    "ukis-csmask-4-native": lambda threads: Csmask(4, resolution=None, threads=threads),
    "brightness": lambda _threads: Bright(),
    "all-clear": lambda _threads: AllOne(cloud=False),
    "all-cloud": lambda _threads: AllOne(cloud=True),
}


def open_detector(name: str, *, threads: int = 1) -> Detector:
    """Return a detector by name: one of `DETECTORS`, or a model of nubila's by name or path.

    Args:
        name: as on the command line.
        threads: that a call of a peer may use; nubila's models use one a call.

    Raises:
        MissingExtraError: the peer's package is not installed.
        ModelError: there is no such detector or model; the message names the nearest.
    """
    if name in DETECTORS:
        return DETECTORS[name](threads)
    try:
        return ModelDetector(load_model(find_model(name)))
    except ModelError as error:
        hint = nearest(name, DETECTORS)
        raise ModelError(f"{error}; other detectors: {', '.join(DETECTORS)}{hint}") from error
