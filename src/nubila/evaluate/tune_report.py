"""What tuning leaves: a copy of the model with its points in the card, and a table of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from nubila._version import __version__
from nubila.datasets import SampleSpec
from nubila.evaluate.calibration import calibration
from nubila.evaluate.counts import Counts, rounded
from nubila.evaluate.report import data_name, write_csv, write_text
from nubila.evaluate.scores import by_scene, differences
from nubila.evaluate.tally import SampleTally
from nubila.evaluate.tune import Tuned
from nubila.evaluate.tune_goals import GOALS, SHADOW_SCENES, SHADOW_WEIGHT, difference, held_out
from nubila.models_io import CalibrationError, Model, ModelCard, copy_with_card

__all__ = ["tuning_document", "write_tuned"]

_FIGURES: Final = ("iou", "precision", "recall")


def write_tuned(
    tuned: Tuned, model: Model, specs: Sequence[SampleSpec], output: Path, *, split: str
) -> dict[str, Path]:
    """Write the model with its operating points, and the table of what they score.

    The graph's bytes stay as they are; the STAC item beside the model, if there is one, is copied
    and told the new file's name and size.

    Args:
        tuned: what `nubila.evaluate.tune.tune` found.
        model: that it was found for.
        specs: the samples that it was found on.
        output: the ONNX file to write; the others get its name.
        split: name of the samples' split.

    Returns:
        ``model``, ``table`` (CSV), ``tuning`` (JSON) and, where there was one, ``item``.

    Raises:
        ModelError: the model's file is not readable any more.
        OutputError: a file cannot be written.
    """
    document = tuning_document(tuned, model, specs, split=split)
    paths = {
        "model": output,
        "table": output.with_suffix(".tuning.csv"),
        "tuning": output.with_suffix(".tuning.json"),
    }
    source = Path(model.path)
    item = source.with_suffix(".stac.json")
    text = item.read_text(encoding="utf-8") if item.is_file() else None
    copy_with_card(source, output, _card(tuned, model.card, specs, split))
    if text is not None:
        paths["item"] = output.with_suffix(".stac.json")
        write_text(paths["item"], _item(json.loads(text), output))
    write_text(paths["tuning"], json.dumps(document, indent=2, allow_nan=False) + "\n")
    write_csv(paths["table"], _rows(document))
    return paths


def tuning_document(
    tuned: Tuned, model: Model, specs: Sequence[SampleSpec], *, split: str
) -> dict[str, Any]:
    """Return what the JSON file holds.

    ``{"plain": scores, "points": {name: {"point": ..., "goal": ..., "scores": ..., "difference":
    ...}}, "protocol": ...}``: ``goal`` has the score on these samples, the same held out one scene
    at a time, and what both are more than plain, with intervals.
    """
    plain = tuned.tallies["plain"]
    return {
        "plain": _scores(plain),
        "points": {
            name: {
                "point": point.model_dump(mode="json", exclude={"about"}),
                "about": GOALS[name].about,
                "goal": _goal(tuned, name),
                "scores": _scores(tuned.tallies[name]),
                "difference": differences(tuned.tallies[name], plain, _scores(plain)),
            }
            for name, point in tuned.points.items()
        },
        "protocol": {
            "nubila": __version__,
            "model": model.card.name,
            "model_version": model.card.version,
            "model_sha256": model.sha256,
            "manifest": data_name(specs[0].manifest),
            "split": split,
            "images": len(specs),
            "scenes": len({t.scene for t in plain}),
            "tried": len(tuned.trials),
            "goal": _goal_words(tuned),
            "warning": _warning(split),
        },
    }


def _warning(split: str) -> str:
    return (
        f"thresholds and post-processing were chosen on the split {split}, so that scores on it "
        f"flatter them; the held-out figures, and samples of other places, say what they are worth"
    )


def _goal_words(tuned: Tuned) -> str:
    figure = "the figure of cloud, thin cloud with it, over all pixels of all scenes"
    if not tuned.shadow:
        return f"{figure}; fewer than {SHADOW_SCENES} scenes have labelled cloud shadow: not tuned"
    return f"{1 - SHADOW_WEIGHT:g} x {figure}, + {SHADOW_WEIGHT:g} x that of cloud shadow"


def _goal(tuned: Tuned, name: str) -> dict[str, Any]:
    goal, shadow = GOALS[name], tuned.shadow
    plain, best = tuned.trials[0].counts, tuned.chosen(goal).counts
    apart = held_out(goal, [trial.counts for trial in tuned.allowed(goal)], shadow)
    gain, interval = difference(goal, best, plain, shadow)
    gain_apart, interval_apart = difference(goal, apart, plain, shadow)
    scores = (float(goal.score(c.sum(axis=0), shadow)) for c in (plain, best, apart))
    found = zip(("plain", "score", "held_out"), scores, strict=True)
    return {
        "figure": goal.figure,
        **{key: rounded(value) for key, value in found},
        "gain": rounded(gain),
        "gain_interval": list(interval),
        "held_out_gain": rounded(gain_apart),
        "held_out_gain_interval": list(interval_apart),
    }


def _scores(tallies: Sequence[SampleTally]) -> dict[str, dict[str, float | None]]:
    """Return the figures of cloud, thin cloud and shadow, each where a label names it.

    ``clear_precision`` is the share of what is not called so that is not so.
    """
    found = {}
    for name in ("cloud", "thin cloud", "cloud shadow"):
        counts = sum(by_scene(tallies, name).values(), Counts())
        if counts.positives:
            called_clear = counts.rejections + counts.misses
            found[name] = {figure: rounded(counts.figure(figure)) for figure in _FIGURES} | {
                "clear_precision": rounded(counts.rejections / called_clear)
                if called_clear
                else None
            }
    return found


def _card(tuned: Tuned, card: ModelCard, specs: Sequence[SampleSpec], split: str) -> ModelCard:
    """Return the card with the points, and what calibration left by the file's own answers."""
    plain = tuned.tallies["plain"]
    scenes = len({t.scene for t in plain})
    words = f"tuned on the split {split} of {data_name(specs[0].manifest)} ({scenes} scenes)"
    points = {
        name: point.model_copy(update={"about": f"{GOALS[name].about}; {words}"})
        for name, point in tuned.points.items()
    }
    ece = {
        name: values["ece"]
        for name, values in calibration(plain).items()
        if any(t.names(name) for t in plain) and values["ece"] is not None
    }
    known = card.calibration_error
    before = known.before if known is not None and known.split == split else {}
    error = CalibrationError(split=split, ece=ece, before=before)
    others = {k: v for k, v in card.operating_points.items() if k not in points}
    return card.model_copy(update={"operating_points": others | points, "calibration_error": error})


def _item(item: dict[str, Any], model: Path) -> str:
    """Return a model's STAC item for a copy of it under another name."""
    item["properties"]["mlm:memory_size"] = model.stat().st_size
    item["assets"]["model"]["href"] = f"./{model.name}"
    return json.dumps(item, indent=2) + "\n"


def _rows(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the table's rows: plain, then a point each."""
    yield {"point": "plain", **_cells(document["plain"])}
    for name, found in document["points"].items():
        goal = dict(found["goal"])
        for key in ("gain", "held_out_gain"):
            goal[f"{key}_low"], goal[f"{key}_high"] = goal.pop(f"{key}_interval")
        settings = found["point"]
        thresholds = {f"{n} threshold": v for n, v in settings["thresholds"].items()}
        rest = {"min_area": settings["min_area"], "dilate": settings["dilate"]}
        yield {"point": name, **thresholds, **rest, **goal, **_cells(found["scores"])} | {
            f"{n} {figure} difference{end}": value
            for n, values in found["difference"].items()
            for figure in _FIGURES
            for end, value in zip(
                ("", " low", " high"), (values[figure], *values[f"{figure}_interval"]), strict=True
            )
        }


def _cells(scores: Mapping[str, Mapping[str, float | None]]) -> dict[str, float | None]:
    return {f"{n} {figure}": v for n, values in scores.items() for figure, v in values.items()}
