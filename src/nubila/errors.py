"""Every error that nubila raises on purpose.

::

    NubilaError
    ├── InputError            what was given cannot be used
    │   ├── ProductError      a product on disk or web is not readable as one
    │   │   ├── MissingFileError     a file that the product names is not there
    │   │   ├── DamagedFileError     a file is there and cannot be decoded
    │   │   └── MetadataError        metadata are absent, unreadable, or contradict each other
    │   ├── BandError         a band name is unknown, or a needed band is missing
    │   ├── GridError         CRS, extent or shape do not fit; an area lies outside the scene
    │   ├── ModelError        a file is no nubila model, or cannot run on this input
    │   ├── RecipeError       a key or a value of a recipe is wrong
    │   └── ManifestError     a row or a column of a manifest is wrong
    ├── OutputError           the result cannot be written
    ├── MissingExtraError     an optional dependency is not installed
    └── BatchError            some scenes of a batch failed (the rest is done)

A message names the file, the value found, what was expected, and what to do. The command line
prints it without a traceback and exits with code 2.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable

__all__ = [
    "BandError",
    "BatchError",
    "DamagedFileError",
    "GridError",
    "InputError",
    "ManifestError",
    "MetadataError",
    "MissingExtraError",
    "MissingFileError",
    "ModelError",
    "NubilaError",
    "OutputError",
    "ProductError",
    "RecipeError",
    "command_line",
    "nearest",
    "reason",
]


class NubilaError(Exception):
    """Base of every error raised on purpose by nubila."""


class InputError(NubilaError):
    """What was given cannot be used."""


class ProductError(InputError):
    """A product on disk or on the web cannot be read as one."""


class MissingFileError(ProductError):
    """A file that a product names is not there."""


class DamagedFileError(ProductError):
    """A file is there but cannot be decoded."""


class MetadataError(ProductError):
    """Metadata are absent, unreadable, or contradict each other."""


class BandError(InputError):
    """A band name is unknown, or a band that is needed is missing."""


class GridError(InputError):
    """CRS, extent or shape do not fit together, or an area lies outside the scene."""


class ModelError(InputError):
    """A file is no nubila model, or the model cannot run on this input."""


class RecipeError(InputError):
    """A key or a value of a recipe is wrong."""


class ManifestError(InputError):
    """A row or a column of a manifest is wrong."""


class OutputError(NubilaError):
    """The result cannot be written."""


class MissingExtraError(NubilaError):
    """An optional dependency is not installed.

    >>> raise MissingExtraError("torch", extra="train")
    Traceback (most recent call last):
    nubila.errors.MissingExtraError: torch is not installed; run: pip install "nubila[train]"
    """

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(f'{package} is not installed; run: pip install "nubila[{extra}]"')


class BatchError(NubilaError):
    """Some scenes of a batch failed; the others are done."""


def command_line(*words: object) -> str:
    """Return a command, or a part of one, to be copied from a message to a shell.

    >>> command_line("nubila", "export", "my run", "-o", "model.onnx")
    "nubila export 'my run' -o model.onnx"
    """
    return shlex.join(map(str, words))


def reason(error: Exception) -> str:
    """Return why something failed; of the system's errors without their number and file.

    >>> reason(FileNotFoundError(2, "No such file or directory", "a.yaml"))
    'No such file or directory'
    """
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the choice nearest to `word`, or ``""`` for none.

    >>> nearest("gren", ["blue", "green"])
    "; did you mean 'green'?"
    """
    found = difflib.get_close_matches(word.lower(), list(choices), n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else ""
