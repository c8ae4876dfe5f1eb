"""``nubila compare``: detectors of any kind on the same pixels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from nubila.cli.evaluate import progress_bar, samples_of, tell_unnamed
from nubila.cli.options import Bands, Data, Root, SideBySide, Split

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["compare"]

_PEER: Final = "ukis-csmask"


def compare(
    detectors: Annotated[
        list[str],
        typer.Argument(
            metavar="DETECTOR...",
            help="Models of nubila by name or ONNX file; ukis-csmask (6 bands where there are, at "
            "30 m), ukis-csmask-4, ukis-csmask-native, ukis-csmask-4-native (as fine as the "
            "image), s2cloudless, omnicloudmask, cloudsen12, product (its own SCL or QA_PIXEL), "
            "brightness. NAME+hflip, +vflip, +four or +eight is the mean over turns of the image. "
            "The others are compared with the first. all-clear and all-cloud always stand beside "
            "them.",
            show_default=False,
        ),
    ],
    data: Data,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FOLDER", help="Made if it is not there."),
    ] = Path("comparison"),
    root: Root = None,
    split: Split = None,
    bands: Bands = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where the weights of omnicloudmask and cloudsen12 lie, which are never "
            "downloaded; default: the environment variable NUBILA_PEER_WEIGHTS.",
        ),
    ] = None,
    threads: SideBySide = None,
    speed: Annotated[
        bool,
        typer.Option(
            "--speed",
            help="Also measure speed and peak memory, each detector in a process of its own on "
            "one synthetic image with one thread. Leave the machine alone meanwhile.",
        ),
    ] = False,
    speed_side: Annotated[
        int, typer.Option(min=64, metavar="PIXELS", help="Rows and columns of that image.")
    ] = 1024,
    peer: Annotated[
        str,
        typer.Option(metavar="DETECTOR", help="Give speeds as multiples of this one's too."),
    ] = _PEER,
) -> None:
    """Compare cloud detectors on the same pixels: scores, differences, speed, pictures.

    A detector that lacks what it needs of an image (a band, the level) is left
    out there, and the report says so. Differences from the first are taken on
    images that both judged, with bootstrap intervals over scenes.

    \b
    nubila compare compact ukis-csmask --data manifest.csv --split validation
    nubila compare compact s2cloudless product --dataset alps --root DATA --speed
    """  # noqa: D301 (the backslash is a backspace: what follows keeps its lines)
    from rich.console import Console

    from nubila.bands import parse_bands
    from nubila.evaluate.compare_detectors import compare_detectors, open_detectors
    from nubila.evaluate.compare_report import write_comparison
    from nubila.raster.atomic import make_folder

    opened = open_detectors(detectors, weights=weights)
    named = dict(zip(opened, detectors, strict=True))
    chosen = _peer(named, peer)
    shown = None if bands is None else parse_bands(bands)
    specs = samples_of(data, root, split, shown)
    make_folder(output)
    # First, so that what cannot be measured is known before hours of comparing.
    measured = _speed(named, speed_side, weights, chosen) if speed else None
    with progress_bar(len(specs)) as progress:
        comparison = compare_detectors(
            opened, specs, threads=threads or os.cpu_count() or 1, progress=progress
        )
    paths = write_comparison(
        comparison, opened, specs, output, split=split, bands=shown, speed=measured
    )
    tell_unnamed(comparison.unnamed)
    # A file or a pipe has no width of its own; 120 keeps every row on one line.
    console = Console() if Console().is_terminal else Console(width=120)
    for table in _tables(paths["scores"], measured):
        console.print(table)
    for path in paths.values():
        typer.echo(path)


def _peer(named: Mapping[str, str], peer: str) -> str:
    """Return what reports call the peer, a name or what was given for it; the default may lack."""
    from nubila.errors import InputError, nearest

    names = {given: name for name, given in named.items()} | {name: name for name in named}
    if peer not in names and peer != _PEER:
        raise InputError(
            f"--peer {peer}: no such detector is compared{nearest(peer, names)} "
            f"(compared: {', '.join(named)})"
        )
    return names.get(peer, peer)


def _speed(named: Mapping[str, str], side: int, weights: Path | None, peer: str) -> dict[str, Any]:
    from nubila.evaluate.compare_speed import ROUNDS, measure_speed, speed_document

    with progress_bar(len(named) * (ROUNDS + 1), "speed") as progress:
        found = measure_speed(named, side=side, weights=weights, progress=progress)
    return speed_document(found, side=side, threads=1, peer=peer)


def _tables(path: Path, speed: Mapping[str, Any] | None) -> list[Table]:
    import json

    scores = json.loads(path.read_text(encoding="utf-8"))
    found = [_scores(scores)]
    if scores["differences"]:
        found.append(_differences(scores))
    if speed and speed["detectors"]:
        found.append(_speeds(speed))
    return found


def _plain(title: str, caption: str, *columns: str) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(title=title, caption=caption, box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    return table


def _scores(scores: Mapping[str, Any]) -> Table:
    """Return the IoU of cloud and shadow by folder, in percent."""
    table = _plain(
        "IoU in percent, all pixels of a folder",
        "On the images that each detector judged; a dash is undefined or cannot be told.",
        *("folder, detector", "images", "cloud", "95 %", "no thin", "shadow", "all cloud"),
    )
    variant = "without thin cloud"
    folders = next(iter(scores["models"].values()))["folders"]
    for folder in ("all", *folders):
        table.add_row(folder, style="bold")
        for name, known in scores["models"].items():
            part = known["overall"] if folder == "all" else known["folders"][folder]
            if not part["images"]:
                continue
            thinless = known["variants"].get(variant, {}) if folder == "all" else {}
            low, high = part.get("cloud", {}).get("iou_interval") or (None, None)
            table.add_row(
                f"  {name}",
                str(part["images"]),
                _percent(part.get("cloud", {}).get("iou")),
                "-" if low is None else f"{_percent(low)}..{_percent(high)}",
                _percent(thinless.get("cloud", {}).get("iou")),
                _percent(part.get("cloud shadow", {}).get("iou")),
                _percent(part["all_cloud_iou"]),
            )
        table.add_section()
    return table


def _differences(scores: Mapping[str, Any]) -> Table:
    from nubila.evaluate.compare_detectors import BASELINES

    table = _plain(
        "Differences of IoU in percentage points, on images that both judged",
        "95 % intervals by the paired bootstrap over scenes; one that holds 0 may be chance.",
        *("detectors", "folder", "class", "scenes", "IoU", "95 %"),
    )
    for folder, pairs in {"all": scores["differences"], **scores["folder_differences"]}.items():
        for pair, classes in pairs.items():
            if pair.split(" − ")[0] in BASELINES:
                continue  # they are in the files
            for name in ("cloud", "cloud shadow"):
                if (values := classes.get(name)) is None:
                    continue
                low, high = values["iou_interval"]
                span = "-" if low is None else f"{100 * low:+.1f}..{100 * high:+.1f}"
                number = "-" if values["iou"] is None else f"{100 * values['iou']:+.1f}"
                table.add_row(pair, folder, name, str(values["scenes"]), number, span)
        table.add_section()
    return table


def _speeds(speed: Mapping[str, Any]) -> Table:
    side, peer = speed["image"]["rows"], speed["peer"]
    table = _plain(
        f"Speed on {side} x {side} pixels, one thread",
        f"Median of {speed['rounds']} rounds that take turns.",
        *(
            "detector",
            "Mpx/CPU s",
            "CPU s",
            f"x {speed['first']}",
            f"x {peer or 'peer'}",
            "peak MiB",
        ),
    )
    for name, found in speed["detectors"].items():
        times = "-" if found["times_peer"] is None else f"{found['times_peer']:.3g}"
        table.add_row(
            name,
            f"{found['megapixels_per_cpu_second']:.3g}",
            f"{found['cpu_seconds']:.3g}",
            f"{found['times_first']:.3g}",
            times,
            str(found["peak_mib"]),
        )
    return table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
