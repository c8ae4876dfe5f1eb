"""A trained network as a detector, straight from its checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nubila.classes import DecisionRule, class_code
from nubila.datasets.order import order_bands
from nubila.datasets.sample import unseen
from nubila.detect import Detection, Output, View, refusal
from nubila.nn import Segmenter
from nubila.recipe import Recipe
from nubila.scenes.statistics import scene_statistics
from nubila.train.state import load_weights
from nubila.train.validate import logits_of, statistics_of

__all__ = ["NetworkDetector", "network_probabilities", "network_version"]


@dataclass(frozen=True)
class NetworkDetector:
    """The averaged weights of a checkpoint; in PyTorch, so that nothing has to be exported.

    Attributes:
        name: what tells it from any other, as `network_version` with its folder gives it.
        network: in evaluation mode.
        recipe: for bands and classes.
    """

    name: str
    network: Segmenter
    recipe: Recipe

    @classmethod
    def of(cls, checkpoint: Path, recipe: Recipe) -> NetworkDetector:
        """Load a checkpoint.

        Raises:
            NubilaError: there is no such file, or it is no checkpoint of nubila's.
        """
        name = network_version(checkpoint.parent.name, checkpoint, recipe.export.decision)
        return cls(name, load_weights(checkpoint), recipe)

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What it tells apart."""
        return tuple(Output(class_code(n), tuple(m)) for n, m in self.recipe.classes.items())

    def lacks(self, view: View) -> str:
        """Return what it would need to judge a view, in words; empty if it can."""
        return view.missing(self.recipe.required)

    def detect(self, view: View) -> Detection:
        """Judge a view; pixels where a band that is required has no data are not judged.

        Raises:
            BandError: a band is absent.
        """
        if self.lacks(view):
            raise refusal(self, view)
        found = network_probabilities(self.network, self.recipe, view.image, view.bands)
        return Detection(found, self.outputs, decision=self.recipe.export.decision)


def network_version(name: str, checkpoint: Path, decision: DecisionRule) -> str:
    """Return what tells a network from others, and from itself with classes decided otherwise."""
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    return f"{name}@{digest[:12]}{'-kind' if decision == 'kind' else ''}"


def network_probabilities(
    network: Segmenter, recipe: Recipe, image: NDArray[np.float32], bands: Sequence[str]
) -> NDArray[np.float32]:
    """Return (outputs, rows, columns), NaN where a band that is required has no data.

    Args:
        network: in evaluation mode.
        recipe: of its training.
        image: (bands, rows, columns), NaN for no data.
        bands: common names of the image's bands.

    Raises:
        ManifestError: a band that is required is absent.
    """
    image = order_bands(image, bands, recipe.bands, recipe.required)
    names = statistics_of(network)
    statistics = torch.from_numpy(scene_statistics(image, names))[None] if names else None
    found: NDArray[np.float32] = logits_of(network, image, statistics).softmax(dim=0).numpy()
    needed = [recipe.bands.index(name) for name in recipe.required]
    # Where nothing is required, a pixel is judged by whatever it has.
    lacking = np.isnan(image[needed]).any(axis=0) if needed else unseen(image, recipe.bands)
    found[:, lacking] = np.nan
    return found
