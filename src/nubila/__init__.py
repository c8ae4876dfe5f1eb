"""nubila finds clouds, thin clouds and cloud shadows, snow and water in satellite images."""

from __future__ import annotations

from nubila._version import __version__

__all__ = ["__version__"]
