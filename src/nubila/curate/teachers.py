"""What pseudo-labels are made by: any detector, or predictions that are kept in a folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from nubila.classes import CLASS_NAMES, class_code
from nubila.curate.predictions import Predictions, open_predictions
from nubila.detect import FLIPS, Detection, Detector, Output, View, open_detector
from nubila.errors import BandError, InputError

__all__ = ["KeptDetector", "open_teacher", "outputs_of"]


@dataclass(frozen=True)
class KeptDetector:
    """Kept predictions as a detector of the samples that they are of.

    A view is known by its name alone, so that its pixels must not be turned.

    Attributes:
        predictions: by sample id.
    """

    predictions: Predictions

    @property
    def name(self) -> str:
        """What reports call it."""
        return str(self.predictions.folder)

    @property
    def version(self) -> str:
        """What tells them from those of another time: a hash of what made each, of which image."""
        rows = sorted((row.id, row.model, row.digest) for row in self.predictions.values())
        return hashlib.sha256(repr(rows).encode()).hexdigest()[:12]

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What it tells apart."""
        return outputs_of(self.predictions)

    def lacks(self, view: View) -> str:
        """Return what it would need to judge a view, in words; empty if it can."""
        return "" if view.name in self.predictions else f"no prediction in {self.name}"

    def detect(self, view: View) -> Detection:
        """Return what is kept of a view.

        Raises:
            BandError: there is no prediction of it.
            InputError: the prediction cannot be read, or is of an image of another size.
        """
        if lacking := self.lacks(view):
            raise BandError(f"{view.name}: {lacking}")
        found = self.predictions.read(view.name)
        if found.shape[1:] != view.image.shape[1:]:
            raise InputError(
                f"{self.name}: the prediction of {view.name} has {found.shape[1]} x "
                f"{found.shape[2]} pixels, its image {view.image.shape[1]} x "
                f"{view.image.shape[2]}; predict anew"
            )
        # Kept in steps of 0.4 %; what that takes from their sum is given back.
        shares = found / found.sum(axis=0).clip(1e-6)
        return Detection(shares, self.outputs, decision=self.predictions[view.name].decision)


def open_teacher(name: str) -> Detector:
    """Return a folder of kept predictions, or any detector, as a detector.

    Args:
        name: a folder, or as `detect.open_detector` takes it.

    Raises:
        InputError: the folder holds no predictions, or their flips are asked for.
        NubilaError: whatever `detect.open_detector` raises.
    """
    whole, plus, flips = name.rpartition("+")
    if plus and flips in FLIPS and Path(whole).is_dir():
        raise InputError(
            f"{name!r}: predictions that are kept cannot be flipped any more; name the detector "
            f"that made them, with its flips"
        )
    return KeptDetector(open_predictions(name)) if Path(name).is_dir() else open_detector(name)


def outputs_of(predictions: Predictions) -> tuple[Output, ...]:
    """Return what kept predictions tell apart, as detectors say it."""
    return tuple(
        Output(
            class_code(output.name),
            tuple(name for code, name in CLASS_NAMES.items() if output.classes >> code & 1),
        )
        for output in predictions.outputs
    )
