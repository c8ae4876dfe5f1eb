"""Detectors of clouds, ours and others, as one type."""

from nubila.detect.detector import (
    Detection,
    Detector,
    Output,
    View,
    as_detection,
    refusal,
    view_of,
)
from nubila.detect.flipped import FLIPS, Flipped, flipped
from nubila.detect.product import own_mask
from nubila.detect.registry import DETECTORS, open_detector
from nubila.detect.version import version_of

__all__ = [
    "DETECTORS",
    "FLIPS",
    "Detection",
    "Detector",
    "Flipped",
    "Output",
    "View",
    "as_detection",
    "flipped",
    "open_detector",
    "own_mask",
    "refusal",
    "version_of",
    "view_of",
]
