"""OmniCloudMask (DPIRD, MIT): an ensemble of U-Nets on red, green and near infrared.

For 10 to 50 m (coarser views are not judged), the top of the atmosphere or the surface, any sensor:
its networks see each patch standardised to itself. Classes 0 clear, 1 thick cloud, 2 thin cloud,
3 cloud shadow. The package downloads its weights; here it is only called where they lie in a folder
already.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.detect.detector import Detection, Output, View, refusal
from nubila.detect.scale import at_resolution, back_to, coarser
from nubila.detect.version import peer_version
from nubila.detect.weights import check_weights, peer_package, weights_folder

__all__ = ["OmniCloudMask"]

_BANDS: Final = ("red", "green", "nir")
_OUTPUTS: Final = (
    Output(0, ("clear", "snow", "water")),
    Output(1, ("cloud",)),
    Output(2, ("thin cloud",)),
    Output(3, ("cloud shadow",)),
)
_FINEST: Final = 10.0
_COARSEST: Final = 50.0
_LEAST: Final = np.float32(1e-6)  # 0 is the package's value for no data
_SMALLEST: Final = 32  # pixels of a side that the package refuses to go below


@dataclass(frozen=True)
class OmniCloudMask:
    """The package's `predict_from_array` with weights that are there.

    Attributes:
        weights: the folder of the weights; None takes that of the environment.

    Raises:
        ModelError: omnicloudmask is not installed.
        MissingFileError: a file of its weights is not there; the message names all.
    """

    weights: Path | None = None

    def __post_init__(self) -> None:
        _check(self.weights)

    @property
    def name(self) -> str:
        """What reports call it."""
        return "omnicloudmask"

    @property
    def version(self) -> str:
        """The release of the package, and a hash of the weights."""
        folder, files, _ = _check(self.weights)
        return peer_version("omnicloudmask", (folder / name for name in files))

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What it tells apart."""
        return _OUTPUTS

    def lacks(self, view: View) -> str:
        """Return what it would need to judge a view, in words; empty if it can."""
        missing = view.missing(_BANDS)
        if missing:
            return missing
        if view.resolution is not None and view.resolution > _COARSEST:
            return f"no resolution of {_COARSEST:g} m or finer"
        enough = min(_shape(view)) >= _SMALLEST
        return "" if enough else f"no {_SMALLEST} x {_SMALLEST} pixels"

    def detect(self, view: View) -> Detection:
        """Judge a view.

        Raises:
            BandError: it cannot; the message says what it lacks.
        """
        image = view.stack(_BANDS)
        if self.lacks(view) or image is None:
            raise refusal(self, view)
        empty = np.isnan(image).any(axis=0)
        coarse = at_resolution(image, view.resolution, _FINEST)
        filled = np.where(np.isnan(coarse), np.float32(0), np.maximum(coarse, _LEAST))
        folder, _, version = _check(self.weights)
        found = _package().predict_from_array(
            filled,
            inference_device="cpu",
            export_confidence=True,
            softmax_output=True,
            no_data_value=0,
            apply_no_data_mask=False,
            destination_model_dir=folder,
            model_download_source="hugging_face",
            model_version=version,
        )
        shares: NDArray[np.float32] = np.asarray(found, np.float32)
        shares = back_to(shares / shares.sum(axis=0), image.shape[1:]).copy()
        shares[:, empty] = np.nan
        return Detection(shares, _OUTPUTS)


def _shape(view: View) -> tuple[int, ...]:
    """Return rows and columns of a view as the package gets it."""
    return coarser(view.image.shape[1:], view.resolution, _FINEST)


def _package() -> ModuleType:
    return peer_package("omnicloudmask", "omnicloudmask")


def _check(weights: Path | None) -> tuple[Path, list[str], float]:
    """Return folder, files and version of the newest weights that the package knows."""
    _package()
    table = resources.files("omnicloudmask") / "model_download_links.csv"
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    version = max(float(row["version"]) for row in rows)
    files = [row["file_name"] for row in rows if float(row["version"]) == version]
    return check_weights("omnicloudmask", weights_folder(weights), files), files, version
