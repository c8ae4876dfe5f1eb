"""Scores of samples taken together: what `scores.json` holds, and the rules by which it is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from nubila.classes import CLASS_NAMES, class_set
from nubila.evaluate.calibration import calibration
from nubila.evaluate.counts import (
    DIFFERENCES,
    FIGURES,
    RESAMPLES,
    SEED,
    Counts,
    absent_interval,
    absent_rate,
    difference_intervals,
    intervals,
    rounded,
    scene_mean,
    scene_mean_interval,
    with_class,
)
from nubila.evaluate.tally import SCORED, SampleTally, agreeing, count_class, tally

__all__ = [
    "PROTOCOL",
    "SCORED",
    "Counts",
    "SampleTally",
    "by_scene",
    "count_class",
    "differences",
    "full_scores",
    "label_name",
    "summarise",
    "tally",
    "variants",
]

PROTOCOL: Final[dict[str, str]] = {
    "images": "each image is seen once, whole, unchanged, at its own ground resolution",
    "pixels": (
        "pixels that the label ignores, or that have no data in any band, do not count; nor do "
        "those that a model gave no class for lack of a needed band (not_judged says how many); of "
        "several models, all are scored on the pixels that every one of them judged"
    ),
    "partial labels": (
        "for a class, a pixel is positive where the label allows nothing but the class, negative "
        "where it rules the class out, and left out where it cannot tell; agreement is the share "
        "of labelled pixels whose predicted class the label allows"
    ),
    "cloud": "cloud and thin cloud together, in labels and predictions; thick cloud is without it",
    "classes reported": (
        "those that some code of the labels names for sure; images whose codes leave the class "
        "open everywhere do not count for it; cloud is also reported where the labels rule it out; "
        "classes that the model does not tell are left out, and so are those that it merges with "
        "others"
    ),
    "iou, dice, precision, recall, specificity, accuracy, balanced_accuracy": (
        "global: from the pixels of all images together; precision is the user's accuracy, recall "
        "the producer's; balanced accuracy is the mean of recall and specificity"
    ),
    "scenes": "images of one group are one scene, their pixels pooled",
    "..._scene_mean": (
        "mean over scenes of the figure in each; the labels alone say which scenes, so that they "
        "are the same for every model: iou, dice, precision and recall are of the scenes whose "
        "label has the class (iou_scene_mean_scenes says how many), specificity of those that have "
        "something else, balanced accuracy of those that have both, accuracy of all; where the "
        "class is there and never predicted, precision is 0"
    ),
    "false_positive_rate_absent": (
        "of the pixels of all scenes whose label lacks the class, the share that is called it"
    ),
    "..._interval": (
        f"95 % percentile bootstrap over scenes, {RESAMPLES} resamples, seed {SEED}; null for "
        f"fewer than two scenes; too narrow for few: between two detectors that are alike, 0 was "
        f"left out one time in six with 7 scenes and one in ten with 20 or 37, in place of one in "
        f"twenty"
    ),
    "baselines": (
        "all_cloud_iou: IoU of cloud when all is called cloud; all_clear_accuracy: accuracy of "
        "cloud when all is called clear; the balanced accuracy of both is 0.5"
    ),
    "differences": (
        "first model minus second on the same pixels; both are drawn together in each resample; a "
        "difference is told apart from chance if its interval does not hold 0"
    ),
    "without thin cloud": (
        "pixels labelled thin cloud, and nothing else, are left out; where the label cannot tell "
        "thin cloud from cloud they stay"
    ),
    "without boundaries": (
        "pixels of the label near a boundary between two labels are left out; the pixels on both "
        "sides of it count as the first"
    ),
    "calibration": (
        "ece: mean distance between the predicted probability of a class and how often pixels of "
        "that probability have it, over 20 bins of equal width, weighted by pixels"
    ),
    "null": "the figure would be a division by zero, or the labels cannot decide it",
}


def summarise(samples: Sequence[SampleTally], told: Iterable[str]) -> dict[str, Any]:
    """Return the scores of samples together, in the structure of ``scores.json``.

    Args:
        samples: of one folder, or of all.
        told: names of the classes that the model tells apart.

    Returns:
        ``{"scenes": n, "cloud": {"iou": ...}, ..., "all_cloud_iou": ..., ...}``
    """
    known = class_set(told)
    codes = [code for code in CLASS_NAMES if known >> code & 1]
    cloud = sum((s.counts("cloud") for s in samples), Counts())
    pixels = sum(int(s.table.sum()) for s in samples)
    scores: dict[str, Any] = {"scenes": len({s.scene for s in samples})}
    for name in SCORED:
        if _is_told(samples, codes, name) and _is_reported(samples, name):
            scores[name] = _class_scores(list(by_scene(samples, name).values()))
    clear = cloud.false_alarms + cloud.rejections
    return scores | {
        "all_cloud_iou": rounded(cloud.positives / cloud.pixels if cloud.pixels else None),
        "all_clear_accuracy": rounded(clear / cloud.pixels if cloud.pixels else None),
        "agreement": rounded(sum(map(agreeing, samples)) / pixels if pixels else None),
        "confusion": _confusion(samples, codes),
        "images": len(samples),
        "pixels": pixels,
        "not_judged": sum(s.not_judged for s in samples),
    }


def variants(samples: Sequence[SampleTally], buffer: str | None) -> dict[str, list[SampleTally]]:
    """Return the samples with fewer of their pixels, by what is left out.

    Args:
        samples: all of them.
        buffer: how far from a boundary pixels were left out of their inner tables; None = not.
    """
    found = {}
    if any(s.names("thin cloud") for s in samples):
        found["without thin cloud"] = [s.without_thin_cloud() for s in samples]
    if buffer is not None:
        found[f"without boundaries ({buffer})"] = [s.without_boundaries() for s in samples]
    return found


def differences(
    first: Sequence[SampleTally], second: Sequence[SampleTally], names: Iterable[str]
) -> dict[str, Any]:
    """Return what a model scores more than another on the same samples, with intervals.

    Args:
        first: the samples as one model judges them.
        second: the same samples in the same order as another does.
        names: the classes that both tell.

    Returns:
        Class -> ``{"scenes": n, "iou": first - second, "iou_interval": [low, high], ...}``
    """
    found = {}
    for name in names:
        scenes = [list(by_scene(samples, name).values()) for samples in (first, second)]
        middle = difference_intervals(*scenes)
        values: dict[str, Any] = {"scenes": len(scenes[0])}
        for figure in DIFFERENCES:
            one, other = (_figure(counts, figure) for counts in scenes)
            values[figure] = None if one is None or other is None else rounded(one - other)
            values[f"{figure}_interval"] = list(middle[figure])
        found[name] = values
    return found


def by_scene(samples: Sequence[SampleTally], name: str) -> Mapping[tuple[str, str], Counts]:
    """Return the counts of each scene, (folder, group), that the labels can tell the class in."""
    scenes: dict[tuple[str, str], Counts] = {}
    for sample in samples:
        if sample.decides(name):
            scenes[sample.scene] = scenes.get(sample.scene, Counts()) + sample.counts(name)
    return scenes


def label_name(bits: int) -> str:
    """Return a set of classes in words: ``"clear, snow or water"``."""
    names = [name for code, name in CLASS_NAMES.items() if bits >> code & 1]
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _is_told(samples: Sequence[SampleTally], codes: Sequence[int], name: str) -> bool:
    """Tell whether the model has an output that stands for this class and nothing else."""
    called = [samples[0].called[code] for code in codes] if samples else []
    return any(s and s & ~SCORED[name] == 0 for s in called)


def _is_reported(samples: Sequence[SampleTally], name: str) -> bool:
    if any(s.names(name) for s in samples):
        return True
    return name == "cloud" and any(s.decides(name) for s in samples)


def _figure(scenes: Sequence[Counts], name: str) -> float | None:
    if name == "iou_scene_mean":
        return scene_mean(scenes, "iou")
    if name == "false_positive_rate_absent":
        return absent_rate(scenes)
    return sum(scenes, Counts()).figure(name)


def _class_scores(scenes: Sequence[Counts]) -> dict[str, Any]:
    whole = sum(scenes, Counts())
    middle = intervals(scenes)
    scores: dict[str, Any] = {}
    for name in FIGURES:
        scores[name] = rounded(whole.figure(name))
        scores[f"{name}_interval"] = list(middle[name])
        scores[f"{name}_scene_mean"] = rounded(scene_mean(scenes, name))
    return scores | {
        "iou_scene_mean_interval": list(scene_mean_interval(scenes, "iou")),
        "iou_scene_mean_scenes": with_class(scenes),
        "false_positive_rate_absent": rounded(absent_rate(scenes)),
        "false_positive_rate_absent_interval": list(absent_interval(scenes)),
        "scenes": len(scenes),
        "pixels": whole.pixels,
        "positive_pixels": whole.positives,
        "hits": whole.hits,
        "false_alarms": whole.false_alarms,
        "misses": whole.misses,
        "rejections": whole.rejections,
    }


def _confusion(samples: Sequence[SampleTally], codes: Sequence[int]) -> dict[str, Any]:
    """Return pixels by label, as far as it tells classes apart, and by what the model calls them.

    Returns:
        ``{"labels": [...], "predictions": [...], "pixels": [[one row a label], ...]}``
    """
    table = sum((s.table for s in samples), np.zeros((64, len(CLASS_NAMES)), np.int64))
    # Classes by themselves first, then labels that leave several open.
    sets = sorted(np.flatnonzero(table.any(axis=1)).tolist(), key=lambda s: (s.bit_count(), s))
    return {
        "labels": [label_name(s) for s in sets],
        "predictions": [CLASS_NAMES[code] for code in codes],
        "pixels": table[np.ix_(sets, codes)].tolist(),
    }


def full_scores(
    samples: Sequence[SampleTally],
    told: Iterable[str],
    *,
    buffer: str | None,
    strata: Mapping[str, Mapping[str, Sequence[SampleTally]]],
) -> dict[str, Any]:
    """Return all of a model's scores: overall, by folder, with fewer pixels, by stratum.

    Args:
        samples: in the manifest's order.
        told: names of the classes that the model tells apart.
        buffer: as in `variants`.
        strata: column -> value -> samples; ``folder`` among them.
    """
    told = tuple(told)
    found = {
        column: {value: summarise(chosen, told) for value, chosen in values.items()}
        for column, values in strata.items()
    }
    return {
        "overall": summarise(samples, told),
        "folders": found.pop("folder", {}),
        "variants": {
            name: summarise(chosen, told) for name, chosen in variants(samples, buffer).items()
        },
        "strata": found,
        "calibration": calibration(samples),
    }
