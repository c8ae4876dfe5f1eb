"""Labelled images: collections and manifests that list them, and samples read from them."""

from nubila.datasets.check import CheckResult, check_collection, check_manifest
from nubila.datasets.codes import LabelCodes, output_sets, parse_codes, unnamed_told
from nubila.datasets.collections import (
    COLLECTIONS,
    Collection,
    collection_rows,
    read_collection,
)
from nubila.datasets.download import get_collection
from nubila.datasets.manifest import SampleSpec, read_manifest, write_manifest
from nubila.datasets.mosaic import assemble, mosaic, scene_groups
from nubila.datasets.sample import Sample, SampleMeta, load_sample

__all__ = [
    "COLLECTIONS",
    "CheckResult",
    "Collection",
    "LabelCodes",
    "Sample",
    "SampleMeta",
    "SampleSpec",
    "assemble",
    "check_collection",
    "check_manifest",
    "collection_rows",
    "get_collection",
    "load_sample",
    "mosaic",
    "output_sets",
    "parse_codes",
    "read_collection",
    "read_manifest",
    "scene_groups",
    "unnamed_told",
    "write_manifest",
]
