"""``nubila data tile``, ``stats`` and ``show``: cut, count and look at labelled images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from nubila.datasets import SampleSpec
    from nubila.recipe.data import Tiling
    from nubila.tiles import Tally, TileStore
    from nubila.tiles.sheet import Frame

__all__ = ["show", "stats", "tile"]

_WHICH = "Which tiles"

_Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A manifest, the name of a collection (see nubila data list) with --root, or a "
        "tile store.",
        show_default=False,
    ),
]
_Root = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Where the collection lies, or what a manifest's paths are relative to.",
    ),
]
_Split = Annotated[str | None, typer.Option(help="Only this split; default: all.")]
_Workers = Annotated[
    int | None, typer.Option(min=1, help="Images side by side; default: one a processor.")
]


def tile(
    source: _Source,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="STORE", help="Folder of the tile store.")
    ],
    root: _Root = None,
    size: Annotated[int, typer.Option(help="Rows and columns of a tile.")] = 256,
    overlap: Annotated[int, typer.Option(help="Pixels that neighbours share.")] = 0,
    resolution: Annotated[
        float | None, typer.Option(help="Metres that images are brought to; default: their own.")
    ] = None,
    bands: Annotated[
        str | None, typer.Option(help="Of the tiles, in this order; default: all there are.")
    ] = None,
    required: Annotated[str, typer.Option(help="Bands that every image must have.")] = "",
    least_valid: Annotated[
        float, typer.Option(help="Least share of pixels with data.", rich_help_panel=_WHICH)
    ] = 0.0,
    least_share: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS=SHARE",
            help="Least share of a class; may be repeated.",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    windows: Annotated[
        int,
        typer.Option(
            help="So many random windows an image, in place of all tiles.", rich_help_panel=_WHICH
        ),
    ] = 0,
    date: Annotated[
        list[str] | None,
        typer.Option(
            metavar="YYYY-MM-DD",
            help="Only images of this date; may be repeated.",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    deal: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPLIT=SHARE",
            help="Deal groups without a split out to splits; may be repeated.",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of windows and splits.")] = 0,
    workers: _Workers = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Replace a store that was made otherwise.")
    ] = False,
) -> None:
    """Cut labelled images into a tile store, going on where a killed run stopped."""
    import time

    from nubila.bands import parse_bands
    from nubila.errors import InputError
    from nubila.tiles import is_store, write_store

    if is_store(source):
        raise InputError(f"{source}: a tile store already; name a manifest or a collection")
    tiling = _tiling(
        size=size, overlap=overlap, resolution=resolution, least_valid=least_valid,
        least_share=_shares(least_share, "--least-share"), windows=windows,
        dates=tuple(date or ()), splits=_shares(deal, "--deal"), seed=seed,
    )  # fmt: skip
    specs = _specs(source, root, None)
    start = time.monotonic()
    with _progress("images") as progress:
        store = write_store(
            specs, output, tiling, bands=parse_bands(bands) if bands else _every_band(specs),
            required=parse_bands(required) if required else (), workers=workers,
            refresh=refresh, progress=progress,
        )  # fmt: skip
    _report_store(store, time.monotonic() - start)


def stats(
    source: _Source,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Made if it is not there.")
    ] = Path("statistics"),
    root: _Root = None,
    split: _Split = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=CLASS|CLASS;...",
            help="What counts as one class; default: clear (with shadow, snow, water) and cloud "
            "(with thin cloud).",
        ),
    ] = None,
    workers: _Workers = None,
) -> None:
    """Count pixels by class and describe each band: statistics.json and statistics.png."""
    from nubila.raster.atomic import atomic_path, make_folder
    from nubila.tiles import is_store, tally_samples, tally_store
    from nubila.tiles.chart import draw_tally
    from nubila.tiles.statistics import BINARY

    wanted = _classes(classes) if classes else BINARY
    with _progress("tiles" if is_store(source) else "images") as progress:
        if is_store(source):
            tally = tally_store(_store(source, split), wanted, progress=progress)
        else:
            specs = _specs(source, root, split)
            tally = tally_samples(specs, wanted, workers=workers, progress=progress)
    make_folder(output)
    with atomic_path(output / "statistics.json") as path:
        path.write_text(json.dumps(tally.describe(), indent=2) + "\n")
    title = f"{Path(source).name}, {f'split {split}' if split else 'all splits'}"
    draw_tally(tally, output / "statistics.png", title=title)
    _print_tally(tally, title)
    for name in ("statistics.json", "statistics.png"):
        typer.echo(output / name)


def show(
    source: _Source,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="PNG", help="The contact sheet.")
    ] = Path("sheet.png"),
    root: _Root = None,
    split: _Split = None,
    count: Annotated[int, typer.Option(min=1, help="Images, evenly spread over all.")] = 12,
    match: Annotated[str, typer.Option(help="Only those whose id holds this text.")] = "",
    side: Annotated[int, typer.Option(min=32, help="Pixels of a picture's side.")] = 200,
) -> None:
    """Draw a contact sheet: image, label, and label over image."""
    from nubila.raster.atomic import atomic_path
    from nubila.tiles import is_store
    from nubila.tiles.sheet import contact_sheet

    if is_store(source):
        frames = _tile_frames(_store(source, split), count, match)
    else:
        frames = _sample_frames(_specs(source, root, split), count, match)
    with _progress("pictures") as progress:
        page = contact_sheet(_counted(frames, count, progress), side=side)
    with atomic_path(output) as path:
        page.save(path, format="PNG")
    typer.echo(output)


def _specs(source: str, root: Path | None, split: str | None) -> Sequence[SampleSpec]:
    """Return the samples of a manifest, or of a collection in its published layout."""
    from nubila.datasets import read_collection, read_manifest
    from nubila.errors import ManifestError

    if Path(source).is_file():
        return read_manifest(source, root=root, split=split)
    if Path(source).suffix or (Path(source).is_dir() and root is None):
        raise ManifestError(f"{source}: neither a manifest nor a tile store")
    if root is None:
        raise ManifestError(f"{source}: no such file; for a collection say where it lies: --root")
    return read_collection(source, root, split)


def _store(source: str, split: str | None) -> TileStore:
    from nubila.tiles import open_store

    store = open_store(source)
    return store if split is None else store.select(split)


def _every_band(specs: Sequence[SampleSpec]) -> tuple[str, ...]:
    from nubila.bands import BANDS

    there = {band for spec in specs for band in spec.bands}
    return tuple(name for name in BANDS if name in there)


def _tiling(**values: Any) -> Tiling:  # noqa: ANN401 (each of its own type)
    from pydantic import ValidationError

    from nubila.errors import InputError
    from nubila.recipe.data import Tiling

    try:
        return Tiling(**values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        option = "--" + "-".join(str(part) for part in problem["loc"][:1]).replace("_", "-")
        text = problem["msg"].removeprefix("Value error, ")
        raise InputError(f"{option if problem['loc'] else 'tiling'}: {text}") from error


def _shares(texts: Sequence[str] | None, option: str) -> dict[str, float]:
    from nubila.errors import InputError

    found: dict[str, float] = {}
    for text in texts or ():
        name, _, share = text.partition("=")
        try:
            found[name.strip()] = float(share)
        except ValueError as error:
            raise InputError(
                f"{option} {text!r}: expected name=share, such as cloud=0.05"
            ) from error
    return found


def _classes(text: str) -> dict[str, tuple[str, ...]]:
    from nubila.classes import CLASS_NAMES, class_code
    from nubila.errors import InputError

    found: dict[str, tuple[str, ...]] = {}
    for entry in filter(None, (part.strip() for part in text.split(";"))):
        name, sign, members = entry.partition("=")
        if not sign:
            raise InputError(f"--classes {entry!r}: expected name=class or name=class|class")
        found[name.strip()] = tuple(CLASS_NAMES[class_code(m)] for m in members.split("|"))
    return found


def _spread(places: Sequence[int], count: int) -> list[int]:
    """Return so many of the places, evenly over all."""
    if len(places) <= count:
        return list(places)
    return [places[i * (len(places) - 1) // max(count - 1, 1)] for i in range(count)]


def _sample_frames(specs: Sequence[SampleSpec], count: int, match: str) -> Iterator[Frame]:
    from nubila.datasets import load_sample
    from nubila.tiles.sheet import Frame

    for place in _spread(_matching([spec.id for spec in specs], match), count):
        sample = load_sample(specs[place])
        caption = f"{sample.meta.id}  {sample.meta.split}"
        yield Frame(caption, sample.image, sample.label, sample.bands)


def _tile_frames(store: TileStore, count: int, match: str) -> Iterator[Frame]:
    from nubila.tiles.sheet import Frame

    for place in _spread(_matching(store.column("id").tolist(), match), count):
        found = store[place]
        caption = f"{found.id}  {found.corner}  {found.split}"
        yield Frame(caption, found.image, found.label, store.bands)


def _matching(ids: Sequence[str], match: str) -> list[int]:
    from nubila.errors import InputError, nearest

    places = [i for i, name in enumerate(ids) if match in name]
    if not places:
        raise InputError(f"--match {match!r}: no id holds it{nearest(match, ids)}")
    return places


def _counted(
    frames: Iterator[Frame], count: int, progress: Callable[[int, int], None] | None
) -> Iterator[Frame]:
    for number, frame in enumerate(frames, 1):
        yield frame
        if progress is not None:
            progress(number, count)


@contextmanager
def _progress(label: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar while images are done; nothing where standard error is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = TextColumn(label), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _report_store(store: TileStore, seconds: float) -> None:
    size = store.tiling["size"]
    pixels = len(store) * size * size / 1e6
    typer.echo(f"store    {store.path}")
    typer.echo(f"tiles    {len(store)} of {size} x {size}, {pixels:.1f} Mpx in {seconds:.1f} s")
    typer.echo(f"bands    {', '.join(store.bands)}")
    for split, count in store.splits.items():
        groups = len(set(store.column("group")[store.column("split") == split]))
        typer.echo(f"split    {split or 'none'}: {count} tiles of {groups} groups")


def _print_tally(tally: Tally, title: str) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    # A file or a pipe has no width of its own; 100 keeps every row on one line.
    console = Console() if Console().is_terminal else Console(width=100)
    found = tally.describe()
    table = Table(title=f"{title}: {found['images']} images", box=SIMPLE)
    for name in ("class", "pixels", *(rule.replace("_", " ") for rule in found["class_weights"])):
        table.add_column(name, justify="left" if name == "class" else "right")
    for name, count in found["counts"].items():
        weights = [f"{rule[name]:.4f}" for rule in found["class_weights"].values()]
        table.add_row(name, f"{count:,}", *weights)
    console.print(table)
    if found["pos_weight"] is not None:
        typer.echo(f"pos_weight {found['pos_weight']:.4f}\n")
    table = Table(box=SIMPLE, caption="AUC: of the band alone, cloud against clear")
    for name in ("band", "mean", "deviation", "P2", "P50", "P98", "AUC"):
        table.add_column(name, justify="left" if name == "band" else "right")
    for name, band in found["bands"].items():
        values = [band["mean"], band["standard_deviation"]]
        values += [band["percentiles"][p] for p in ("2", "50", "98")]
        auc = "-" if band["cloud_auc"] is None else f"{band['cloud_auc']:.3f}"
        table.add_row(name, *(f"{v:.4f}" for v in values), auc)
    console.print(table)
