"""Detectors by the names that the command line takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from nubila.detect.cloudsen12 import CloudSen12
from nubila.detect.csmask import Csmask
from nubila.detect.detector import Detector
from nubila.detect.flipped import FLIPS, flipped
from nubila.detect.omnicloudmask import OmniCloudMask
from nubila.detect.own import ModelDetector
from nubila.detect.product import ProductMask
from nubila.detect.rules import AllOne, Bright
from nubila.detect.s2cloudless import S2Cloudless
from nubila.errors import ModelError, nearest
from nubila.models_io import find_model, list_models, load_model

__all__ = ["DETECTORS", "open_detector"]

# What is no model of nubila's: name -> how to make it for a number of threads, with the folder of
# peers' weights.
DETECTORS: Final[dict[str, Callable[[int, Path | None], Detector]]] = {
    "ukis-csmask": lambda threads, _: Csmask(threads=threads),
    "ukis-csmask-4": lambda threads, _: Csmask(4, threads=threads),
    "ukis-csmask-native": lambda threads, _: Csmask(resolution=None, threads=threads),
    "ukis-csmask-4-native": lambda threads, _: Csmask(4, resolution=None, threads=threads),
    "s2cloudless": lambda threads, _: S2Cloudless(threads),
    "omnicloudmask": lambda _, weights: OmniCloudMask(weights),
    "cloudsen12": lambda _, weights: CloudSen12(weights),
    "product": lambda _threads, _weights: ProductMask(),
    "brightness": lambda _threads, _weights: Bright(),
    "all-clear": lambda _threads, _weights: AllOne(cloud=False),
    "all-cloud": lambda _threads, _weights: AllOne(cloud=True),
}


def open_detector(name: str, *, threads: int = 1, weights: Path | None = None) -> Detector:
    """Return a detector by name: one of `DETECTORS`, or a model of nubila's by name or path.

    Args:
        name: as on the command line; ``NAME+four`` for the mean over turns of the image, by any
            key of `detect.flipped.FLIPS`.
        threads: that a call of a peer may use; nubila's models use one a call.
        weights: folder of the weights of peers that come without; default that of the environment
            variable NUBILA_PEER_WEIGHTS.

    Raises:
        MissingExtraError: the peer's package is not installed.
        MissingFileError: the peer's weights are not in the folder.
        ModelError: there is no such detector or model; the message names the nearest.
    """
    whole, plus, flips = name.rpartition("+")
    if plus and not Path(name).is_file():
        if flips in FLIPS:
            return flipped(open_detector(whole, threads=threads, weights=weights), flips)
        if not Path(flips).suffix and "/" not in flips:
            raise ModelError(
                f"detector {name!r}: no flips {flips!r}{nearest(flips, FLIPS)} (known: "
                f"{', '.join(FLIPS)})"
            )
    if name in DETECTORS:
        return DETECTORS[name](threads, weights)
    shipped = list_models()
    # A path that is there, or that can be nothing else, is left to the loader's own message.
    if name not in shipped and Path(name).suffix != ".onnx" and not Path(name).is_file():
        raise ModelError(
            f"no detector {name!r}{nearest(name, [*shipped, *DETECTORS])} (models: "
            f"{', '.join(shipped) or 'none'}, or an ONNX file; others: {', '.join(DETECTORS)})"
        )
    return ModelDetector(load_model(find_model(name)))
