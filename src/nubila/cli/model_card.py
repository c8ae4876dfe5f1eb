"""What ``nubila models show`` prints: what a model is for, what it is worth, where it fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from nubila.models_io import Model, ModelCard

__all__ = ["print_card"]


def print_card(model: Model, *, full: bool = False) -> None:
    """Print a screen about a model, or all that its card says.

    Args:
        model: what is printed about.
        full: also how its graph is run, scores by folder, training data and the recipe.
    """
    from rich.console import Console
    from rich.text import Text

    console, card = Console(), model.card
    # As Text, here and below: brackets in it are no markup.
    console.print(Text(f"{card.name}, version {card.version}", style="bold"))
    console.print(Text(f"{card.summary}\n"))
    console.print(_headed(_screen(model)))
    if not full:
        rest = "graph, scores by folder, licences of the training data, recipe"
        console.print(Text(f"\nThe rest ({rest}): --full. All as JSON: --json", style="dim"))
        return
    console.print(_headed(_rest(card)))
    if card.recipe:
        console.print(Text("\nrecipe", style="bold"))
        typer.echo(card.recipe)  # as it is, to be copied


def _screen(model: Model) -> Iterator[tuple[str, RenderableType]]:
    """Give heading and content of what everybody should know."""
    card = model.card
    yield "bands", _bands(card)
    yield "metres", f"{card.resolution[0]:g} to {card.resolution[1]:g} a pixel"
    yield "classes", _classes(card)
    yield "scores", _scores(card, overall=True)
    yield "limits", _grid(("-", line) for line in card.limits) if card.limits else "not told"
    yield "operating\npoints", _points(card)
    yield "calibrated", _calibration(card)
    sources = (f"{source.name} ({source.images})" for source in card.training)
    yield "trained on", ", ".join(sources) or "not told"
    size = [f"{Path(model.path).stat().st_size / 1e6:.1f} MB"]
    size += [f"{card.parameters:,} weights"] if card.parameters else []
    size += [f"{card.flops_per_pixel / 1000:.0f} kFLOP a pixel"] if card.flops_per_pixel else []
    yield "size", ", ".join(size)
    yield "licence", card.licence or "not told"
    yield "file", model.path
    yield "sha256", model.sha256


def _rest(card: ModelCard) -> Iterator[tuple[str, RenderableType]]:
    """Give heading and content of how the graph is run and what it was made of."""
    reach = card.receptive_field
    yield "output", f"{card.output} of {', '.join(card.classes)}"
    kind = "the most probable of ground, cloud and shadow, then the most probable class of it"
    yield "decision", kind if card.decision == "kind" else "the most probable class"
    yield "tiles", f"of {card.tile} pixels" if card.tile else "of any size in whole strides"
    yield "stride", f"{card.stride} pixels"
    yield "sees", "all of a tile" if reach is None else f"{reach} pixels to each side"
    yield "statistics", ", ".join(card.statistics) or "none"
    yield "seed", f"{card.seed}"
    yield "card", f"format {card.format}"
    yield "by folder", _scores(card, overall=False)
    told = ((s.name, ", ".join(filter(None, (s.licence, s.url)))) for s in card.training)
    yield "licences\nof data", _grid(told) if card.training else "not told"


def _headed(rows: Iterable[tuple[str, RenderableType]]) -> Table:
    from rich.table import Column, Table
    from rich.text import Text

    # Folded, not cut: half a hash or a path is of no use.
    headings, contents = Column(min_width=10, style="bold"), Column(overflow="fold")
    table = Table.grid(headings, contents, padding=(0, 2, 0, 0))
    for heading, content in rows:
        table.add_row(heading, Text(content) if isinstance(content, str) else content)
    return table


def _grid(rows: Iterable[tuple[str, ...]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1, 0, 0))
    for cells in rows:
        table.add_row(*map(Text, cells))
    for column in table.columns:
        column.overflow = "fold"
    return table


def _bands(card: ModelCard) -> str:
    optional = ", ".join(b.name for b in card.bands if not b.required)
    lines = [f"needs {', '.join(card.required_bands)}"] if card.required_bands else []
    lines += [f"uses {optional} where they are there"] if optional else []
    lines += [f"without {b.name}, {b.without}" for b in card.bands if b.without]
    return "\n".join(lines)


def _classes(card: ModelCard) -> str:
    """Return which classes were held to what people drew, and what merged ones stand for."""
    others = [name for name in card.classes if name not in card.measured]
    lines = [", ".join(card.classes)]
    if card.scores:
        lines = [f"measured on labels of people: {', '.join(card.measured) or 'none'}"]
        lines += [f"not measured so: {', '.join(others)}"] if others else []
    lines += [f"{name} is any of {', '.join(members)}" for name, members in card.stands_for.items()]
    return "\n".join(lines)


def _scores(card: ModelCard, *, overall: bool) -> RenderableType:
    """Return the figures of each class over all that was scored, or folder by folder."""
    from rich.console import Group
    from rich.text import Text

    found: list[RenderableType] = []
    for split, folders in card.scores.items():
        for folder, part in folders.items():
            if (folder == "overall") == overall:
                where = f"split {split}" if overall else f"{folder} of split {split}"
                found += [Text(_about(where, part)), _figures(part)]
    return Group(*found) if found else "not told"


def _about(where: str, part: Mapping[str, Any]) -> str:
    count, all_cloud = part.get("scenes"), part.get("all_cloud_iou")
    scenes = "" if count is None else f", {count} scene{'' if count == 1 else 's'}"
    constant = "" if all_cloud is None else f"; all called cloud gives {_percent(all_cloud)}"
    return f"percent, {where}{scenes}{constant}"


def _figures(part: Mapping[str, Any]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="none")
    table.add_column("\nclass", min_width=12)
    heads = ("\nIoU", "\n95 %", "mean of\nscenes", "\nprecision", "\nrecall", "scenes\nwith it")
    for head in heads:
        table.add_column(head, justify="right", overflow="fold")
    for name, own in part.items():
        if not isinstance(own, dict):
            continue
        low, high = own.get("iou_interval") or (None, None)
        table.add_row(
            Text(name),
            _percent(own["iou"]),
            "-" if low is None else f"{_percent(low)} to {_percent(high)}",
            *(_percent(own.get(figure)) for figure in ("iou_scene_mean", "precision", "recall")),
            str(own.get("iou_scene_mean_scenes", "-")),
        )
    return table


def _calibration(card: ModelCard) -> str:
    error = card.calibration_error
    if error is None:
        return f"{card.calibration}; error not measured"
    told = []
    for name, value in error.ece.items():
        before = error.before.get(name)
        was = "" if before is None else f" ({_percent(before)} before)"
        told.append(f"{name} {_percent(value)}{was}")
    return (
        f"{card.calibration}\nexpected calibration error in percent, on the split {error.split}: "
        f"{', '.join(told)}"
    )


def _points(card: ModelCard) -> RenderableType:
    """Return for each operating point what it does, and what it is for."""
    rows = []
    for name, point in card.operating_points.items():
        found = [f"{n} from {100 * p:g} %" for n, p in point.thresholds.items()]
        if point.min_area:
            found.append(f"objects under {point.min_area:g} m2 filled")
        if point.dilate:
            found.append(f"clouds grown by {point.dilate:g} m")
        does = ", ".join(found) or "the most probable class"
        rows.append((f"{name}:", f"{does}\n{point.about}" if point.about else does))
    return _grid(rows) if rows else "none"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
