"""What ``nubila mask`` tells of its scenes: bars while they run, then files, cover and errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from nubila.infer.batch import Outcome, SceneProgress

__all__ = ["print_outcomes", "raise_failed", "scene_bars"]


@contextmanager
def scene_bars(*, quiet: bool) -> Iterator[SceneProgress | None]:
    """Show a bar a scene with its megapixels a second; nothing where nobody looks.

    Args:
        quiet: show nothing on a terminal either.

    Yields:
        What takes a scene's name, pixels done and pixels in all; None where nothing is shown.
    """
    import sys

    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def update(scene: str, done: int, total: int) -> None:
            if scene not in tasks:
                for task in tasks.values():
                    bars.update(task, visible=False)
                tasks[scene] = bars.add_task(_short(scene), total=total, rate="")
            task = tasks[scene]
            elapsed = bars.tasks[bars.task_ids.index(task)].elapsed or 0
            rate = f"{done / elapsed / 1e6:.1f} Mpx/s" if elapsed > 0 else ""
            bars.update(task, completed=done, total=total, rate=rate)

        yield update


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:18]}...{name[-19:]}"


def print_outcomes(
    outcomes: Iterator[Outcome], found: list[Outcome], *, as_json: bool, many: bool
) -> None:
    """Print what became of each scene as soon as it is known.

    Args:
        outcomes: as scenes end.
        found: takes the outcomes, so that they are known after an interruption too.
        as_json: a line of JSON a scene.
        many: several were asked for; the error of a single one is left to `raise_failed`.
    """
    for outcome in outcomes:
        found.append(outcome)
        if as_json:
            typer.echo(json.dumps(outcome.record()))
        elif outcome.result is not None:
            _print_result(outcome)
        elif many:
            _print_failure(outcome)
    failed = [outcome for outcome in found if outcome.error]
    if not (many or as_json) and len(failed) > 1:  # granules of one product
        for outcome in failed:
            _print_failure(outcome)


def _print_failure(outcome: Outcome) -> None:
    typer.secho(f"failed: {_told(outcome)}", fg="red", err=True)


def _print_result(outcome: Outcome) -> None:
    from nubila.infer.statistics import percent

    result = outcome.result
    assert result is not None
    if result.skipped:
        end = "was done already"
    else:
        rate = result.statistics.pixels / outcome.seconds / 1e6
        end = f"{result.grid.resolution:g} m, {outcome.seconds:.1f} s, {rate:.1f} Mpx/s"
    typer.echo(f"{result.scene_id}  ({end})")
    shares = result.statistics.cover.items()
    typer.echo("  " + "   ".join(f"{name} {percent(share)}" for name, share in shares))
    without = result.statistics.pixels - result.statistics.valid
    if without:
        share = 100 * without / result.statistics.pixels
        typer.echo(f"  without data: {percent(share)} of the area; shares are of the rest")
    for kind, path in result.paths.items():
        typer.echo(f"  {kind:<13} {path}")
    for note in result.notes:
        typer.secho(f"  note: {note}", fg="yellow")


def raise_failed(outcomes: list[Outcome], *, as_json: bool, many: bool) -> None:
    """End with an error if a scene failed; a single scene's error is told once, as it is.

    Args:
        outcomes: of all scenes.
        as_json: errors are printed already.
        many: several scenes were asked for.

    Raises:
        BatchError: scenes failed; it names them.
        Exception: that of the only scene, as nothing told of it yet.
    """
    from nubila.errors import BatchError

    failed = [outcome for outcome in outcomes if outcome.error]
    if not failed:
        return
    error = failed[0].error
    if not many and len(failed) == 1 and error is not None:
        # A line of JSON has told of what was not foreseen too; nobody needs a traceback beside it.
        raise BatchError(_told(failed[0])) if as_json else error
    names = ", ".join(_input(outcome, outcomes) for outcome in failed)
    rest = ", the others are done" if len(failed) < len(outcomes) else ""
    raise BatchError(f"{len(failed)} of {len(outcomes)} scenes failed{rest}: {names}")


def _input(outcome: Outcome, outcomes: list[Outcome]) -> str:
    """Return an input as it was given; of a product of several granules, also which one."""
    granules = sum(other.source == outcome.source for other in outcomes)
    return outcome.source + (f" ({outcome.scene_id})" if granules > 1 else "")


def _told(outcome: Outcome) -> str:
    from nubila.errors import NubilaError

    if isinstance(outcome.error, NubilaError):
        text = str(outcome.error)
        return text if outcome.source in text else f"{outcome.source}: {text}"
    return f"{outcome.source}: unexpected {type(outcome.error).__name__}: {outcome.error}"
