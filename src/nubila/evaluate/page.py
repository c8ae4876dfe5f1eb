"""The sections of a report, from what `scores.json` holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from nubila.evaluate.html import (
    bar,
    details,
    legend,
    note,
    number,
    percent,
    section,
    series,
    table,
)
from nubila.evaluate.svg import reliability_plot
from nubila.evaluate.tally import SCORED

__all__ = ["difference_table", "mean_of_scenes", "models_of", "score_sections", "summary_of"]

Scores = Mapping[str, Any]

_HEADS: Final = {
    "iou": "IoU",
    "dice": "Dice",
    "precision": "precision (UA)",
    "recall": "recall (PA)",
    "specificity": "specificity",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
}


def models_of(document: Scores) -> dict[str, Scores]:
    """Return name -> scores of each model in what a ``scores.json`` holds."""
    if "models" in document:
        return dict(document["models"])
    return {str(document.get("protocol", {}).get("model", "model")): document}


def summary_of(document: Scores) -> str:
    """Return how much was scored, in a line."""
    overall = next(iter(models_of(document).values()))["overall"]
    return (
        f"{overall['images']} images of {overall['scenes']} scenes, "
        f"{number(overall['pixels'])} labelled pixels"
    )


def score_sections(document: Scores) -> list[str]:
    """Return the sections that need no pixels.

    Args:
        document: as ``scores.json`` holds it.
    """
    models = models_of(document)
    overall = {name: scores["overall"] for name, scores in models.items()}
    sections = [
        _cards(overall),
        _classes(overall),
        _differences(document.get("differences", {})),
        _fewer_pixels(models),
        *_strata(models),
        _calibration(models),
        _confusion(overall),
    ]
    return [text for text in sections if text]


def _classes_in(scores: Mapping[str, Scores]) -> list[str]:
    """Return the classes that some of the models are scored for, cloud first."""
    return [name for name in SCORED if any(name in found for found in scores.values())]


def _interval(values: Scores, figure: str = "iou", *, signed: bool = False) -> str:
    low, high = values.get(f"{figure}_interval") or (None, None)
    if low is None:
        return "–"
    return f"{percent(low, signed=signed)} to {percent(high, signed=signed)}"


def mean_of_scenes(values: Scores) -> str:
    """Return the IoU's mean over scenes, and in brackets of how many, where that is known."""
    count = values.get("iou_scene_mean_scenes")
    return percent(values["iou_scene_mean"]) + ("" if count is None else f" ({count})")


def _cards(overall: Mapping[str, Scores]) -> str:
    """Return a card for each model, or for each class of a single one."""
    names = _classes_in(overall)
    if not names:
        return note("The labels tell no class that the model tells.")
    if len(overall) == 1:
        (scores,) = overall.values()
        cards = [_card(name, 0, scores, name) for name in names]
    else:
        cards = [
            _card(model, place, scores, names[0])
            for place, (model, scores) in enumerate(overall.items())
            if names[0] in scores
        ]
    return f'<div class="cards">{"".join(cards)}</div>'


def _card(title: str, place: int, scores: Scores, name: str) -> str:
    values = scores[name]
    lines = {
        "95 % interval": _interval(values),
        "mean of scenes": mean_of_scenes(values),
        _HEADS["precision"]: percent(values["precision"]),
        _HEADS["recall"]: percent(values["recall"]),
    }
    if name == "cloud":
        lines["false, scenes without"] = percent(values.get("false_positive_rate_absent"))
        lines["IoU, all cloud"] = percent(scores["all_cloud_iou"])
        lines["accuracy"] = percent(values["accuracy"])
        lines["accuracy, all clear"] = percent(scores["all_clear_accuracy"])
    else:
        lines["scenes"] = str(values["scenes"])
    entries = "".join(f"<dt>{escape(k)}</dt><dd>{v}</dd>" for k, v in lines.items())
    return (
        f'<div class="card">{series(title, place)}<div class="big">{percent(values["iou"])}'
        f"<small>% IoU of {name}, all pixels</small></div><dl>{entries}</dl></div>"
    )


def _class_rows(scores: Mapping[str, Scores]) -> Iterator[tuple[str, int, str, Scores]]:
    """Give class, place and name of the model, and its figures, class by class."""
    for name in _classes_in(scores):
        for place, (model, found) in enumerate(scores.items()):
            if name in found:
                yield name, place, model, found[name]


def _classes(overall: Mapping[str, Scores]) -> str:
    several = len(overall) > 1
    head = ["class", *(["model"] if several else [])]

    first_model = next(iter(overall.values()))

    def first(name: str, place: int, model: str) -> list[str]:
        if not several:
            return [escape(name)]
        return ["" if place and name in first_model else escape(name), series(model, place)]

    pixels, scenes = [], []
    for name, place, model, values in _class_rows(overall):
        mark = first_model["all_cloud_iou"] if name == "cloud" else None
        plot = bar(values["iou"], values["iou_interval"], place=place, mark=mark)
        pixels.append(
            [*first(name, place, model), plot, percent(values["iou"]), _interval(values)]
            + [percent(values.get(f)) for f in list(_HEADS)[1:]]
        )
        mean_interval = values.get("iou_scene_mean_interval") or (None, None)
        scenes.append(
            [
                *first(name, place, model),
                bar(values["iou_scene_mean"], mean_interval, place=place),
                *(percent(values.get(f"{f}_scene_mean")) for f in _HEADS),
                str(values.get("iou_scene_mean_scenes", "–")),
                percent(values.get("false_positive_rate_absent")),
                str(values["scenes"]),
                percent(values["positive_pixels"] / values["pixels"] if values["pixels"] else None),
            ]
        )
    if not pixels:
        return ""
    heads = list(_HEADS.values())
    return section(
        "Classes",
        note(
            "In percent. Cloud is cloud and thin cloud together. Bars are 95 % bootstrap intervals "
            "over scenes; the thin line in the row of cloud is the IoU if all were called cloud."
        ),
        "<h3>All pixels together</h3>",
        table([*head, "", "IoU", "95 %", *heads[1:]], pixels, words=len(head) + 1),
        "<h3>Mean of scenes</h3>",
        note(
            "IoU, Dice, precision, recall and balanced accuracy are means of the scenes whose "
            "label has the class, the same for every model; false: of the pixels of the other "
            "scenes, the share that is called it."
        ),
        table(
            [*head, "", *heads, "scenes with it", "false", "scenes", "share of pixels"],
            scenes,
            words=len(head) + 1,
        ),
    )


def _differences(found: Mapping[str, Mapping[str, Scores]]) -> str:
    """Return what each model scores more than the first; `found` is pair -> class -> figures."""
    if not found:
        return ""
    return section(
        "Differences",
        note(
            "In percentage points, on the same pixels, with 95 % intervals from the paired "
            "bootstrap over scenes. A difference whose interval holds 0 may be chance."
        ),
        difference_table(found),
    )


def difference_table(found: Mapping[str, Mapping[str, Scores]]) -> str:
    """Return a table of differences; `found` is pair -> class -> figures."""
    shown = (
        *("iou", "iou_scene_mean", "precision", "recall", "balanced_accuracy"),
        "false_positive_rate_absent",
    )
    most = _most(found, ("iou", "iou_scene_mean"))
    rows = []
    for pair, classes in found.items():
        for name, values in classes.items():
            plot = bar(values["iou"], values["iou_interval"], most=most, signed=True)
            cells = [
                f"{percent(values.get(f), signed=True)}<br>"
                f"<small>{_interval(values, f, signed=True)}</small>"
                for f in shown
            ]
            rows.append([escape(pair), escape(name), plot, *cells])
    heads = ["IoU", "IoU, mean of scenes", "precision", "recall", "balanced accuracy"]
    heads.append("false, scenes without the class")
    # The bar is that of the IoU; its ends are said where it stands.
    ends = f"IoU, ±{100 * most:g}"
    return table(["models", "class", ends, *heads], rows, words=3)


def _most(found: Mapping[str, Mapping[str, Scores]], figures: Sequence[str]) -> float:
    """Return a round number that no end of an interval exceeds."""
    ends = [
        abs(end)
        for classes in found.values()
        for values in classes.values()
        for figure in figures
        for end in (values[figure], *values[f"{figure}_interval"])
        if end is not None
    ]
    return next((m for m in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if m >= max(ends, default=0)), 1.0)


def _fewer_pixels(models: Mapping[str, Scores]) -> str:
    names = list(next(iter(models.values())).get("variants", {}))
    if not names:
        return ""
    rows = {"all pixels": {model: scores["overall"] for model, scores in models.items()}}
    for name in names:
        rows[name] = {model: scores["variants"][name] for model, scores in models.items()}
    return section(
        "With fewer pixels",
        note(
            "The same scores without what people label least surely: thin cloud, and pixels along "
            "the boundaries of the label."
        ),
        _figure_table("pixels", rows, main := _main_class(rows)),
        _others("pixels", rows, main),
    )


def _strata(models: Mapping[str, Scores]) -> Iterator[str]:
    """Give a section for the folders and one for the other columns."""
    first = next(iter(models.values()))
    columns = {"folder": first.get("folders", {})} | first.get("strata", {})
    parts = []
    for column, values in columns.items():
        if len(values) < 2 and column == "folder":
            continue
        rows = {
            value: {
                name: (m["folders"] if column == "folder" else m["strata"][column])[value]
                for name, m in models.items()
            }
            for value in values
        }
        main = _main_class(rows)
        parts += [
            f"<h3>By {escape(column)}: {main}</h3>",
            _figure_table(column, rows, main),
            _others(column, rows, main),
        ]
    if parts:
        yield section("Strata", *parts)


def _main_class(rows: Mapping[str, Mapping[str, Scores]]) -> str:
    """Return the first class that some cell has figures for: cloud, wherever it is told."""
    found = [scores for row in rows.values() for scores in row.values()]
    return next((name for name in SCORED if any(name in f for f in found)), "cloud")


def _others(column: str, rows: Mapping[str, Mapping[str, Scores]], main: str) -> str:
    """Return the tables of the other classes, folded."""
    names = [
        name for name in SCORED
        if name != main and any(name in f for row in rows.values() for f in row.values())
    ]  # fmt: skip
    if not names:
        return ""
    parts = [f"<h3>{escape(name)}</h3>{_figure_table(column, rows, name)}" for name in names]
    return details("other classes", *parts)


def _figure_table(column: str, rows: Mapping[str, Mapping[str, Scores]], name: str) -> str:
    """Return a table of a class's figures: a row for each value of a column, and each model."""
    several = any(len(row) > 1 for row in rows.values())
    lines: list[list[str]] = []
    for value, row in rows.items():
        first = True  # a model may have nothing to say of a value
        for place, (model, scores) in enumerate(row.items()):
            if (found := scores.get(name)) is None:
                continue
            mark = scores.get("all_cloud_iou") if name == "cloud" else None
            lines.append(
                [
                    escape(value) if first else "",
                    *([series(model, place)] if several else []),
                    bar(found["iou"], found["iou_interval"], place=place, mark=mark),
                    percent(found["iou"]),
                    _interval(found),
                    mean_of_scenes(found),
                    *(percent(found[f]) for f in ("precision", "recall", "accuracy")),
                    str(found["scenes"]),
                    number(found["pixels"]),
                ]
            )
            first = False
    head = [column, *(["model"] if several else []), ""]
    figures = ["IoU", "95 %", "mean of scenes", "precision", "recall", "accuracy"]
    return table([*head, *figures, "scenes", "pixels"], lines, words=len(head))


def _calibration(models: Mapping[str, Scores]) -> str:
    found = {name: scores.get("calibration", {}) for name, scores in models.items()}
    plots, rows = [], []
    for name in _classes_in(found):
        told = {model: classes[name] for model, classes in found.items() if name in classes}
        errors = " / ".join(percent(values["ece"]) for values in told.values())
        plots.append(
            reliability_plot(f"{name}: ECE {errors} %", {m: v["bins"] for m, v in told.items()})
        )
        rows += [
            [escape(name), series(m, n), percent(v["ece"]), number(v["pixels"])]
            for n, (m, v) in enumerate(told.items())
        ]
    if not plots:
        return ""
    return section(
        "Calibration",
        note(
            "How often pixels of each predicted probability have the class. On the dashed line a "
            "probability can be taken at its word; the bars at the foot tell where the pixels are. "
            "ECE is the expected calibration error: the mean distance from that line."
        ),
        legend(models),
        f'<div class="plots">{"".join(plots)}</div>',
        details(
            "as a table",
            table(["class", "model", "expected calibration error, %", "pixels"], rows, words=2),
        ),
    )


def _confusion(overall: Mapping[str, Scores]) -> str:
    parts = []
    for place, (model, scores) in enumerate(overall.items()):
        if not (found := scores.get("confusion")) or not found["labels"]:
            continue
        parts.append(f"<h3>{series(model, place)}</h3>" if len(overall) > 1 else "")
        parts.append(_confusion_table(found))
    if not parts:
        return ""
    return section(
        "Confusion",
        note(
            "Of the pixels with each label (rows), the percentage that the model calls each class "
            "(columns). A label may leave several classes open."
        ),
        *parts,
    )


def _confusion_table(found: Mapping[str, Any]) -> str:
    head = "".join(f"<th class=n>{escape(name)}</th>" for name in found["predictions"])
    rows = []
    for name, pixels in zip(found["labels"], found["pixels"], strict=True):
        total = sum(pixels)
        cells = "".join(
            f'<td class="heat" style="--p:{n / total if total else 0:.3f}" title="{n} pixels">'
            f"{percent(n / total if total else None)}</td>"
            for n in pixels
        )
        rows.append(f"<tr><td>{escape(name)}</td>{cells}<td class=n>{number(total)}</td></tr>")
    return (
        f'<div class="wide"><table><thead><tr><th>label</th>{head}<th class=n>pixels</th></tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
