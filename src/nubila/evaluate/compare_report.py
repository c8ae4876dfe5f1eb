"""What a comparison of detectors leaves in its folder: JSON, CSV, pictures, and one HTML page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from nubila._version import __version__
from nubila.datasets import SampleSpec
from nubila.detect import Detector, Flipped
from nubila.detect.own import ModelDetector
from nubila.detect.version import Versioned
from nubila.evaluate.compare_detectors import BASELINES, Comparison
from nubila.evaluate.compare_panels import disputed_section, draw_disputed, make_disputed
from nubila.evaluate.gallery import scene_section
from nubila.evaluate.html import bar, document, note, number, percent, section, series, table
from nubila.evaluate.page import difference_table, mean_of_scenes, score_sections
from nubila.evaluate.report import (
    data_name,
    data_title,
    rules_section,
    sample_row,
    scene_ious,
    score_rows,
    write_csv,
    write_text,
)
from nubila.evaluate.scores import PROTOCOL
from nubila.raster.atomic import atomic_path, make_folder

__all__ = ["comparison_document", "write_comparison"]

_RULES: Final = PROTOCOL | {
    "images": (
        "each image is seen once, whole; detectors whose documentation asks for a coarser "
        "resolution are given the area average at it, and their answer is brought back"
    ),
    "pixels": (
        "pixels that the label ignores, or that have no data in any band, do not count; a detector "
        "that lacks a band or a level of an image is left out there, and of the other pixels those "
        "count that all the detectors left judge (not_judged: how many labelled ones each did not)"
    ),
    "models": "the scores of each are those of all images that it could judge",
    "common": "the same figures on those images only that every detector could judge",
    "differences": (
        "another detector minus the first, on the images that both judged; both are drawn "
        "together in each resample; a difference is told apart from chance if its interval does "
        "not hold 0"
    ),
    "disagreement": (
        "of an image: the share of its counted pixels that one detector of a pair calls cloud, "
        "thin or not, and the other does not; the mean of all pairs without the baselines"
    ),
}


def write_comparison(
    comparison: Comparison,
    detectors: Mapping[str, Detector],
    specs: Sequence[SampleSpec],
    folder: str | Path,
    *,
    split: str | None = None,
    bands: Sequence[str] | None = None,
    speed: Mapping[str, Any] | None = None,
) -> dict[str, Path]:
    """Write ``scores.json``, tables, ``disagreement.png``, ``speed.json`` and ``report.html``.

    Args:
        comparison: of the detectors on `specs`.
        detectors: without the baselines; they run again on the few samples that are drawn.
        specs: the samples, in the order of the comparison.
        folder: made if it is not there.
        split: the split that was chosen, for the record.
        bands: the bands that were left, likewise; None for all.
        speed: from `compare_speed.speed_document`, if measured.

    Returns:
        What was written: ``scores``, ``table``, ``differences``, ``samples``, ``report``, and,
        where there is something in it, ``disagreement`` and ``speed``: the path of each.

    Raises:
        OutputError: a file cannot be written.
    """
    scores = comparison_document(comparison, detectors, specs, split=split, bands=bands)
    disputed = make_disputed(comparison, detectors, specs)
    target = make_folder(folder)
    names = {
        "scores": "scores.json",
        "table": "scores.csv",
        "differences": "differences.csv",
        "samples": "samples.csv",
        **({"disagreement": "disagreement.png"} if disputed else {}),
        **({"speed": "speed.json"} if speed else {}),
        "report": "report.html",
    }
    paths = {key: target / name for key, name in names.items()}
    write_text(paths["scores"], json.dumps(scores, indent=2, allow_nan=False) + "\n")
    write_csv(paths["table"], score_rows(scores["models"]))
    write_csv(paths["differences"], _difference_rows(scores))
    write_csv(paths["samples"], _sample_rows(comparison))
    if disputed:
        with atomic_path(paths["disagreement"]) as path:
            draw_disputed(disputed).save(path)
    if speed:
        write_text(paths["speed"], json.dumps(speed, indent=2, allow_nan=False) + "\n")
    sections = [
        _judged_section(scores),
        *score_sections(scores),
        _folder_section(scores["folder_differences"]),
        _common_section(scores),
        _speed_section(speed),
        scene_section(*scene_ious({c.name: c.judged for c in comparison.scored})),
        disputed_section(disputed),
        rules_section(scores["protocol"]["rules"], _files(scores["protocol"]["detectors"])),
    ]
    write_text(paths["report"], _page(scores, filter(None, sections)))
    return paths


def comparison_document(
    comparison: Comparison,
    detectors: Mapping[str, Detector],
    specs: Sequence[SampleSpec],
    *,
    split: str | None = None,
    bands: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return what ``scores.json`` holds.

    ``{"judged": {name: {"samples", "of", "scenes", "not_judged", "lacking"}}, "models": {name:
    scores as in an evaluation}, "differences": {pair: {class: ...}}, "folder_differences": {folder:
    the same}, "common": {"samples", "models": {name: scores}}, "protocol": ...}``
    """
    kept, common = comparison.common()
    folders = list(dict.fromkeys(spec.folder for spec in specs))
    found = {folder: comparison.pairs(folder) for folder in folders}
    return {
        "judged": {c.name: _judged(c.judged, len(specs), c.lacking) for c in comparison.contenders},
        "models": comparison.scores(),
        "differences": comparison.pairs(),
        "folder_differences": {folder: pairs for folder, pairs in found.items() if pairs},
        "common": {"samples": kept, "models": common},
        "protocol": {
            "nubila": __version__,
            "manifest": data_name(specs[0].manifest),
            "split": split,
            "bands": None if bands is None else list(bands),
            "detectors": {name: _about(detector) for name, detector in detectors.items()},
            "rules": _RULES,
        },
    }


def _judged(samples: Sequence[Any], of: int, lacking: Mapping[str, int]) -> dict[str, Any]:
    return {
        "samples": len(samples),
        "of": of,
        "scenes": len({sample.scene for sample in samples}),
        "not_judged": sum(sample.not_judged for sample in samples),
        "lacking": dict(lacking),
    }


def _about(detector: Detector) -> dict[str, Any]:
    """Return what a detector is, for the record; its name tells its flips."""
    if isinstance(detector, Flipped):
        return _about(detector.detector)
    known: dict[str, Any] = {
        "outputs": [{"code": o.code, "stands_for": list(o.stands_for)} for o in detector.outputs]
    }
    if isinstance(detector, ModelDetector):
        card = detector.model.card
        known |= {"version": card.version, "sha256": detector.model.sha256}
    elif isinstance(detector, Versioned):
        known["version"] = detector.version
    return known


def _files(about: Mapping[str, Mapping[str, Any]]) -> str:
    return "; ".join(
        f"{name}: version {a['version']}"
        + (f", SHA-256 {a['sha256'][:16]}" if "sha256" in a else "")
        for name, a in about.items()
        if "version" in a
    )


def _page(scores: Mapping[str, Any], sections: Iterator[str]) -> str:
    protocol = scores["protocol"]
    counts = [known for name, known in scores["judged"].items() if name in BASELINES]
    return document(
        f"Detectors compared on {data_title(protocol)}",
        f"{', '.join(protocol['detectors'])}: {counts[0]['of']} images of {counts[0]['scenes']} "
        f"scenes",
        sections,
    )


def _judged_section(scores: Mapping[str, Any]) -> str:
    rows = []
    for place, (name, known) in enumerate(scores["judged"].items()):
        lacking = "; ".join(f"{words} ({n})" for words, n in known["lacking"].items())
        rows.append(
            [
                series(name, place),
                escape(lacking) or "–",
                f"{known['samples']} of {known['of']}",
                str(known["scenes"]),
                number(known["not_judged"]),
            ]
        )
    return section(
        "What each could judge",
        note(
            "A detector is left out of images that lack what it needs (how many, in brackets). Its "
            "own scores are those of the images that it judged, so compare detectors by the "
            "differences, which are taken on images that both judged."
        ),
        table(["detector", "lacked", "images", "scenes", "pixels not judged"], rows, words=2),
    )


def _folder_section(found: Mapping[str, Any]) -> str:
    if len(found) < 2:
        return ""
    parts = [f"<h3>{escape(f)}</h3>{difference_table(pairs)}" for f, pairs in found.items()]
    return section("Differences by folder", *parts)


def _common_section(scores: Mapping[str, Any]) -> str:
    """Return the figures on images that all judged, unless those are all images, or none."""
    kept, found = scores["common"]["samples"], scores["common"]["models"]
    if not kept or all(known["samples"] == kept for known in scores["judged"].values()):
        return ""
    names = list(dict.fromkeys(n for s in found.values() for n in s if _is_class(s[n])))
    rows = []
    for name in names:
        told = [(place, m, s[name]) for place, (m, s) in enumerate(found.items()) if name in s]
        for line, (place, model, values) in enumerate(told):
            rows.append(
                [
                    "" if line else escape(name),
                    series(model, place),
                    bar(values["iou"], values["iou_interval"], place=place),
                    percent(values["iou"]),
                    mean_of_scenes(values),
                    *(percent(values[f]) for f in ("precision", "recall")),
                ]
            )
    heads = ["IoU", "IoU, mean of scenes", "precision", "recall"]
    return section(
        "On the images that every detector judged",
        note(f"{kept} images; in percent."),
        table(["class", "detector", "", *heads], rows, words=3),
    )


def _is_class(values: object) -> bool:
    return isinstance(values, dict) and "iou" in values


def _speed_section(speed: Mapping[str, Any] | None) -> str:
    if not speed or not speed["detectors"]:
        return ""
    image, peer = speed["image"], speed["peer"]
    rows = []
    for place, (name, found) in enumerate(speed["detectors"].items()):
        rows.append(
            [
                series(name, place),
                f"{found['megapixels_per_cpu_second']:.3g}",
                f"{found['seconds']:.3g}",
                f"{found['seconds_least']:.3g} to {found['seconds_most']:.3g}",
                f"{found['cpu_seconds']:.3g}",
                f"{found['times_first']:.3g}",
                *([f"{found['times_peer']:.3g}"] if peer else []),
                str(found["peak_mib"]),
                str(found["own_mib"]),
            ]
        )
    heads = [
        "Mpx a CPU second",
        "seconds",
        "least to most",
        "CPU seconds",
        f"times {speed['first']}",
    ]
    heads += [f"times {peer}"] if peer else []
    words = (
        f"An image of {image['rows']} x {image['columns']} pixels and {image['bands']} bands at "
        f"{image['resolution']:g} m in memory, {speed['threads']} thread(s), each detector in a "
        f"process of its own; median of {speed['rounds']} rounds that take turns, after a warm-up. "
        f"Peak memory is that of the process from when the image was there; the last column is "
        f"what opening and running the detector added to Python, nubila and the image. "
        f"{speed['machine']['processor']}."
    )
    if any(name.startswith("ukis-csmask") for name in speed["detectors"]):
        words += (
            " Ratios are of images of this size: ukis-csmask cuts them into overlapping tiles of "
            "256 and so judges 4 times the pixels of 512 x 512, 2.25 times those of 1024 x 1024, "
            "1.7 times those of 5490 x 5490."
        )
    return section(
        "Speed and memory",
        note(words),
        table(["detector", *heads, "peak MiB", "own MiB"], rows),
    )


def _difference_rows(scores: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give a row for each pair, folder, class and figure; first those of all folders."""
    for folder, pairs in {"all": scores["differences"], **scores["folder_differences"]}.items():
        for pair, classes in pairs.items():
            for name, values in classes.items():
                for figure in (key for key in values if f"{key}_interval" in values):
                    low, high = values[f"{figure}_interval"]
                    place = {"pair": pair, "folder": folder, "class": name, "figure": figure}
                    counts = {"samples": values["samples"], "scenes": values["scenes"]}
                    yield place | counts | {"difference": values[figure], "low": low, "high": high}


def _sample_rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    for contender in comparison.scored:
        for tally, share in zip(contender.tallies, comparison.disagreement, strict=True):
            if tally is not None:
                yield sample_row(contender.name, tally) | {"disagreement": round(share, 6)}
