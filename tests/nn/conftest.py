"""torchvision may be built for another PyTorch: nubila.nn sees to that before a test imports it."""

from __future__ import annotations

import nubila.nn  # noqa: F401
