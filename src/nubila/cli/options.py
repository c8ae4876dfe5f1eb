"""Options that several commands have, so that they are called and explained alike."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = [
    "Bands",
    "Certain",
    "Changes",
    "Data",
    "Improbable",
    "Root",
    "SideBySide",
    "Split",
    "check_onnx",
    "keep_inputs",
    "keep_others",
]

Data: TypeAlias = Annotated[
    str,
    typer.Option(
        "--on",
        "--data",
        "--dataset",
        metavar="MANIFEST|COLLECTION",
        help="Table that lists images and masks, or the name of a collection (nubila data "
        "list), which needs --root.",
        show_default=False,
    ),
]
Root: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="What paths are relative to (default: the manifest's folder), or where the "
        "collection lies.",
    ),
]
Split: TypeAlias = Annotated[
    str | None, typer.Option(help="Only the rows of this split; default: all.")
]
Bands: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Show only these bands of the images: blue,green,red. Scores what is left where the "
        "others are missing; default: all.",
        show_default=False,
    ),
]
SideBySide: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Images side by side; default: one a processor.")
]
Changes: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Change a value: optim.lr=1e-4. Paths are taken from the recipe's folder, as in it.",
        metavar="KEY=VALUE",
    ),
]
Improbable: TypeAlias = Annotated[
    float, typer.Option(min=0, max=1, help="A class below this probability is ruled out.")
]
Certain: TypeAlias = Annotated[
    float,
    typer.Option(min=0, max=1, help="A pixel is sure where one class is above this, others out."),
]


def check_onnx(output: Path) -> None:
    """Raise if a model would be written to what is no name of an ONNX file, or to a folder.

    Args:
        output: the file to write.

    Raises:
        InputError: it does not end in .onnx, or is a folder.
    """
    from nubila.errors import InputError

    if output.is_dir():
        raise InputError(f"{output}: this is a folder; name the ONNX file to write with -o")
    if output.suffix != ".onnx":
        raise InputError(f"{output}: expected a name that ends in .onnx; name the model so with -o")


def keep_inputs(output: Path, inputs: Iterable[str | Path | None]) -> None:
    """Raise if a file that a command reads would be replaced by what it writes.

    Args:
        output: the file to write.
        inputs: files that are read; names of what is no file, and None, are passed over.

    Raises:
        InputError: the output is one of them.
    """
    from nubila.errors import InputError

    for given in inputs:
        if given is not None and _same(Path(given), output):
            raise InputError(f"{output}: is read and would be replaced; name another with -o")


def keep_others(manifest: Path) -> None:
    """Raise if a table that a command would write stands there and was not made by such a command.

    Args:
        manifest: the table to write; one with a column ``sure`` is an earlier one.

    Raises:
        InputError: it stands there without that column.
        ManifestError: it stands there and cannot be read.
    """
    from nubila.datasets.manifest import manifest_rows
    from nubila.errors import InputError

    if manifest.exists() and not any("sure" in cells for _, cells in manifest_rows(manifest)):
        raise InputError(
            f"{manifest}: is there already and has no column 'sure', so that this command has not "
            f"made it; name another folder with -o"
        )


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)
