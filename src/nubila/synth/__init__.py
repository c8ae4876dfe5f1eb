"""Synthetic scenes made from physics, with exact truth."""

from nubila.synth.geotiff import write_geotiff
from nubila.synth.landsat import write_landsat
from nubila.synth.product import WrittenProduct
from nubila.synth.safe import write_safe
from nubila.synth.scene import SyntheticScene, make_scene, random_chip

__all__ = [
    "SyntheticScene",
    "WrittenProduct",
    "make_scene",
    "random_chip",
    "write_geotiff",
    "write_landsat",
    "write_safe",
]
