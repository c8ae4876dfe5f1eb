"""``nubila info``: what was understood of a scene."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import Annotated, Any, Final

import typer

__all__ = ["info"]

# What several texts share is cut where a word of a path or of a sentence ends.
_END_OF_PART: Final = re.compile(r"[^/_ ']*$")
_START_OF_PART: Final = re.compile(r"^[^/_. ':]*")


def info(
    scene: Annotated[
        str,
        typer.Argument(help="Product folder or archive, raster, STAC item; a path or a URL."),
    ],
    bands: Annotated[
        str | None,
        typer.Option(help="Bands of a raster, in file order: blue,green,red,nir; '-' skips one."),
    ] = None,
    scale: Annotated[
        float | None, typer.Option(help="Reflectance = value x scale + offset, for rasters.")
    ] = None,
    offset: Annotated[float | None, typer.Option(help="See --scale.")] = None,
    nodata: Annotated[float | None, typer.Option(help="Value of a raster without data.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what nubila understands of a scene: sensor, level, bands, where scale and offset are
    from, no data, footprint, date, and what had to be assumed.

    Nothing is written. Of rasters without a scale a few blocks are looked at, to tell whether they
    can be reflectance; no other pixel is read.
    """
    import json

    from nubila.scenes import open_scenes
    from nubila.scenes.describe import describe

    found = [
        describe(each)
        for each in open_scenes(scene, bands=bands, scale=scale, offset=offset, nodata=nodata)
    ]
    if as_json:
        typer.echo(json.dumps(found[0] if len(found) == 1 else found, indent=2))
        return
    for each in found:
        _print(each)


def _print(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()

    def line(text: str, title: str = "", style: str = "yellow") -> None:
        # As Text, so that brackets in a path are no markup.
        console.print(Text.assemble((title, style), text), highlight=False, soft_wrap=True)

    line("", facts["id"], "bold")
    for label, text in _lines(facts):
        line(f"  {label:<12} {text}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("band", "label", "metres", "scale", "offset", "no data", "saturated"):
        table.add_column(column, justify="left" if column in ("band", "label") else "right")
    for band in facts["bands"]:
        table.add_row(*map(Text, _row(band)))
    if facts["bands"]:
        console.print(table)
    for source in _scale_sources(facts):
        line(f"  scale and offset from: {source}")
    for text in _missing(facts):
        line(f" {text}", "  missing:")
    for note in facts["notes"]:
        line(f" {note}", "  note:")


def _lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    from nubila.bands import platform_name

    rows, columns = facts["shape"]
    sun = facts["sun"]
    lines = [
        ("sensor", f"{platform_name(facts['platform'])} ({facts['sensor']})".strip()),
        ("level", facts["level"] or "unknown"),
        ("baseline", facts["baseline"] or "unknown"),
        ("acquired", facts["acquired"] or "unknown"),
    ]
    if rows and columns:
        crs = facts["crs"] or "no CRS"
        lines += [
            ("grid", f"{rows} x {columns} at {facts['resolution']:g} m, {crs}"),
            ("bounds", " ".join(f"{value:.10g}" for value in facts["bounds"])),
            ("masked at", f"{facts['default_resolution']:g} m unless told otherwise"),
        ]
    if facts["footprint"] is not None:
        lines += [("footprint", text) for text in _extents(facts["footprint"])]
    if sun is not None:
        lines.append(("sun", f"elevation {sun['elevation']:.1f}, azimuth {sun['azimuth']:.1f}"))
    if facts["masks"]:
        lines.append(("own masks", ", ".join(facts["masks"])))
    return lines


def _scale_sources(facts: dict[str, Any]) -> list[str]:
    """Return where scales and offsets are from, once for bands that differ only in their file."""
    kinds: dict[str, dict[str, None]] = {}
    for text in (band["scale_from"] for band in facts["bands"]):
        kind = re.sub(r"(?<=, asset )'.*?'|(?<=^tags of ).*", "", text)
        kinds.setdefault(kind, {})[text] = None
    return [_folded(list(texts), shown=3) for texts in kinds.values()]


def _missing(facts: dict[str, Any]) -> list[str]:
    """Return the missing files, those of one folder in one line."""
    paths = [path for band in facts["bands"] for path in band["missing"]]
    paths += [path for of_band in facts["missing"].values() for path in of_band]
    folders: dict[str, list[str]] = {}
    for path in dict.fromkeys(paths):
        folders.setdefault(path.rpartition("/")[0], []).append(path)
    return [
        (f"{len(same)} files: " if len(same) > 1 else "") + _folded(same, shown=13)
        for same in folders.values()
    ]


def _folded(texts: list[str], *, shown: int) -> str:
    """Return texts as one: what they begin and end with, and between braces what differs."""
    if len(texts) == 1:
        return texts[0]
    start = _END_OF_PART.sub("", _beginning(texts))
    rests = [text[len(start) :] for text in texts]
    end = _beginning([rest[::-1] for rest in rests])[::-1]
    end = _START_OF_PART.sub("", end)
    differing = [rest[: len(rest) - len(end)] for rest in rests]
    more = f" and {len(texts) - shown} more" if len(texts) > shown else ""
    return f"{start}{{{', '.join(differing[:shown])}{more}}}{end}"


def _beginning(texts: list[str]) -> str:
    """Return the letters that all texts begin with."""
    letters = zip(*texts, strict=False)
    return "".join(same[0] for same in takewhile(lambda each: len(set(each)) == 1, letters))


def _extents(footprint: dict[str, Any]) -> list[str]:
    """Return the extent of each polygon in degrees; there are two at the antimeridian."""
    coordinates = footprint["coordinates"]
    polygons = [coordinates] if footprint["type"] == "Polygon" else coordinates
    texts = []
    for polygon in polygons:
        longitudes, latitudes = zip(*(corner[:2] for corner in polygon[0]), strict=True)
        texts.append(
            f"longitude {min(longitudes):.3f} to {max(longitudes):.3f}, "
            f"latitude {min(latitudes):.3f} to {max(latitudes):.3f}"
        )
    return texts


def _row(band: dict[str, Any]) -> list[str]:
    def number(value: object) -> str:
        return "-" if value is None else value if isinstance(value, str) else f"{value:g}"

    metres = "/".join(f"{value:g}" for value in band["resolutions"]) or "no file"
    return [
        band["name"],
        band["label"],
        metres,
        number(band["scale"]),
        number(band["offset"]),
        number(band["nodata"]),
        number(band["saturated"]),
    ]
