"""Lightning Fabric, imported after `nubila.nn` has mended torchvision, which Lightning imports."""

import nubila.nn  # noqa: F401 (see above)

# isort: split
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision, Precision
from lightning.fabric.wrappers import _FabricModule as FabricModule

__all__ = ["Fabric", "FabricModule", "MixedPrecision", "Precision"]
