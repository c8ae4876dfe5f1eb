"""``nubila folds``: deal a manifest out to folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from nubila.cli.options import Root, keep_inputs

__all__ = ["folds"]


def folds(
    manifest: Annotated[
        str,
        typer.Argument(
            metavar="MANIFEST|COLLECTION",
            help="Table that lists images and masks, or the name of a collection (nubila data "
            "list), which needs --root.",
            show_default=False,
        ),
    ],
    count: Annotated[int, typer.Option("--folds", "-k", min=2, help="How many.")] = 5,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The manifest with folds: CSV, Parquet or GeoJSON; default: -folds added to the "
            "name.",
            show_default=False,
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMNS",
            help="Columns to be even in, joined by commas; default those of location, year, "
            "month, hour and cloud_cover that can be worked out. Measurements are cut into "
            "quarters.",
            show_default=False,
        ),
    ] = None,
    together: Annotated[
        str,
        typer.Option(
            metavar="COLUMNS",
            help="Rows that share a value in any of these stay in one fold; none for none.",
        ),
    ] = "group",
    root: Root = None,
    apart: Annotated[
        str, typer.Option("--leave", metavar="SPLITS", help="Splits that get no fold.")
    ] = "test",
    seed: Annotated[int, typer.Option(min=0, help="Of the order of equals.")] = 0,
) -> None:
    """Deal samples out to folds, even in several columns at once, whole groups kept together."""
    import json

    from nubila.curate.fold_table import make_folds
    from nubila.datasets import write_manifest
    from nubila.raster.atomic import atomic_path, make_folder

    target = output or _beside(Path(manifest))
    keep_inputs(target, [manifest])
    rows, base = _rows(manifest, root)
    _check_leave(manifest, rows, _names(apart))
    found = make_folds(
        Path(manifest).name,
        rows,
        base,
        count,
        by=None if by is None else _names(by),
        together=[] if together == "none" else _names(together),
        apart=_names(apart),
        seed=seed,
    )
    make_folder(target.parent)
    write_manifest(target, found.rows)
    saved = target.with_name(f"{target.stem}-report.json")
    with atomic_path(saved) as path:
        path.write_text(json.dumps(found.report, indent=2) + "\n", encoding="utf-8")
    _print(typer.echo, found.report)
    typer.echo(target)
    typer.echo(saved)
    if target.parent.resolve() != base.resolve():
        typer.echo(
            f"its paths are relative to {base.resolve()}: give that as --root, or as data.root"
        )


def _check_leave(manifest: str, rows: list[tuple[int, Any]], apart: list[str]) -> None:
    from nubila.errors import InputError, nearest

    known = sorted({cells.get("split", "") for _, cells in rows} - {""})
    for name in apart:
        # The default need not be there.
        if name not in known and name != "test":
            raise InputError(
                f"{manifest}: no split {name!r}{nearest(name, known)} to --leave (found: "
                f"{', '.join(known) or 'none'})"
            )


def _rows(manifest: str, root: Path | None) -> tuple[list[tuple[int, Any]], Path]:
    from nubila.datasets import collection_rows
    from nubila.datasets.manifest import manifest_rows
    from nubila.errors import InputError

    path = Path(manifest)
    if path.is_file() or path.suffix:
        return list(manifest_rows(path)), root or path.parent
    if root is None:
        raise InputError(
            f"{manifest!r}: no such file; if it is a collection, give its folder with --root"
        )
    return [(0, cells) for cells in collection_rows(manifest, root)], root


def _beside(manifest: Path) -> Path:
    return manifest.with_name(f"{manifest.stem}-folds{manifest.suffix or '.csv'}")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _print(show: Callable[[str], None], report: Mapping[str, Any]) -> None:
    sizes = ", ".join(map(str, report["samples"]))
    show(
        f"{sum(report['samples'])} samples in {report['folds']} folds of {sizes}; "
        f"{report['left_out']} left out"
    )
    if report["together"]:
        show(
            f"{report['groups']} groups by {', '.join(report['together'])}, the largest of "
            f"{report['largest_group']}: none is in two folds"
        )
    for name, column in report["columns"].items():
        show(
            f"  {name}: {100 * column['unevenness']:.1f} % of a fold's samples would have to "
            f"change to be like the whole ({100 * column['at_random']:.1f} % at random)"
        )
