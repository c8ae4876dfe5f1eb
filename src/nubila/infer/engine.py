"""The engine: decodes, runs the model and hands on results at the same time, in bounded memory."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from nubila.bands import STANDS_IN
from nubila.errors import InputError, NubilaError
from nubila.infer.cache import Block, CountCache
from nubila.infer.decide import threshold_list
from nubila.infer.first_pass import first_pass
from nubila.infer.layout import Tile
from nubila.infer.needs import Need
from nubila.infer.plan import Plan, make_plan
from nubila.infer.strips import Strip, StripBuilder
from nubila.infer.tiles import (
    VISIBLE,
    Answer,
    Buffers,
    Job,
    PreviewGrid,
    Treated,
    run_tiles,
)
from nubila.models_io import Model, ModelCard
from nubila.raster import Grid, Window
from nubila.raster.gdal import GdalSource
from nubila.scenes import Scene
from nubila.scenes.archive import check_member
from nubila.scenes.fill import FILL_NOTE, FILL_SWITCH

__all__ = [
    "Progress",
    "Run",
    "Sink",
    "Strip",
    "absence_notes",
    "default_threads",
    "model_notes",
    "run_scene",
]

_RAISED_NOTE: Final = (
    "pixels that are saturated in visible bands are taken to be brighter there, by near infrared"
)


@dataclass(frozen=True)
class Run:
    """What is known when a run is done.

    Attributes:
        grid: where the pixels of the area lie.
        preview: (3, rows, columns) float32 reflectance in red, green, blue, NaN = no data, if
            asked for and if the model takes these bands.
        notes: what a person should know, such as a resolution the model was not trained on.
        decode_seconds: CPU time of all workers in decoding.
        tile_seconds: CPU time of all workers in cutting tiles, running the model, and deciding.
        model_seconds: the model's part of it.
    """

    grid: Grid
    preview: NDArray[np.float32] | None
    notes: tuple[str, ...]
    decode_seconds: float
    tile_seconds: float
    model_seconds: float


Sink = Callable[[Strip], None]
Progress = Callable[[int, int], None]


def run_scene(
    scene: Scene,
    model: Model,
    *,
    sink: Sink,
    resolution: float | None = None,
    window: Window | None = None,
    threads: int | None = None,
    tile: int | None = None,
    batch: int = 1,
    thresholds: Mapping[str, float] | None = None,
    probabilities: Literal["float32", "uint8"] | None = None,
    preview: int = 0,
    progress: Progress | None = None,
) -> Run:
    """Run a model over a scene, or an area of it, and hand the results on from top to bottom.

    Args:
        scene: the scene.
        model: the model.
        sink: called from the calling thread with one `Strip` after the other, without gaps.
        resolution: metres; default the scene's own choice.
        window: area in pixels of ``scene.grid_at(resolution)``; default the whole scene.
        threads: workers; default one a processor.
        tile: longest side of what the model sees at once, halo included; default by memory. A
            model whose card fixes the tile always sees that.
        batch: tiles in one run of the model.
        thresholds: see `decide`; default the most probable class.
        probabilities: hand on probabilities too, as this type.
        preview: longest side in pixels of a true-colour picture made along the way; 0 = none.
        progress: called with pixels done and pixels in all.

    Raises:
        BandError: the scene lacks a band that the model needs; nothing was read.
        GridError: the window is empty or outside the scene.
        InputError: an argument is out of range.
        NubilaError: whatever reading, the model or the sink raise, named with the scene.
    """
    workers = default_threads() if threads is None else threads
    if workers < 1 or batch < 1 or preview < 0 or (tile is not None and tile < 1):
        raise InputError(
            f"threads, batch and tile must be at least 1 and preview at least 0, got threads "
            f"{workers}, batch {batch}, tile {tile}, preview {preview}"
        )
    threshold_list(model.card, thresholds)
    with _naming(scene):
        plan = make_plan(
            scene, model.card, resolution=resolution, window=window, threads=workers, tile=tile
        )
        batches = plan.batches(batch)
        needs = plan.needs(batches)
        _check_archived(needs, workers)
        cache = CountCache(needs)
        job = Job(
            plan=plan,
            scene=cache.over(scene),
            model=model,
            thresholds=thresholds,
            probabilities=probabilities,
            preview=_preview_grid(plan, preview),
            buffers=Buffers(batch, model.card, plan.rows[0][0].seen.shape),
            statistics=first_pass(scene, model.card),
        )
        schedule = _Schedule(job, cache, batches, workers)
        builder = StripBuilder(job)
        _drive(schedule, builder, workers, sink, progress)
    return Run(
        grid=plan.grid,
        preview=builder.preview(),
        notes=(
            *model_notes(scene, model.card, plan.resolution),
            *(_fill_notes(scene) if schedule.treated.filled else ()),
            *((_RAISED_NOTE,) if schedule.treated.raised else ()),
        ),
        decode_seconds=schedule.decode_seconds,
        tile_seconds=schedule.tile_seconds,
        model_seconds=schedule.model_seconds,
    )


def _check_archived(needs: Sequence[Sequence[Need]], workers: int) -> None:
    """Hold what will be read from a zip to its checksums.

    Before anything is read, and whole members even for a small area: a few percent of the time
    that it takes to decode them.
    """
    sources = (need.source for several in needs for need in several)
    paths = {source.path for source in sources if isinstance(source, GdalSource)}
    with ThreadPoolExecutor(workers, thread_name_prefix="nubila") as pool:
        list(pool.map(check_member, sorted(paths)))


def default_threads() -> int:
    """Return the number of processors that this process may use."""
    # os.process_cpu_count is new in Python 3.13.
    count = getattr(os, "process_cpu_count", os.cpu_count)
    return count() or 1


def _preview_grid(plan: Plan, longest: int) -> PreviewGrid | None:
    if longest == 0 or not set(VISIBLE) <= {*plan.required, *plan.optional}:
        return None
    return PreviewGrid.of(plan.area, longest)


def model_notes(scene: Scene, card: ModelCard, resolution: float) -> tuple[str, ...]:
    """Return notes on a resolution in metres, or absent bands, that a model does worse with."""
    found = []
    low, high = card.resolution
    if not low * 0.99 <= resolution <= high * 1.01:
        found.append(
            f"model {card.name} was trained for {low:g} to {high:g} m a pixel, not for "
            f"{resolution:g} m; look at the result before trusting it"
        )
    # As the plan asks: nothing stands in for a band that the product names and has no file of.
    there = [use.name for use in card.bands if scene.has_band(use.name)]
    return (*found, *absence_notes(card, there))


def _fill_notes(scene: Scene) -> tuple[str, ...]:
    """Return a note that pixels of 0 were no data, unless the scene says so beforehand."""
    told = any(note.startswith(FILL_NOTE) for note in scene.notes)
    return () if told else (f"{FILL_NOTE} {FILL_SWITCH}",)


def absence_notes(card: ModelCard, bands: Collection[str]) -> tuple[str, ...]:
    """Return notes on what a mask suffers without the model's bands that are not among `bands`."""
    return tuple(
        f"without the band {use.name}, {use.without} (model {card.name})"
        for use in card.bands
        if use.without and not {use.name, STANDS_IN.get(use.name)} & {*bands}
    )


@contextmanager
def _naming(scene: Scene) -> Iterator[None]:
    """Put the scene's name into errors of ours that do not tell it, and a note on all others."""
    try:
        yield
    except NubilaError as error:
        text = str(error)
        if scene.id not in text and scene.path not in text:
            error.args = (f"{scene.path}: {text}",)
        raise
    except Exception as error:
        error.add_note(f"while masking {scene.path}")
        raise


class _Schedule:
    """What may run next: decoding goes a few batches of tiles ahead of those being run.

    A block is decoded before the first batch that needs it and dropped after the last, so what is
    held is about the blocks that a row of tiles needs, and some more. `treated` is what was done to
    the reflectance of any tile.
    """

    def __init__(
        self, job: Job, cache: CountCache, batches: Sequence[Sequence[Tile]], workers: int
    ) -> None:
        self.job, self.cache = job, cache
        self.stopped = threading.Event()
        self.decode_seconds = self.tile_seconds = self.model_seconds = 0.0
        self.treated = Treated()
        self._batches = batches
        self._blocks = deque((i, b) for i, blocks in enumerate(cache.arriving) for b in blocks)
        self._missing = [len(blocks) for blocks in cache.arriving]
        self._unfinished = [True] * len(batches)
        self._ready: deque[int] = deque()
        self._decoded = self._current = 0
        # A batch for each worker to go on with. If there is none to run, decoding alone keeps the
        # workers busy, but it never runs away by more than a row of tiles.
        self._ahead = workers
        self._far = self._ahead + max(len(row) for row in job.plan.rows)
        self._release()

    def next(self) -> Callable[[], _Done] | None:
        """Return a task that can run at once, or None while it takes others to finish first."""
        ahead = self._ahead if self._ready else self._far
        if self._blocks and self._blocks[0][0] <= self._current + ahead:
            batch, block = self._blocks.popleft()
            return lambda: self._decode(batch, block)
        if self._ready:
            batch = self._ready.popleft()
            return lambda: self._run(batch)
        return None

    def finish(self, done: _Done) -> None:
        """Take note of a finished task, which may make others possible."""
        if done.answers:
            self.tile_seconds += done.tile_seconds
            self.model_seconds += done.model_seconds
            self.treated = reduce(or_, (answer.treated for answer in done.answers), self.treated)
            self._unfinished[done.batch] = False
            while self._current < len(self._unfinished) and not self._unfinished[self._current]:
                for block in self.cache.leaving[self._current]:
                    self.cache.drop(block)
                self._current += 1
        else:
            self.decode_seconds += done.decode_seconds
            self._missing[done.batch] -= 1
            self._release()

    def _release(self) -> None:
        """Make the batches ready whose counts, and those of all before, are there."""
        while self._decoded < len(self._missing) and not self._missing[self._decoded]:
            self._ready.append(self._decoded)
            self._decoded += 1

    def _decode(self, batch: int, block: Block) -> _Done:
        if self.stopped.is_set():
            return _Done(batch)
        start = time.thread_time()
        self.cache.decode(block)
        return _Done(batch, decode_seconds=time.thread_time() - start)

    def _run(self, batch: int) -> _Done:
        if self.stopped.is_set():
            return _Done(batch)
        start = time.thread_time()
        answers, model_seconds = run_tiles(self.job, self._batches[batch])
        return _Done(
            batch, answers, tile_seconds=time.thread_time() - start, model_seconds=model_seconds
        )


@dataclass(frozen=True)
class _Done:
    """A finished task: the batch of tiles it was for, and the answers if it ran them."""

    batch: int
    answers: Sequence[Answer] = ()
    decode_seconds: float = 0.0
    tile_seconds: float = 0.0
    model_seconds: float = 0.0


def _drive(
    schedule: _Schedule,
    builder: StripBuilder,
    workers: int,
    sink: Sink,
    progress: Progress | None,
) -> None:
    """Keep the workers busy and hand on what is finished, all from the calling thread."""
    total = schedule.job.plan.area.height * schedule.job.plan.area.width
    done_pixels = 0
    running: set[Future[_Done]] = set()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="nubila")
    try:
        _submit(schedule, pool, running, 2 * workers)
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                done = future.result()
                schedule.finish(done)
                for answer in done.answers:
                    builder.add(answer)
                    done_pixels += answer.core.height * answer.core.width
                if done.answers and progress is not None:
                    progress(done_pixels, total)
            # Twice the workers, so that they have work while this thread is in the sink.
            _submit(schedule, pool, running, 2 * workers)
            for strip in builder.finished():
                sink(strip)
    finally:
        # After an error or Ctrl-C too: what has not begun does not, what runs is waited for.
        schedule.stopped.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _submit(
    schedule: _Schedule, pool: ThreadPoolExecutor, running: set[Future[_Done]], most: int
) -> None:
    """Hand tasks to the workers until so many run or wait for one."""
    while len(running) < most and (task := schedule.next()) is not None:
        running.add(pool.submit(task))
