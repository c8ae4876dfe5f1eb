"""Tuning operating points: thresholds and post-processing for a goal, by Optuna's TPE."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import SCORED
from nubila.datasets import SampleSpec
from nubila.errors import InputError, MissingExtraError
from nubila.evaluate.run import graded
from nubila.evaluate.scores import by_scene
from nubila.evaluate.tally import SampleTally
from nubila.evaluate.tune_bench import Bench
from nubila.evaluate.tune_goals import GOALS, SHADOW_SCENES, TAKING, Goal, held_out
from nubila.models_io import Model, OperatingPoint

__all__ = ["Trial", "Tuned", "check_split", "tune"]

# A word alone, as in test-2, test_2020 and Test: latest is none.
_TEST: Final = re.compile(r"(?<![a-z])tests?(?![a-z])", re.IGNORECASE)
# Steps of the search: finer ones would tell apart what a few dozen scenes cannot.
_THRESHOLD: Final = (0.02, 0.98, 0.02)
_AREAS: Final = (0.0, 400.0, 1000.0, 4000.0, 10_000.0, 40_000.0, 100_000.0)  # square metres
_DILATIONS: Final = (0.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0)  # metres


@dataclass(frozen=True)
class Trial:
    """An operating point and what it counts.

    Attributes:
        point: thresholds and post-processing.
        counts: (scenes, 2, 4) hits, false alarms, misses and rejections of cloud, thin included,
            and of cloud shadow.
    """

    point: OperatingPoint
    counts: NDArray[np.float64]


@dataclass(frozen=True)
class Tuned:
    """What tuning found.

    Attributes:
        points: name -> the chosen trial's point.
        tallies: name -> counts of every sample at this point; ``plain`` is the most probable class.
        trials: all that was tried, the most probable class first.
        shadow: whether cloud shadow counted.
    """

    points: Mapping[str, OperatingPoint]
    tallies: Mapping[str, tuple[SampleTally, ...]]
    trials: tuple[Trial, ...]
    shadow: bool

    def chosen(self, goal: Goal) -> Trial:
        """Return the trial that scores most, the first of equals, if choosing so is worth it.

        Where it gains nothing on scenes that are held out, what it gains on all of them is chance,
        and the most probable class stays.
        """
        plain, allowed = self.trials[0], self.allowed(goal)
        counts = [trial.counts for trial in allowed]
        apart = Trial(plain.point, held_out(goal, counts, self.shadow))
        if _score(goal, apart, self.shadow) <= _score(goal, plain, self.shadow):
            return plain
        return max(allowed, key=lambda trial: _score(goal, trial, self.shadow))

    def allowed(self, goal: Goal) -> list[Trial]:
        """Return the trials that a goal may choose from, the most probable class first."""
        return [trial for trial in self.trials if goal.allows(trial.point)]


def check_split(split: str, specs: Sequence[SampleSpec]) -> None:
    """Refuse to tune on images that are there to be scored on.

    Raises:
        InputError: the split is a test split by its name.
    """
    for name in (split, *(spec.split for spec in specs)):
        if _TEST.search(name):
            raise InputError(
                f"split {name!r}: operating points are never tuned on a test split, because its "
                f"scores would then say nothing of new images; give --split validation"
            )


def tune(
    model: Model,
    specs: Sequence[SampleSpec],
    *,
    trials: int,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Tuned:
    """Search thresholds, least area and dilation for each of `GOALS`.

    The model runs once over each sample. Each goal gets so many new trials, and knows those of the
    goals before it; the most probable class, with nothing done to it, is a trial too, and stays
    where choosing another gains nothing on scenes held out. The same samples give the same points.

    Args:
        model: one that gives probabilities.
        specs: samples of one split.
        trials: for each goal.
        threads: samples side by side; the points do not depend on it.
        progress: called with the number of samples that the model has run on.
        report: called with each line for people.

    Raises:
        InputError: the model gives classes alone, or no label tells cloud.
        MissingExtraError: Optuna is not installed.
        BandError, ManifestError, ModelError: as `evaluate_together`.
    """
    if not graded(model.card):
        raise InputError(
            f"{model.path}: its graph gives {model.card.output}, which leave nothing to tune; "
            f"export the run with --output probabilities"
        )
    with _quiet_optuna():
        pass  # told before the model has run, not after
    with tempfile.TemporaryDirectory(prefix="nubila-tune-") as folder:
        bench = Bench(model, specs, Path(folder), threads=threads, progress=progress)
        plain = bench.tallies(OperatingPoint())
        shadow = _shadow_scenes(plain) >= SHADOW_SCENES
        tried = _Tried(bench, _tuned_classes(model, plain, shadow), plain)
        for seed, (name, goal) in enumerate(GOALS.items()):
            _search(goal, tried, trials, shadow, seed)
            report(f"{name}: {len(tried.trials)} points tried")
        found = Tuned({}, {}, tuple(tried.trials.values()), shadow)
        points = {name: found.chosen(goal).point for name, goal in GOALS.items()}
        tallies = {name: bench.tallies(point) for name, point in points.items()}
    return Tuned(points, {"plain": plain, **tallies}, found.trials, shadow)


class _Tried:
    """Every point that was tried, so that none is tried twice.

    Attributes:
        classes: those that get a threshold.
        trials: parameters as Optuna knows them -> trial; the most probable class has none.
    """

    def __init__(self, bench: Bench, classes: Sequence[str], plain: Sequence[SampleTally]) -> None:
        self.classes = classes
        plain_trial = Trial(OperatingPoint(), _counts(plain))
        self.trials: dict[tuple[tuple[str, float], ...], Trial] = {(): plain_trial}
        self._bench = bench

    def at(self, parameters: Mapping[str, float]) -> Trial:
        """Return the trial with these parameters."""
        key = tuple(sorted(parameters.items()))
        if key not in self.trials:
            point = OperatingPoint(
                thresholds={name: round(parameters[name], 2) for name in self.classes},
                min_area=_AREAS[int(parameters["min_area"])],
                dilate=_DILATIONS[int(parameters["dilate"])],
            )
            self.trials[key] = Trial(point, _counts(self._bench.tallies(point)))
        return self.trials[key]


def _search(goal: Goal, tried: _Tried, trials: int, shadow: bool, seed: int) -> None:
    """Try points that the ones before suggest, by the Tree-structured Parzen Estimator.

    Bergstra et al. 2011 (Advances in Neural Information Processing Systems 24).
    """
    with _quiet_optuna() as optuna:
        from optuna.distributions import FloatDistribution, IntDistribution

        low, high, step = _THRESHOLD
        low = TAKING if goal.taking else low
        space: dict[str, Any] = {n: FloatDistribution(low, high, step=step) for n in tried.classes}
        space |= {
            # Places in the tables, whose order means something.
            "min_area": IntDistribution(0, len(_AREAS) - 1),
            "dilate": IntDistribution(0, 0 if goal.taking else len(_DILATIONS) - 1),
        }
        study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed)
        )
        study.enqueue_trial(dict.fromkeys(tried.classes, 0.5) | {"min_area": 0, "dilate": 0})
        for parameters, trial in tried.trials.items():
            if parameters and goal.allows(trial.point):
                known = optuna.trial.create_trial(
                    params=dict(parameters),
                    distributions=space,
                    value=_score(goal, trial, shadow),
                )
                study.add_trial(known)
        for _ in range(trials):
            asked = study.ask(space)
            study.tell(asked, _score(goal, tried.at(asked.params), shadow))


@contextmanager
def _quiet_optuna() -> Iterator[Any]:
    """Give Optuna, with its lines a trial kept back.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise MissingExtraError("optuna", extra="train") from error
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield optuna
    finally:
        optuna.logging.set_verbosity(level)


def _score(goal: Goal, trial: Trial, shadow: bool) -> float:
    """Return the score over all scenes; 0 where it is undefined."""
    score = float(goal.score(trial.counts.sum(axis=0), shadow))
    return 0.0 if math.isnan(score) else score


def _counts(tallies: Sequence[SampleTally]) -> NDArray[np.float64]:
    """Return counts (scenes, 2, 4) of cloud and cloud shadow, scenes in their order."""
    scenes = list(dict.fromkeys(t.scene for t in tallies))
    found = np.zeros((len(scenes), 2, 4))
    for place, name in enumerate(("cloud", "cloud shadow")):
        for scene, counts in by_scene(tallies, name).items():
            found[scenes.index(scene), place] = astuple(counts)
    return found


def _shadow_scenes(tallies: Sequence[SampleTally]) -> int:
    """Return how many scenes have labelled cloud shadow."""
    return sum(c.positives > 0 for c in by_scene(tallies, "cloud shadow").values())


def _tuned_classes(model: Model, tallies: Sequence[SampleTally], shadow: bool) -> tuple[str, ...]:
    """Return the model's classes that get a threshold: clouds, and shadow where it counts.

    Raises:
        InputError: no label tells cloud, or the model does not.
    """
    card, cloudy = model.card, SCORED["cloud"] | (SCORED["cloud shadow"] if shadow else 0)
    sets = zip(card.classes, card.class_sets, strict=True)
    names = tuple(name for name, members in sets if members & ~cloudy == 0)
    told = any(m & ~SCORED["cloud"] == 0 for m in card.class_sets)
    if not told or not _counts(tallies)[:, 0, [0, 2]].any():
        raise InputError(
            f"{model.path}: nothing to tune on: either the model does not tell cloud, or no label "
            f"of the {len(tallies)} samples does"
        )
    return names
