"""Weights of peers that their packages would fetch from the web: here they are found, or named."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final

from nubila.errors import MissingFileError, ModelError

__all__ = ["WEIGHTS_VARIABLE", "check_weights", "peer_package", "weights_folder"]

WEIGHTS_VARIABLE: Final = "NUBILA_PEER_WEIGHTS"


def weights_folder(given: Path | None) -> Path | None:
    """Return the folder of peers' weights: the one given, else that of the environment."""
    if given is not None:
        return given
    named = os.environ.get(WEIGHTS_VARIABLE, "")
    return Path(named) if named else None


def check_weights(package: str, folder: Path | None, files: Iterable[str]) -> Path:
    """Return the folder if it holds the files of a package.

    Args:
        package: for the message.
        folder: from `weights_folder`.
        files: names that the package gives its weights.

    Raises:
        MissingFileError: there is no folder, or a file is not in it; nothing is ever downloaded.
    """
    wanted = list(files)
    absent = [name for name in wanted if folder is None or not (folder / name).is_file()]
    if folder is not None and not absent:
        return folder
    where = "no folder of weights is named" if folder is None else f"{folder} lacks them"
    raise MissingFileError(
        f"{package} wants its weights, which nubila never downloads: {', '.join(absent)}; {where}. "
        f"Fetch them as the package's documentation says and name their folder with --weights, or "
        f"in the environment variable {WEIGHTS_VARIABLE}"
    )


def peer_package(module: str, project: str) -> ModuleType:
    """Import a peer's package, with its downloader kept from the web.

    Args:
        module: to import.
        project: what installs it.

    Raises:
        ModelError: it is not installed.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported
    try:
        return import_module(module)
    except ImportError as error:
        raise ModelError(
            f"{project} is not installed, and no extra of nubila brings it; run: pip install "
            f"{project}, and name the folder of its weights with --weights, or in the environment "
            f"variable {WEIGHTS_VARIABLE} ({error})"
        ) from error
