"""``nubila synth``: synthetic scenes with exact truth, as products or a GeoTIFF."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from nubila.synth import WrittenProduct

__all__ = ["Format", "synth"]

_SCENE = "What is in the scene"


class Format(StrEnum):
    """What is written."""

    SAFE = "safe"
    LANDSAT = "landsat"
    GEOTIFF = "geotiff"


def synth(
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="Folder, made if it is not there; with --format geotiff, the file.",
            show_default=False,
        ),
    ],
    named: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            metavar="safe|landsat|geotiff",
            help="Sentinel-2, Landsat Collection 2, or plain.",
        ),
    ] = "safe",
    level: Annotated[
        str | None,
        typer.Option(help="L1C (default) or L2A; for Landsat L1TP (default) or L2SP."),
    ] = None,
    size: Annotated[
        int,
        typer.Option(help="Rows and columns at the finest resolution; a whole tile is 10980."),
    ] = 2048,
    seed: Annotated[int, typer.Option(help="Same seed, same scene.")] = 0,
    preset: Annotated[
        str,
        typer.Option(
            help="mixed, snow, desert, city, coast, ocean, overcast, cirrus, cumulus, clear, storm "
            "or 'thin stratus'.",
            rich_help_panel=_SCENE,
        ),
    ] = "mixed",
    biome: Annotated[
        str | None,
        typer.Option(help="Kind of landscape; default: of the preset.", rich_help_panel=_SCENE),
    ] = None,
    sky: Annotated[
        str | None,
        typer.Option(help="Kind of sky; default: of the preset.", rich_help_panel=_SCENE),
    ] = None,
    swath: Annotated[
        bool,
        typer.Option(
            "--swath",
            help="Cut the scene at the edge of the swath; Landsat products always are.",
            rich_help_panel=_SCENE,
        ),
    ] = False,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="SAFE: processing baseline; offsets from 04.00 on.", show_default="05.00"
        ),
    ] = None,
    sensor: Annotated[
        str | None,
        typer.Option(help="sentinel-2-msi, landsat-oli, landsat-etm+ or landsat-tm."),
    ] = None,
    gaps: Annotated[
        bool, typer.Option("--gaps", help="ETM+: with the gaps since 2003 (SLC-off).")
    ] = False,
    zipped: Annotated[
        bool, typer.Option("--zip", help="Pack the product: zip for Sentinel-2, tar for Landsat.")
    ] = False,
    resolution: Annotated[
        float | None, typer.Option(help="GeoTIFF: metres a pixel.", show_default="10")
    ] = None,
) -> None:
    """Make a synthetic scene with the true class of every pixel beside it.

    Physics make the pixels (surfaces, air, clouds with height and shadows), so the truth is exact.
    """
    from nubila.errors import InputError
    from nubila.synth import write_geotiff, write_landsat, write_safe

    format_ = _format(named)
    if zipped and format_ is Format.GEOTIFF:
        raise InputError("--zip packs products; a GeoTIFF is one file already, so leave it out")
    if format_ is Format.SAFE and sensor not in (None, "sentinel-2-msi"):
        raise typer.BadParameter(
            f"a SAFE is of sentinel-2-msi, not {sensor}", param_hint="--sensor"
        )
    if gaps and format_ is not Format.LANDSAT:
        raise typer.BadParameter("only --format landsat has gaps", param_hint="--gaps")
    if baseline is not None and format_ is not Format.SAFE:
        raise typer.BadParameter("only --format safe has one", param_hint="--baseline")
    if resolution is not None and format_ is not Format.GEOTIFF:
        raise typer.BadParameter(
            "products have their own; only --format geotiff takes one", param_hint="--resolution"
        )
    scene: dict[str, Any] = {"seed": seed, "preset": preset, "biome": biome, "sky": sky}
    with _progress(output.name or str(output)) as advance:
        if format_ is Format.SAFE:
            product = write_safe(
                output, size=size, level=level or "L1C",
                baseline="05.00" if baseline is None else baseline,
                swath=swath, zipped=zipped, progress=advance, **scene,
            )  # fmt: skip
        elif format_ is Format.LANDSAT:
            product = write_landsat(
                output, size=size, sensor=sensor or "landsat-oli", level=level or "L1TP",
                gaps=gaps, packed=zipped, progress=advance, **scene,
            )  # fmt: skip
        else:
            product = write_geotiff(
                output, shape=(size, size), resolution=10.0 if resolution is None else resolution,
                level=level or "L1C", sensor=sensor or "sentinel-2-msi", swath=swath,
                progress=advance, **scene,
            )  # fmt: skip
    _report(product)


def _format(name: str) -> Format:
    from nubila.errors import nearest

    try:
        return Format(name)
    except ValueError:  # Typer would tell it as one of Pydantic's
        told = f"no {name!r}{nearest(name, map(str, Format))} (known: {', '.join(Format)})"
        raise typer.BadParameter(told, param_hint="--format") from None


@contextmanager
def _progress(label: str) -> Iterator[Callable[[float], None]]:
    """Yield a function that moves a progress bar, which shows on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _report(product: WrittenProduct) -> None:
    typer.echo(f"product  {product.path}")
    for resolution, path in product.truth.items():
        typer.echo(f"truth    {path} ({resolution:g} m)")
    elevation, azimuth = product.sun
    typer.echo(f"sun      elevation {elevation:.1f} degrees, azimuth {azimuth:.1f} degrees")
    for name, share in product.shares.items():
        typer.echo(f"{name:13}{share:7.2%}")
