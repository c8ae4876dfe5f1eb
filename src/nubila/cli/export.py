"""`nubila export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["export"]


def export(
    run: Annotated[Path, typer.Argument(help="Run folder of nubila train.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="ONNX file to write.")],
    scores: Annotated[
        Path | None, typer.Option(help="scores.json of nubila evaluate, for the card.")
    ] = None,
) -> None:
    """Write a trained model as an ONNX file with its card, and a STAC item beside it."""
    from nubila.export import export_onnx

    written = export_onnx(run, output, scores=scores, report=lambda line: typer.echo(line))
    typer.echo(f"try it: nubila mask SCENE --model {written}")
