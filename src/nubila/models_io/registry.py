"""The models that ship with nubila, and finding a model by name or path."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from nubila.errors import ModelError, nearest

__all__ = ["WEIGHTS", "find_model", "list_models"]

# Each shipped model is one file here, named after its card.
WEIGHTS: Final = Path(__file__).parent / "weights"


# In 8-bit integers: twice as fast as the same network in single precision, and as good.
_DEFAULT: Final = "compact-int8"


def list_models() -> dict[str, Path]:
    """Return the shipped models' names and files; the first is the default."""
    files = {file.stem: file for file in WEIGHTS.glob("*.onnx")}
    return {name: files[name] for name in sorted(files, key=lambda n: (n != _DEFAULT, n))}


def find_model(model: str | Path | None = None) -> Path:
    """Return the file of a model.

    Args:
        model: name of a shipped model, or path of an ONNX file, as a `Path` always is; default
            the first that ships.

    Raises:
        ModelError: there is no such model; the message suggests the nearest.
    """
    shipped = list_models()
    if model is None:
        if not shipped:
            raise ModelError(f"no model ships with this installation ({WEIGHTS}); name a file")
        return next(iter(shipped.values()))
    if isinstance(model, str) and model in shipped:
        return shipped[model]
    path = Path(model).expanduser()
    if path.is_file():
        return path
    known = ", ".join(shipped) or "none"
    raise ModelError(
        f"no model {str(model)!r}{nearest(str(model), shipped)} "
        f"(shipped: {known}), and no such file either"
    )
