"""Synthetic scenes made from physics, with exact truth."""

from nubila.synth.scene import SyntheticScene, make_scene, random_chip

__all__ = ["SyntheticScene", "make_scene", "random_chip"]
