"""``nubila review``: look labels through on a local web page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nubila.cli.options import keep_inputs

if TYPE_CHECKING:
    from nubila.curate.review import Review

__all__ = ["review"]


def review(
    manifest: Annotated[
        Path,
        typer.Argument(
            metavar="MANIFEST", help="Table that lists images and masks.", show_default=False
        ),
    ],
    ranking: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="Which samples, in which order: a table of nubila audit with the columns id, and "
            "score and reason; default: the whole manifest.",
            show_default=False,
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Kept predictions of the samples.", show_default=False),
    ] = None,
    decisions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="SQLite file of the decisions, made if it is not there; default: beside the "
            "manifest, with the suffix .review.db.",
            show_default=False,
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="Write the decisions as CSV or Parquet for nubila data apply, and stop. The "
            "page's button writes <decisions>.csv.",
            show_default=False,
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="What paths are relative to.", show_default=False),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only the rows of this split.")] = None,
    who: Annotated[
        str | None, typer.Option(help="Signs the decisions; default: your user name.")
    ] = None,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; one that others can reach asks for a token."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free.")] = 8765,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address only.")
    ] = False,
) -> None:
    """Look labels through in the browser: keep, drop, use the prediction, or fix by hand."""
    from nubila.curate.review import ReviewStore, export_decisions
    from nubila.errors import InputError

    file = decisions or manifest.with_suffix(".review.db")
    if export is not None:
        if not file.is_file():
            raise InputError(f"{file}: no decisions there yet; run nubila review without --export")
        keep_inputs(export, [manifest, file, ranking])
        typer.echo(f"{export_decisions(ReviewStore(file), export)} decisions in {export}")
        return
    for read in (manifest, ranking):
        if read is not None and read.resolve() == _table_of(file).resolve():
            raise InputError(
                f"{file}: the page's button would write its decisions to {_table_of(file)}, which "
                f"is read here; name another file with --decisions"
            )
    found = _review(manifest, ranking, predictions, file, root, split, who)
    _serve(found, file, manifest.name, host, port, browse=not no_browser)


def _table_of(decisions: Path) -> Path:
    """Return where the page's button writes the decisions as a table."""
    return decisions.with_suffix(".csv")


def _review(
    manifest: Path,
    ranking: Path | None,
    predictions: Path | None,
    decisions: Path,
    root: Path | None,
    split: str | None,
    who: str | None,
) -> Review:
    import getpass

    from nubila.curate.predictions import open_predictions
    from nubila.curate.review import Review, ReviewStore, read_items
    from nubila.datasets import read_manifest

    specs = read_manifest(manifest, root=root, split=split)
    return Review(
        read_items(specs, ranking),
        ReviewStore(decisions),
        who=who or getpass.getuser(),
        predictions=open_predictions(predictions) if predictions else None,
    )


def _serve(
    review: Review, decisions: Path, title: str, host: str, port: int, *, browse: bool
) -> None:
    import secrets
    import socket
    import threading
    import webbrowser

    from nubila.curate.review.guard import Guard, is_loopback
    from nubila.curate.review.server import make_app, serve
    from nubila.errors import InputError

    token = None if is_loopback(host) else secrets.token_urlsafe(24)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    if os.name == "posix":  # elsewhere it would let two servers share a port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # so that whoever reads the address may ask at once
    except OSError as error:
        raise InputError(
            f"{host}:{port}: cannot listen there: {error.strerror or error}; choose another --port"
        ) from error
    if host in ("0.0.0.0", "::"):  # every address of this machine, and itself none to open
        host = socket.gethostname()
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listener.getsockname()[1]}/" + (f"?token={token}" if token else "")
    app = make_app(review, Guard(token), export=_table_of(decisions), title=title)
    typer.echo(f"{len(review.items)} samples; decisions in {decisions}\n{address}")
    if browse:
        threading.Timer(0.7, webbrowser.open, (address,)).start()
    try:
        serve(app, listener)
    finally:
        review.store.close()  # folds the log into the file, which may then be copied alone
