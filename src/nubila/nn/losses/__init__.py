"""Losses for labels that allow several classes a pixel."""

from nubila.nn.losses.build import Loss, build_loss, needs_counts, needs_teacher
from nubila.nn.losses.pixelwise import partial_cross_entropy

__all__ = ["Loss", "build_loss", "needs_counts", "needs_teacher", "partial_cross_entropy"]
