"""ukis-csmask (DLR, Apache-2.0): U-Nets with an EfficientNet-B4 encoder for cloud and shadow.

Four networks, of 4 or 6 bands, of the top of the atmosphere or of the surface; the one that fits
the view is taken. They ask for reflectance at about 30 m. Trained on CloudSEN12+ and SPARCS.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from nubila.detect.detector import Detection, Output, View, refusal
from nubila.detect.scale import at_resolution, back_to
from nubila.detect.version import peer_version
from nubila.errors import MissingExtraError

__all__ = ["Csmask"]

_FOUR: Final = ("blue", "green", "red", "nir")
_SIX: Final = (*_FOUR, "swir16", "swir22")
_OUTPUTS: Final = (
    Output(0, ("clear", "snow", "water")),
    Output(1, ("cloud", "thin cloud")),
    Output(3, ("cloud shadow",)),
)
# The package's own: how much tiles overlap, of their size.
_OVERLAP: Final = 0.2


@dataclass(frozen=True)
class Csmask:
    """One of the package's networks for each view, as the package itself runs it.

    Attributes:
        bands: 4 or 6; None takes 6 where a view has them.
        resolution: metres that finer views are brought to first, as the package asks; None leaves
            views as they are.
        threads: of ONNX Runtime.

    Raises:
        MissingExtraError: ukis-csmask is not installed.
    """

    bands: int | None = None
    resolution: float | None = 30.0
    threads: int = 1

    def __post_init__(self) -> None:
        _folder()

    @property
    def name(self) -> str:
        """What reports call it."""
        bands = "" if self.bands is None else f"-{self.bands}"
        return f"ukis-csmask{bands}{'-native' if self.resolution is None else ''}"

    @property
    def version(self) -> str:
        """The release of the package, which brings its weights."""
        return peer_version("ukis-csmask")

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What it tells apart."""
        return _OUTPUTS

    def lacks(self, view: View) -> str:
        """Return what it would need to judge a view, in words; empty if it can."""
        wanted = _SIX if self.bands == 6 else _FOUR
        return view.missing(wanted)

    def detect(self, view: View) -> Detection:
        """Judge a view.

        Raises:
            BandError: it cannot; the message says what it lacks.
        """
        if self.lacks(view):
            raise refusal(self, view)
        six = None if self.bands == 4 else view.stack(_SIX)
        image = six if six is not None else view.stack(_FOUR)
        assert image is not None  # `lacks` has looked
        empty = np.isnan(image).any(axis=0)
        coarse = at_resolution(image, view.resolution, self.resolution)
        network = f"model_{len(image)}b_{'l2a' if view.surface else 'l1c'}"
        found = back_to(_run(network, coarse, self.threads), image.shape[1:])
        found[:, empty] = np.nan
        return Detection(found, _OUTPUTS)


def _run(network: str, image: NDArray[np.float32], threads: int) -> NDArray[np.float32]:
    """Return probabilities (3, rows, columns), by the steps of the package's own class."""
    from ukis_csmask.utils import tile_array, untile_array

    session, about = _network(network, threads)
    mean, deviation = (np.array(v, np.float32) for v in about["dataset_statistics"]["img"][:2])
    filled = np.where(np.isnan(image), np.float32(0), image)
    scaled = (np.moveaxis(filled, 0, -1) - mean) / deviation
    rows, columns = about["target_size"]
    tiles = tile_array(scaled, xsize=rows, ysize=columns, overlap=_OVERLAP)
    entry = session.get_inputs()[0].name
    answers = []
    for tile in tiles:
        logits = session.run(None, {entry: np.moveaxis(tile, -1, 0)[None]})[0]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        answers.append(np.moveaxis((shares / shares.sum(axis=1, keepdims=True))[0], 0, -1))
    shape = (*image.shape[1:], len(_OUTPUTS))
    whole = untile_array(np.stack(answers), shape, overlap=_OVERLAP, smooth_blending=True)
    total = whole.sum(axis=-1, keepdims=True)
    shares = np.moveaxis(whole / np.where(total > 0, total, 1), -1, 0)
    return np.ascontiguousarray(shares, np.float32)


@lru_cache
def _network(name: str, threads: int) -> tuple[onnxruntime.InferenceSession, Any]:
    """Load a network of the package once, with what its JSON file says of it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    path = _folder() / f"{name}.onnx"
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session, json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["data"]


def _folder() -> Path:
    try:
        import ukis_csmask
    except ImportError as error:
        raise MissingExtraError("ukis-csmask", extra="compare") from error
    return Path(ukis_csmask.__file__).parent
