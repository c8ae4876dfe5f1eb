"""A whole effort from one recipe: tile, train, export, evaluate, mask."""

from nubila.pipeline.run import StageResult, run_recipe

__all__ = ["StageResult", "run_recipe"]
