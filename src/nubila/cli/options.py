"""Options that several commands have, so that they are called and explained alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = ["Certain", "Changes", "Data", "Improbable", "Root", "SideBySide", "Split"]

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
SideBySide: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Images side by side; default: one a processor.")
]
Changes: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a value: optim.lr=1e-4.", metavar="KEY=VALUE"),
]
Improbable: TypeAlias = Annotated[
    float, typer.Option(min=0, max=1, help="A class below this probability is ruled out.")
]
Certain: TypeAlias = Annotated[
    float,
    typer.Option(min=0, max=1, help="A pixel is sure where one class is above this, others out."),
]
