"""Hard cases: images on which cloud detectors are known to fail, and what a detector makes of them.

Synthetic scenes are built in; images of one's own come from a manifest with a column ``case``, and
labelled spectra of glaciers from the files of a published collection.
"""

from nubila.evaluate.hard.case import CASES, HardImage
from nubila.evaluate.hard.listed import listed_images
from nubila.evaluate.hard.report import write_hard_cases
from nubila.evaluate.hard.run import Figures, Judged, judge_images
from nubila.evaluate.hard.spectra import spectra_images
from nubila.evaluate.hard.synthetic import synthetic_images

__all__ = [
    "CASES",
    "Figures",
    "HardImage",
    "Judged",
    "judge_images",
    "listed_images",
    "spectra_images",
    "synthetic_images",
    "write_hard_cases",
]
