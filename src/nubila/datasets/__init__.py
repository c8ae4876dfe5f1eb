"""Labelled images: manifests that list them, and samples read from them."""

from nubila.datasets.codes import LabelCodes, output_sets, parse_codes
from nubila.datasets.manifest import SampleSpec, read_manifest
from nubila.datasets.sample import Sample, SampleMeta, load_sample

__all__ = [
    "LabelCodes",
    "Sample",
    "SampleMeta",
    "SampleSpec",
    "load_sample",
    "output_sets",
    "parse_codes",
    "read_manifest",
]
