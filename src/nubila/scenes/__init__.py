"""Readers of products, each giving the same lazy `Scene`."""

from nubila.scenes.scene import Band, BandFile, Pixels, RasterSource, Saturation, Scene

__all__ = ["Band", "BandFile", "Pixels", "RasterSource", "Saturation", "Scene"]
