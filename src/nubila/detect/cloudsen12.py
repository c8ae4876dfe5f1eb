"""cloudsen12_models (CloudSEN12, IPL-UV): U-Nets with a MobileNetV2 encoder on CloudSEN12+.

Of the package's networks the one that fits the view is taken: 13 bands of Sentinel-2 L1C, 12 of
L2A, the bands that Sentinel-2 and Landsat 8 share, or red, green, blue and near infrared. They were
made for reflectance of Sentinel-2 at 10 m, and the one for Landsat at 30 m, so that of coarser
views only those of 30 m with its bands are judged, by it. Classes 0 clear, 1 thick cloud, 2 thin
cloud, 3 cloud shadow. The package downloads its weights; here it is only called where they lie in a
folder already.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from nubila.bands import SENSORS
from nubila.codes import from_codes
from nubila.detect.detector import Detection, Output, View, as_detection, refusal
from nubila.detect.scale import at_resolution, is_coarser, nearest_to
from nubila.detect.version import peer_version
from nubila.detect.weights import check_weights, peer_package, weights_folder
from nubila.errors import ModelError

__all__ = ["CloudSen12"]

_OUTPUTS: Final = (
    Output(0, ("clear", "snow", "water")),
    Output(1, ("cloud",)),
    Output(2, ("thin cloud",)),
    Output(3, ("cloud shadow",)),
)
_LABELS: Final = SENSORS["sentinel-2-msi"].bands


@dataclass(frozen=True)
class _Network:
    """One of the package's networks: the views that it is for, best first in the table below."""

    name: str
    labels: tuple[str, ...]
    surface: bool
    resolution: float

    @property
    def bands(self) -> tuple[str, ...]:
        """Common names of the bands, in the network's order."""
        return tuple(_LABELS[label][0] for label in self.labels)

    @property
    def file(self) -> str:
        """What the installed package calls its weights; releases differ for those of L2A.

        Raises:
            ModelError: cloudsen12_models is not installed, or its release lacks the network.
        """
        known = _package().MODELS_CLOUDSEN12
        if self.name not in known:
            raise ModelError(
                f"cloudsen12_models: this release has no network {self.name} (it has "
                f"{', '.join(known)}); install a newer one"
            )
        return str(known[self.name]["model_file"])


# Bands in the order of the package's own table, whose names are those of Sentinel-2 throughout.
_L1C: Final = (
    *("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08"),
    *("B8A", "B09", "B10", "B11", "B12"),
)
_NETWORKS: Final = (
    _Network("UNetMobV2_V2", _L1C, surface=False, resolution=10),
    _Network("cloudsen12l2a", tuple(b for b in _L1C if b != "B10"), surface=True, resolution=10),
    _Network(
        "landsat30",
        ("B01", "B02", "B03", "B04", "B08", "B10", "B11", "B12"),
        surface=False,
        resolution=30,
    ),
    _Network("dtacs4bands", ("B08", "B04", "B03", "B02"), surface=False, resolution=10),
)


@dataclass(frozen=True)
class CloudSen12:
    """The package's networks with weights that are there.

    Attributes:
        weights: the folder of the weights; None takes that of the environment.

    Raises:
        ModelError: cloudsen12_models is not installed, or too old.
        MissingFileError: none of its weights are there; the message names all.
    """

    weights: Path | None = None

    def __post_init__(self) -> None:
        _package()
        if not self._there():
            check_weights("cloudsen12_models", self._folder(), (n.file for n in _NETWORKS))

    @property
    def name(self) -> str:
        """What reports call it."""
        return "cloudsen12"

    @property
    def version(self) -> str:
        """The release of the package, and a hash of the weights that are there."""
        folder = self._folder() or Path()
        return peer_version("cloudsen12_models", (folder / n.file for n in self._there()))

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What it tells apart."""
        return _OUTPUTS

    def lacks(self, view: View) -> str:
        """Return what it would need to judge a view, in words; empty if it can."""
        if _fitting(view, self._there()) is not None:
            return ""
        network = _fitting(view, _NETWORKS)
        if network is not None:
            return f"no weights {network.file}"
        if whole := [n for n in _NETWORKS if _is_of(n, view)]:
            return f"no resolution of {max(n.resolution for n in whole):g} m or finer"
        least = _NETWORKS[1] if view.surface else _NETWORKS[-1]
        missing = [name for name in least.bands if view.band(name) is None]
        return f"no {', '.join(missing)}"

    def _folder(self) -> Path | None:
        return weights_folder(self.weights)

    def _there(self) -> tuple[_Network, ...]:
        """Return the networks whose weights are in the folder."""
        folder = self._folder()
        return tuple(n for n in _NETWORKS if folder is not None and (folder / n.file).is_file())

    def detect(self, view: View) -> Detection:
        """Judge a view.

        Raises:
            BandError: it cannot; the message says what it lacks.
        """
        network = _fitting(view, self._there())
        image = None if network is None else view.stack(network.bands)
        folder = self._folder()
        if network is None or image is None or folder is None:
            raise refusal(self, view)
        empty = np.isnan(image).any(axis=0)
        coarse = at_resolution(image, view.resolution, network.resolution)
        filled = np.where(np.isnan(coarse), np.float32(0), coarse)
        codes = np.asarray(_model(network.name, folder).predict(filled), np.uint8)
        classes = nearest_to(from_codes(codes, "cloudsen12"), image.shape[1:])
        return as_detection(np.where(empty, np.uint8(255), classes), _OUTPUTS)


def _fitting(view: View, networks: tuple[_Network, ...]) -> _Network | None:
    """Return the network with the most bands that a view has, fit for its level and resolution."""
    for network in networks:
        if _is_of(network, view) and not is_coarser(view.resolution, network.resolution):
            return network
    return None


def _is_of(network: _Network, view: View) -> bool:
    """Tell whether a view has a network's bands and level."""
    whole = all(view.band(name) is not None for name in network.bands)
    return whole and network.surface == view.surface


class _Model(Protocol):
    """What the package's `load_model_by_name` returns, as far as it is used."""

    def predict(self, image: NDArray[np.float32], /) -> NDArray[np.uint8]:
        """Return (rows, columns) classes of reflectance (bands, rows, columns)."""


def _package() -> ModuleType:
    return peer_package("cloudsen12_models.cloudsen12", "cloudsen12_models")


@lru_cache
def _model(name: str, folder: Path) -> _Model:
    model: _Model = _package().load_model_by_name(name=name, weights_folder=str(folder))
    return model
