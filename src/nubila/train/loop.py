"""The fit loop, read from top to bottom.

Lightning Fabric gives devices, processes and precision; the loop itself is plain, because a run
that is killed at any moment and started again has to end with the same weights, bit for bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from nubila.errors import NubilaError
from nubila.nn.normalise import fit_normalise
from nubila.raster.atomic import new_folder
from nubila.recipe import Recipe
from nubila.train._fabric import Fabric, FabricModule
from nubila.train.data import Chips, Labelled, check_leakage, load_split
from nubila.train.distributed import (
    average_buffers,
    finish,
    greatest,
    start_fabric,
    sync_batch_norm,
    total,
)
from nubila.train.folder import (
    check_same_checkpoints,
    check_same_chips,
    check_same_data,
    check_same_recipe,
    checkpoint_hashes,
    describe_data,
    describe_run,
    forget_run,
    write_json,
    write_recipe,
)
from nubila.train.labels import check_labels, tell_untaught
from nubila.train.objective import Objective, build_objective
from nubila.train.odds import tell_named
from nubila.train.pictures import chosen
from nubila.train.pool import held_out_count, synthetic_pool, view_pool
from nubila.train.record import Record
from nubila.train.samples import check_bands
from nubila.train.schedule import learning_rate
from nubila.train.signals import catch_signals, leave_signals, requeue
from nubila.train.state import State
from nubila.train.step import Part, chip_numbers, class_weights, memory_hint, seed_step, take_step
from nubila.train.trackers import check_trackers
from nubila.train.validate import statistics_of, validate
from nubila.train.views import check_detectors

__all__ = ["fit"]

_REPORT_EVERY = 50


def fit(recipe: Recipe, folder: Path, *, resume: bool, report: Callable[[str], None]) -> Path:
    """Train as a recipe says.

    With more than one device, Fabric starts the other processes by running this program's command
    line again, so that this has to be called from a script or from ``nubila train``.

    Args:
        recipe: the run.
        folder: gets `recipe.yaml`, `environment.json`, `data.json`, `metrics.csv`, `curves.png`,
            `pictures/`, `last.ckpt`, `best.ckpt` and, once finished, `result.json`.
        resume: go on from `last.ckpt` where there is one; else start anew.
        report: called with each line for people.

    Returns:
        `best.ckpt`: the averaged weights of the best validation by `recipe.monitor`.

    Raises:
        ManifestError: no or wrong samples, or no pixel of a split is labelled.
        RecipeError: the folder holds a run of another recipe, of other samples or chips, or built
            on another checkpoint, or the recipe asks for devices that are not there.
        MissingExtraError: the package of a tracker, or of a detector of `views`, is not installed.
        NubilaError: the loss is not finite any more (see `emergency.ckpt` and `emergency-0.npz`),
            or the memory is not enough.
        SystemExit: after Ctrl-C, SIGTERM or SIGUSR1, once the state is saved.
        KeyboardInterrupt: after a second Ctrl-C, at once; what is saved is left as it was.
    """
    check_trackers(recipe)
    if not (resume and (folder / "result.json").is_file()):  # a finished run needs none
        check_detectors(recipe)
    fabric = start_fabric(recipe)
    try:
        with new_folder(folder), memory_hint(recipe):  # now, before hours of reading
            report = report if fabric.is_global_zero else _to_no_one
            _fit(fabric, recipe, folder, resume, report)
    finally:
        finish(fabric)
    return folder / "best.ckpt"


def _fit(
    fabric: Fabric, recipe: Recipe, folder: Path, resume: bool, report: Callable[[str], None]
) -> None:
    checkpoints = checkpoint_hashes(recipe)  # before they are read: they may change meanwhile
    state = State.start(recipe, report)
    state.network = sync_batch_norm(fabric, state.network)
    state.precision = fabric.strategy.precision
    plain: nn.Module = state.network
    if recipe.compile:
        plain = cast(nn.Module, torch.compile(plain))
    network, optimiser = fabric.setup(plain, state.optimiser)
    state.average.to(fabric.device)
    if resume and (folder / "last.ckpt").is_file():
        check_same_recipe(recipe, folder)
        check_same_checkpoints(folder, checkpoints)
        state.restore(folder / "last.ckpt")
        report(f"going on from step {state.step} of {recipe.steps}")

    with fabric.rank_zero_first():  # which may fill the tile store and make the synthetic chips
        splits = (recipe.data.train, recipe.data.validation)
        train, held_back = (load_split(recipe, split) for split in splits)
        check_leakage(train, held_back)
        if state.step:
            check_same_data(folder, train, held_back)
        if state.finished and (folder / "result.json").is_file():  # else it was killed at the end
            if fabric.is_global_zero:
                write_recipe(recipe, folder)  # its sections for export and so on may be others
            return
        check_labels(recipe, train, held_back, report)
        pool = synthetic_pool(recipe, report)
        views = view_pool(recipe, train, report)
        made = {"synthetic": pool, "views": views}
        if state.step:
            check_same_chips(folder, made)
        check_bands(recipe, train, pool if recipe.synth.share else [])
    for each in (state.network, state.average):  # a checkpoint has what was measured already
        fit_normalise(each.normalise, (sample.image for sample in train))
    held_out = pool[: held_out_count(len(pool))]
    viewed = f", {len(views)} views" if views else ""
    counts = f"{len(train)} training samples, {len(held_back)} to validate, {len(pool)} synthetic"
    report(counts + viewed)
    drawn = pool[len(held_out) :]
    tell_untaught(recipe, train, (drawn if recipe.synth.share else (), views), report)
    tell_named("data.weights", recipe.data.weights, train, report)
    tell_named("views.weights", recipe.views.weights if recipe.views.share else {}, train, report)
    chips = Chips(recipe, train, drawn, statistics_of(state.network), views)
    objective = build_objective(recipe, train, fabric.device)  # it may lack a class
    if fabric.is_global_zero:
        if state.step == 0:
            forget_run(folder)
            describe_data(folder, train, held_back, made, checkpoints)
        describe_run(recipe, folder)
    fabric.barrier()

    run = _Run(
        fabric, recipe, folder, state, network, optimiser, objective, held_back, held_out, report
    )
    active = fabric.is_global_zero
    with Record(recipe, folder, state.step, active=active, report=report) as record:
        _loop(run, record, _batches(run, chips))
    if active:
        _conclude(run)


@dataclass(frozen=True)
class _Run:
    fabric: Fabric
    recipe: Recipe
    folder: Path
    state: State
    network: FabricModule
    optimiser: torch.optim.Optimizer
    objective: Objective
    held_back: Sequence[Labelled]
    held_out: Sequence[Labelled]
    report: Callable[[str], None]

    def save(self, name: str) -> None:
        if self.fabric.is_global_zero:
            self.state.save(self.folder / name)


def _loop(run: _Run, record: Record, batches: Iterator[Part]) -> None:
    fabric, recipe, state = run.fabric, run.recipe, run.state
    weights = class_weights(recipe)
    saved = started = time.monotonic()
    first = state.step
    with catch_signals() as caught:
        while not state.finished:
            rate = learning_rate(recipe, state.step, state.plateau.scale)
            for group in run.optimiser.param_groups:
                group["lr"] = rate
            parts = [next(batches) for _ in range(recipe.optim.accumulate)]

            seed_step(recipe, state.step, fabric.global_rank)
            loss = take_step(
                fabric,
                run.network,
                run.optimiser,
                parts,
                loss=run.objective.training,
                teacher=run.objective.teacher,
                weights=weights,
                clip=recipe.optim.clip,
            )
            if not math.isfinite(loss):
                _emergency(run, parts, loss)
            average_buffers(fabric, state.network)
            state.step += 1
            state.follow(recipe.optim.ema)
            state.losses.append(loss)

            if state.step % _REPORT_EVERY == 0:
                speed = (state.step - first) / (time.monotonic() - started)
                _say(run, record, rate, speed)
            if state.step % recipe.validate_every == 0 or state.step == recipe.steps:
                _validate(run, record)
            number = greatest(fabric, caught.number)
            due = fabric.broadcast(time.monotonic() - saved > 60 * recipe.checkpoint_minutes)
            if number or due:
                run.save("last.ckpt")
                saved = time.monotonic()
            if number:
                _leave(run, number)
    run.save("last.ckpt")


def _say(run: _Run, record: Record, rate: float, speed: float) -> None:
    """Report the mean loss since the last report, and how long the rest will take."""
    step, mean = run.state.step, float(np.mean(run.state.losses))
    minutes = (run.recipe.steps - step) / speed / 60
    record.figures(step, {"loss": mean, "lr": rate})
    run.report(f"step {step}: loss {mean:.4f}, {speed:.2f} steps/s, {minutes:.0f} min")
    run.state.losses.clear()


def _validate(run: _Run, record: Record) -> None:
    """Score the averaged weights, each process its share of the samples; keep the best."""
    state, fabric = run.state, run.fabric
    scores = validate(
        state.average,
        run.recipe,
        run.held_back,
        run.held_out,
        loss=run.objective.validation,
        share=slice(fabric.global_rank, None, fabric.world_size),
        total=partial(total, fabric),
    )
    record.figures(state.step, scores)
    record.pictures(state.step, state.average, chosen(run.held_back, run.recipe.track.pictures))
    rows = "\n".join(f"    {name:44s} {value:.4f}" for name, value in scores.items())
    run.report(f"step {state.step}: validation\n{rows}")
    if state.judge(scores):
        run.save("best.ckpt")


def _leave(run: _Run, number: int) -> None:
    """End after a signal; the state is saved."""
    run.report(f"signal {number}: saved at step {run.state.step}; the same command goes on")
    if run.fabric.is_global_zero:
        requeue(number, run.report)
    raise SystemExit(128 + number)


def _emergency(run: _Run, parts: Sequence[Part], loss: float) -> None:
    """Save the last good state and the chips that broke it, and end.

    Raises:
        NubilaError: in any case.
    """
    recipe, step, fabric = run.recipe, run.state.step, run.fabric
    numbers = chip_numbers(recipe, step, fabric.global_rank, fabric.world_size)
    run.save("emergency.ckpt")
    chips = run.folder / f"emergency-{fabric.global_rank}.npz"
    np.savez_compressed(
        chips,
        image=np.concatenate([part.image.numpy() for part in parts]),
        label=np.concatenate([part.label.numpy() for part in parts]),
        numbers=np.concatenate(numbers),
    )
    fabric.barrier()
    raise NubilaError(
        f"step {step}: the loss is {loss}, or its gradient is not finite; lower optim.lr "
        f"({recipe.optim.lr:g}) or look for infinite reflectance in chips {numbers[0][0]} to "
        f"{numbers[-1][-1]}, which are in {chips}. {run.folder / 'emergency.ckpt'} holds the last "
        f"good state."
    )


def _conclude(run: _Run) -> None:
    """Write how the run ended."""
    state, recipe = run.state, run.recipe
    best = state.best if state.best is not None and math.isfinite(state.best) else None
    early = state.step < recipe.steps
    if early:
        run.report(f"stopped at step {state.step}: {recipe.patience} validations without a better")
    result = {
        "step": state.step,
        "ended": "patience" if early else "all steps",
        "monitor": recipe.monitor,
        "best": None if best is None else abs(best),
        "best_step": state.best_step,
    }
    write_json(run.folder / "result.json", result)


def _batches(run: _Run, chips: Chips) -> Iterator[Part]:
    """Yield this process's chips, a batch a pass, from the step to go on from."""
    recipe, fabric = run.recipe, run.fabric
    rank, processes = fabric.global_rank, fabric.world_size
    numbers = (
        number
        for step in range(run.state.step, recipe.steps)
        for passed in chip_numbers(recipe, step, rank, processes)
        for number in passed
    )
    loader = DataLoader(
        chips,
        batch_size=recipe.batch // (recipe.optim.accumulate * processes),
        sampler=numbers,
        num_workers=recipe.workers,
        prefetch_factor=4 if recipe.workers else None,
        pin_memory=fabric.device.type == "cuda",
        worker_init_fn=leave_signals,
    )
    return (Part(*batch) for batch in loader)


def _to_no_one(_line: str) -> None:
    """Take the lines of all processes but the first."""
