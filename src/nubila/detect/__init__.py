"""Detectors of clouds, ours and others, as one type."""

from nubila.detect.detector import Detection, Detector, Output, View, as_detection, view_of
from nubila.detect.product import own_mask
from nubila.detect.registry import DETECTORS, open_detector

__all__ = [
    "DETECTORS",
    "Detection",
    "Detector",
    "Output",
    "View",
    "as_detection",
    "open_detector",
    "own_mask",
    "view_of",
]
