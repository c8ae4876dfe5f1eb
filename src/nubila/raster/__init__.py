"""Windows, grids, resampling and raster files; knows neither products nor models."""

from nubila.raster.grid import Grid, Window

__all__ = ["Grid", "Window"]
