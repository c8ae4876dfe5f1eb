"""nubila finds clouds, thin clouds and cloud shadows, snow and water in satellite images.

>>> import nubila
>>> scene = nubila.open_scene("S2A_MSIL1C_20210908T042701.SAFE")  # doctest: +SKIP
>>> mask = nubila.mask_scene(scene)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nubila._version import __version__

if TYPE_CHECKING:
    from nubila.infer import CloudMask, mask_scene, predict
    from nubila.models_io import list_models, load_model
    from nubila.scenes.open import open_scene, open_scenes

__all__ = [
    "CloudMask",
    "__version__",
    "list_models",
    "load_model",
    "mask_scene",
    "open_scene",
    "open_scenes",
    "predict",
]

# Public name -> module, imported on first use, so that `import nubila` takes no time.
_HOMES = {
    "CloudMask": "nubila.infer",
    "list_models": "nubila.models_io",
    "load_model": "nubila.models_io",
    "mask_scene": "nubila.infer",
    "open_scene": "nubila.scenes.open",
    "open_scenes": "nubila.scenes.open",
    "predict": "nubila.infer",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 (whatever the public name stands for)
    if name not in _HOMES:
        raise AttributeError(f"module 'nubila' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
