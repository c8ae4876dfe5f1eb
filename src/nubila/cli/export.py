"""`nubila export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nubila.cli.options import check_onnx

__all__ = ["export"]

_GRAPH = "What the graph takes and gives"
_VARIANTS = "Variants (each kept only if it is as fast, and as good within --tolerance)"


def export(
    run: Annotated[Path, typer.Argument(help="Run folder of nubila train.", show_default=False)],
    output: Annotated[Path, typer.Option("--output-file", "-o", help="ONNX file to write.")],
    scores: Annotated[
        Path | None,
        typer.Option(
            help="scores.json of nubila evaluate on the file that is at -o now, for its card."
        ),
    ] = None,
    gives: Annotated[
        str | None,
        typer.Option(
            "--output",
            metavar="KIND",
            help="probabilities, logits, classes or mask (1 cloud, 0 not); default: the recipe's.",
            rich_help_panel=_GRAPH,
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Fixed height and width; default: any.", rich_help_panel=_GRAPH),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(help="Fixed number of images; default: any.", rich_help_panel=_GRAPH),
    ] = None,
    flips: Annotated[
        str,
        typer.Option(
            help="Mean over turned images: none, horizontal, four or eight.",
            rich_help_panel=_VARIANTS,
        ),
    ] = "none",
    fp16: Annotated[
        bool, typer.Option("--fp16", help="Weights in half precision.", rich_help_panel=_VARIANTS)
    ] = False,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Convolutions in 8-bit integers, calibrated on training images.",
            rich_help_panel=_VARIANTS,
        ),
    ] = False,
    prune: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Take out this share of the channels that can go, then train on.",
            rich_help_panel=_VARIANTS,
        ),
    ] = 0.0,
    finetune: Annotated[
        int, typer.Option(help="Steps to train after pruning.", rich_help_panel=_VARIANTS)
    ] = 200,
    tolerance: Annotated[
        float,
        typer.Option(help="Cloud IoU that a variant may lose.", rich_help_panel=_VARIANTS),
    ] = 0.005,
    force: Annotated[
        bool,
        typer.Option("--force", help="Keep every variant.", rich_help_panel=_VARIANTS),
    ] = False,
) -> None:
    """Write a trained model as an ONNX file with its card, and a STAC item beside it.

    What the file gives is held to PyTorch on validation images. Variants are
    measured beside it on the validation split: size, speed and cloud IoU go
    into variants.json.

    \b
    nubila export runs/default -o compact.onnx
    nubila export runs/tiny -o tiny.onnx --output mask --size 224
    nubila export runs/default -o compact.onnx --fp16 --int8 --prune 0.3
    """  # noqa: D301 (the backslashes are backspaces: what follows keeps its lines)
    from nubila.errors import InputError, command_line

    check_onnx(output)
    if not (run / "recipe.yaml").is_file():
        raise InputError(f"{run}: no run folder of nubila train: there is no recipe.yaml in it")
    from nubila.export import ExportOptions, export_onnx

    options = ExportOptions(
        output=_kind(gives),
        size=size,
        batch=batch,
        flips=flips,
        fp16=fp16,
        int8=int8,
        prune=prune,
        finetune=finetune,
        tolerance=tolerance,
        force=force,
    )
    written = export_onnx(
        run, output, scores=scores, options=options, report=lambda line: typer.echo(line)
    )
    typer.echo(f"try it: {command_line('nubila', 'mask', 'SCENE', '--model', written)}")


def _kind(text: str | None) -> Any:  # noqa: ANN401 (a literal, checked here)
    from nubila.errors import InputError, nearest
    from nubila.export.options import OUTPUTS

    if text is not None and text not in OUTPUTS:
        raise InputError(
            f"--output is one of {', '.join(OUTPUTS)}; got {text!r}{nearest(text, OUTPUTS)}. The "
            f"file to write goes with -o"
        )
    return text
