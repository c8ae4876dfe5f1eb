"""nubila's own models as detectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from nubila.detect.detector import Detection, Output, View, as_detection, refusal
from nubila.infer import MaskOptions
from nubila.infer.delivery import mask_in_memory, prepare
from nubila.models_io import Model
from nubila.scenes.array import scene_from_array

__all__ = ["ModelDetector"]

# Stands in where nobody knows; pixels are never resampled here.
_UNKNOWN_RESOLUTION: Final = 10.0


@dataclass(frozen=True)
class ModelDetector:
    """A model file of nubila's, run as ``nubila mask`` runs it.

    Attributes:
        model: the loaded file.
    """

    model: Model

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.model.card.name

    @property
    def version(self) -> str:
        """The first digits of the file's SHA-256."""
        return self.model.sha256[:12]

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What it tells apart."""
        card = self.model.card
        meant = (card.stands_for.get(name, (name,)) for name in card.classes)
        return tuple(Output(*pair) for pair in zip(card.class_codes, meant, strict=True))

    def lacks(self, view: View) -> str:
        """Return what it would need to judge a view, in words; empty if it can."""
        needed = (band.name for band in self.model.card.bands if band.required)
        # As `nubila.scenes.Scene.band` has it, either near infrared stands in for the other.
        wide = view.band("nir") is not None
        return view.missing(name for name in needed if not (name == "nir08" and wide))

    def detect(self, view: View) -> Detection:
        """Judge a view.

        Raises:
            BandError: it cannot; the message says what it lacks.
        """
        if self.lacks(view):
            raise refusal(self, view)
        scene = scene_from_array(
            view.image,
            view.bands,
            scale=1.0,  # views are reflectance already
            resolution=view.resolution or _UNKNOWN_RESOLUTION,
            name=view.name,
        )
        graded = self.model.card.output in ("probabilities", "logits")
        task = prepare(scene, self.model, MaskOptions(picture=False, probabilities=graded))
        mask = mask_in_memory(task, threads=1, progress=None)
        if mask.probabilities is None:
            return as_detection(mask.classes, self.outputs)
        found = np.asarray(mask.probabilities, np.float32)
        return Detection(found, self.outputs, decision=self.model.card.decision)
