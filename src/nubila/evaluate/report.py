"""What an evaluation leaves in its folder: JSON for machines, CSV for tables, HTML for eyes."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from nubila._version import __version__
from nubila.datasets import SampleSpec
from nubila.evaluate.counts import FIGURES, rounded
from nubila.evaluate.gallery import panel_section, scene_section
from nubila.evaluate.html import document as html_document
from nubila.evaluate.html import section
from nubila.evaluate.page import models_of, score_sections, summary_of
from nubila.evaluate.panels import Panel, draw_panels, make_panels
from nubila.evaluate.run import Evaluation, compare
from nubila.evaluate.scores import PROTOCOL, SCORED, SampleTally, by_scene
from nubila.models_io import Model
from nubila.raster.atomic import atomic_path, make_folder

__all__ = [
    "data_name",
    "data_title",
    "model_names",
    "rules_section",
    "sample_row",
    "scene_ious",
    "score_document",
    "score_rows",
    "write_csv",
    "write_report",
    "write_text",
]


def write_report(
    evaluations: Evaluation | Sequence[Evaluation],
    models: Model | Sequence[Model],
    specs: Sequence[SampleSpec],
    folder: str | Path,
    *,
    split: str | None = None,
    bands: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> dict[str, Path]:
    """Write ``scores.json``, ``scores.csv``, ``samples.csv``, ``panels.png`` and ``report.html``.

    Args:
        evaluations: of one model or several on `specs`.
        models: in the same order; they run again on the few samples that are drawn.
        specs: the samples, in the order of the evaluations.
        folder: made if it is not there.
        split: the split that was chosen, for the record.
        bands: the bands that were left, likewise; None for all.
        columns: of the manifest, to score by; default all that make a few strata.

    Returns:
        ``scores``, ``table``, ``samples``, ``panels``, ``report``: the path of each.

    Raises:
        InputError: there is no such column.
        OutputError: a file cannot be written.
    """
    evaluations = [evaluations] if isinstance(evaluations, Evaluation) else list(evaluations)
    models = [models] if isinstance(models, Model) else list(models)
    names = model_names(models)
    scores = score_document(evaluations, models, specs, split=split, bands=bands, columns=columns)
    panels = make_panels(evaluations, models, specs)
    target = make_folder(folder)
    files = {
        "scores": "scores.json",
        "table": "scores.csv",
        "samples": "samples.csv",
        "panels": "panels.png",
        "report": "report.html",
    }
    paths = {key: target / name for key, name in files.items()}
    text = json.dumps(scores, indent=2, allow_nan=False) + "\n"
    write_text(paths["scores"], text)
    write_csv(paths["table"], score_rows(models_of(scores)))
    found = zip(names, evaluations, strict=True)
    write_csv(paths["samples"], (sample_row(n, t) for n, e in found for t in e.tallies))
    with atomic_path(paths["panels"]) as path:
        draw_panels(panels, names).save(path)
    write_text(paths["report"], _page(scores, names, evaluations, panels))
    return paths


def score_document(
    evaluations: Sequence[Evaluation],
    models: Sequence[Model],
    specs: Sequence[SampleSpec],
    *,
    split: str | None = None,
    bands: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return what ``scores.json`` holds.

    Of one model ``{"overall": ..., "folders": ..., ..., "protocol": ...}``; of several
    ``{"models": {name: the same}, "differences": {"a - b": ...}, "protocol": ...}``, where each
    model is compared with the first one.
    """
    names = model_names(models)
    scores = {
        name: evaluation.scores(columns)
        for name, evaluation in zip(names, evaluations, strict=True)
    }
    protocol = {
        "nubila": __version__,
        "manifest": data_name(specs[0].manifest),
        "split": split,
        "bands": None if bands is None else list(bands),
    }
    if evaluations[0].options.operating_point is not None:
        protocol["operating_point"] = evaluations[0].options.operating_point
    about = {
        name: {
            "model": model.card.name,
            "model_version": model.card.version,
            "model_sha256": model.sha256,
            "classes": list(model.card.classes),
        }
        for name, model in zip(names, models, strict=True)
    }
    if len(models) == 1:
        return scores[names[0]] | {"protocol": about[names[0]] | protocol | {"rules": PROTOCOL}}
    differences = {
        f"{name} − {names[0]}": compare(evaluation, evaluations[0])
        for name, evaluation in list(zip(names, evaluations, strict=True))[1:]
    }
    return {
        "models": scores,
        "differences": differences,
        "protocol": {"models": about} | protocol | {"rules": PROTOCOL},
    }


def data_name(manifest: str) -> str:
    """Return the file name of a manifest, or a collection's name, without this machine's path."""
    return Path(manifest).name if Path(manifest).is_file() else manifest.split(" in ")[0]


def data_title(protocol: Mapping[str, Any]) -> str:
    """Return what was scored: the manifest, and the split and the bands if some were chosen."""
    parts = [protocol["manifest"]]
    parts += [f"split {protocol['split']}"] if protocol["split"] else []
    parts += [f"bands {', '.join(protocol['bands'])}"] if protocol["bands"] else []
    return ", ".join(parts)


def model_names(models: Sequence[Model]) -> list[str]:
    """Return a name for each model: its own, or its file's where models share one."""
    own = [model.card.name for model in models]
    names = [
        Path(model.path).stem if own.count(name) > 1 else name
        for name, model in zip(own, models, strict=True)
    ]
    seen: Counter[str] = Counter()
    for place, name in enumerate(names):
        seen[name] += 1
        if names.count(name) > 1:
            names[place] = f"{name} ({seen[name]})" if seen[name] > 1 else name
    return names


def _page(
    scores: Mapping[str, Any],
    names: Sequence[str],
    evaluations: Sequence[Evaluation],
    panels: Sequence[Panel],
) -> str:
    protocol = scores["protocol"]
    found = zip(names, evaluations, strict=True)
    name, scenes = scene_ious({n: e.tallies for n, e in found})
    about = protocol.get("models") or {names[0]: protocol}
    files = "; ".join(
        f"{n}: version {a['model_version']}, SHA-256 {a['model_sha256'][:16]}"
        for n, a in about.items()
    )
    return html_document(
        f"{', '.join(names)} on {data_title(protocol)}",
        summary_of(scores),
        [
            *score_sections(scores),
            scene_section(name, scenes),
            panel_section(panels, names),
            rules_section(protocol["rules"], files),
        ],
    )


def scene_ious(
    tallies: Mapping[str, Sequence[SampleTally]],
) -> tuple[str, dict[str, list[tuple[str, float]]]]:
    """Return the first class that labels name, and the IoU of it in every scene that has it.

    None of a model that has no output for the class: it would be 0 throughout.
    """
    first = next(iter(tallies.values()))
    name = next((n for n in SCORED if any(t.names(n) for t in first)), "cloud")
    return name, {
        model: [
            ("/".join(dict.fromkeys(scene)), counts.iou)
            for scene, counts in by_scene(samples, name).items()
            if counts.positives and counts.iou is not None and samples[0].tells(name)
        ]
        for model, samples in tallies.items()
    }


def rules_section(rules: Mapping[str, str], files: str) -> str:
    """Return how scores were made, and from which files."""
    entries = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in rules.items())
    return section("How this was scored", f'<dl class="rules">{entries}</dl><p>{escape(files)}</p>')


def score_rows(models: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Give a row for each model, stratum and class; first those of all samples."""
    for model, scores in models.items():
        parts = {
            ("all", "", "all"): scores["overall"],
            **{("all", "", name): found for name, found in scores["variants"].items()},
            **{("folder", value, "all"): found for value, found in scores["folders"].items()},
            **{
                (column, value, "all"): found
                for column, values in scores["strata"].items()
                for value, found in values.items()
            },
        }
        for (stratum, value, pixels), found in parts.items():
            for name in SCORED:
                if name in found:
                    place = {"stratum": stratum, "value": value, "pixels_taken": pixels}
                    yield {"model": model} | place | {"class": name} | _flat(found, name)


def _flat(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a class's figures as cells: intervals as two."""
    cells: dict[str, Any] = {}
    for figure, value in found[name].items():
        if figure.endswith("_interval"):
            start = figure.removesuffix("_interval")
            cells[f"{start}_low"], cells[f"{start}_high"] = value
        else:
            cells[figure] = value
    if name == "cloud":
        cells |= {key: found[key] for key in ("all_cloud_iou", "all_clear_accuracy")}
    return cells


def sample_row(model: str, tally: SampleTally) -> dict[str, Any]:
    """Return the cells of a sample as judged, of the classes that label and model tell."""
    row: dict[str, Any] = {
        "model": model,
        "id": tally.id,
        "folder": tally.folder,
        "group": tally.group,
        "pixels": int(tally.table.sum()),
        "not_judged": tally.not_judged,
        "agreement": rounded(tally.agreement),
    }
    for name in SCORED:
        if tally.decides(name) and tally.tells(name):
            counts = tally.counts(name)
            row |= {f"{name} {figure}": rounded(counts.figure(figure)) for figure in FIGURES}
    return row


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows whose columns may differ; a figure that is undefined or absent stays empty."""
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
