"""From a scene to a mask: decode, run, decide, write, overlapped and in bounded memory."""

from nubila.infer.api import MaskResult, mask_scene, mask_to_folder
from nubila.infer.area import Area, read_area
from nubila.infer.batch import Outcome, mask_many
from nubila.infer.engine import Run, run_scene
from nubila.infer.mask import CloudMask
from nubila.infer.predict import predict
from nubila.infer.provenance import MaskOptions, Provenance
from nubila.infer.statistics import Statistics

__all__ = [
    "Area",
    "CloudMask",
    "MaskOptions",
    "MaskResult",
    "Outcome",
    "Provenance",
    "Run",
    "Statistics",
    "mask_many",
    "mask_scene",
    "mask_to_folder",
    "predict",
    "read_area",
    "run_scene",
]
