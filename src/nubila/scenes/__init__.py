"""Readers of products, each giving the same lazy `Scene`."""

from nubila.scenes.open import open_scene, open_scenes
from nubila.scenes.scene import Band, BandFile, Pixels, RasterSource, Saturation, Scene

__all__ = [
    "Band",
    "BandFile",
    "Pixels",
    "RasterSource",
    "Saturation",
    "Scene",
    "open_scene",
    "open_scenes",
]
