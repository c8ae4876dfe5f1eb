"""Speed and peak memory of detectors, each in a process of its own.

All see one synthetic image in memory, with as many threads, once to warm up and then in rounds: one
detector after the other, so that whatever else the machine does meets all alike. Run as a program
this module is the process of one detector, which measures when told to on its standard input.

The image's size tells: a detector that cuts images into tiles of its own, as ukis-csmask does,
fills the last ones up and judges overlaps twice, which is dearest on small images.

Memory is that of the process. What making the image took for a moment is none of the detector's, so
the peak is counted anew once the image is there, where the system can do so.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.detect import View, open_detector
from nubila.detect.weights import WEIGHTS_VARIABLE
from nubila.errors import ModelError

__all__ = ["ROUNDS", "Speed", "measure_speed", "speed_document", "speed_view"]

ROUNDS: Final = 5
_MARK: Final = "nubila-speed "  # whatever else packages print
_MIB: Final = 1 << 20
# As fine as most peers ask for and no finer, so that they work on all the pixels they are given;
# only s2cloudless, made for 60 m, works on a quarter of them.
_RESOLUTION: Final = 30.0
_BANDS: Final = (
    *("coastal", "blue", "green", "red", "rededge071", "rededge075", "rededge078"),
    *("nir", "nir08", "nir09", "cirrus", "swir16", "swir22"),
)


@dataclass(frozen=True)
class Speed:
    """What a detector took.

    Attributes:
        name: of the detector.
        wall: seconds of each round.
        cpu: seconds of each round, of all threads.
        before: memory in bytes before the detector was opened, the image included: what was held
            where the system counts a peak anew when asked (Linux), else the peak until then.
        peak: and the most that was held from then on.
    """

    name: str
    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    before: int
    peak: int


def speed_view(side: int) -> View:
    """Return the image that is judged: 13 bands of L1C at 30 m, bright blobs over dark ground.

    Args:
        side: rows and columns.
    """
    random = np.random.default_rng(0)
    ground = _ground(random, side)
    image = np.empty((len(_BANDS), side, side), np.float32)
    # Band by band: all of them in float64 at once would be most of what the process ever holds.
    for band in image:
        noise = random.normal(0, 0.01, (side, side))
        noise += ground
        band[:] = np.clip(noise, 0.001, 1.5, out=noise)
    return View(image, _BANDS, "sentinel-2-msi", "L1C", _RESOLUTION, "speed")


def _ground(random: np.random.Generator, side: int) -> NDArray[np.float64]:
    """Return (side, side) reflectance of bright blobs over dark ground."""
    coarse = random.normal(size=(3 + side // 64, 3 + side // 64))
    blobs = np.kron(coarse, np.ones((64, 64)))[:side, :side]
    ground: NDArray[np.float64] = 0.1 + 0.5 * (1 / (1 + np.exp(-3 * blobs)))
    return ground


def measure_speed(
    names: Mapping[str, str],
    *,
    side: int,
    threads: int = 1,
    weights: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Speed]:
    """Measure detectors; those that cannot judge the image are left out.

    Args:
        names: name in reports -> as `detect.open_detector` takes it.
        side: rows and columns of the image.
        threads: that each may use; nubila's models use one.
        weights: folder of peers' weights.
        progress: called with the number of steps done, of `ROUNDS` + 1 for each detector.

    Raises:
        ModelError: a process ends before its time; the message ends as its errors do.
    """
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done)

    with ExitStack() as stack:
        workers: list[_Worker] = []
        for name, given in names.items():
            worker = stack.enter_context(_Worker(name, given, side, threads, weights))
            step()
            if worker.before is not None:
                workers.append(worker)
        times: dict[str, list[tuple[float, float]]] = {worker.name: [] for worker in workers}
        for _ in range(ROUNDS):
            for worker in workers:
                found = worker.ask("go")
                times[worker.name].append((found["wall"], found["cpu"]))
                step()
        return [
            Speed(
                name=worker.name,
                wall=tuple(wall for wall, _ in times[worker.name]),
                cpu=tuple(cpu for _, cpu in times[worker.name]),
                before=worker.before or 0,
                peak=worker.ask("peak")["peak"],
            )
            for worker in workers
        ]


def speed_document(
    found: Sequence[Speed], *, side: int, threads: int, peer: str | None
) -> dict[str, Any]:
    """Return what ``speed.json`` holds: medians of the rounds, and ratios of pixels a CPU second.

    Wall time is there too, but other work on the machine has its part in it.

    Args:
        found: the first one is what others are compared with.
        side: of the image.
        threads: of each detector.
        peer: a detector that all are compared with too; left out where it was not measured.
    """
    rates = {s.name: side * side / 1e6 / median(s.cpu) for s in found}
    first = found[0].name if found else ""
    rows = {}
    for speed in found:
        rows[speed.name] = {
            "megapixels_per_cpu_second": round(rates[speed.name], 4),
            "seconds": round(median(speed.wall), 4),
            "seconds_least": round(min(speed.wall), 4),
            "seconds_most": round(max(speed.wall), 4),
            "cpu_seconds": round(median(speed.cpu), 4),
            "times_first": round(rates[speed.name] / rates[first], 3),
            "times_peer": round(rates[speed.name] / rates[peer], 3) if peer in rates else None,
            "peak_mib": round(speed.peak / _MIB),
            "own_mib": round((speed.peak - speed.before) / _MIB),
        }
    return {
        "image": {"rows": side, "columns": side, "bands": len(_BANDS), "resolution": _RESOLUTION},
        "threads": threads,
        "rounds": ROUNDS,
        "first": first,
        "peer": peer if peer in rates else None,
        "machine": {"processor": _processor(), "cores": os.cpu_count()},
        "detectors": rows,
    }


class _Worker:
    """The process of one detector, opened and warm; `before` is None where it cannot judge."""

    def __init__(
        self, name: str, given: str, side: int, threads: int, weights: Path | None
    ) -> None:
        self.name = name
        limits = dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)
        )
        folder = {} if weights is None else {WEIGHTS_VARIABLE: str(weights)}
        # A file, since a pipe that nobody reads would stop a process that warns a lot.
        self._words = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (closed in __exit__)
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, given, str(side), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            env=os.environ | limits | folder,
            text=True,
        )
        self.before: int | None = None

    def __enter__(self) -> _Worker:
        try:
            self.before = self._answer()["before"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._words.close()

    def ask(self, word: str) -> dict[str, Any]:
        """Have the process do something, and wait for its answer."""
        stream = _open(self._process.stdin)
        stream.write(f"{word}\n")
        stream.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        for line in _open(self._process.stdout):
            if line.startswith(_MARK):
                found: dict[str, Any] = json.loads(line.removeprefix(_MARK))
                return found
        self._process.wait()
        self._words.seek(0)
        words = self._words.read().strip().splitlines()
        raise ModelError(f"{self.name}: its speed cannot be measured: {' '.join(words[-3:])}")


def _open(stream: IO[str] | None) -> IO[str]:
    assert stream is not None  # asked for in Popen
    return stream


def _serve(given: str, side: int, threads: int) -> None:
    """Be the process of one detector."""
    view = speed_view(side)
    _forget_peak()
    before = _peak()
    detector = open_detector(given, threads=threads)
    if detector.lacks(view):
        _say({"before": None})
        return
    detector.detect(view)
    _say({"before": before})
    for line in sys.stdin:
        if line.strip() == "peak":
            _say({"peak": _peak()})
            continue
        wall, cpu = time.perf_counter(), time.process_time()
        detector.detect(view)
        _say({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu})


def _say(found: Mapping[str, Any]) -> None:
    print(f"\n{_MARK}{json.dumps(found)}", flush=True)


def _forget_peak() -> None:
    """Count this process's peak anew from what it holds now, where the system can do so."""
    # 5 resets VmHWM, Linux's Documentation/filesystems/proc.rst.
    with suppress(OSError), Path("/proc/self/clear_refs").open("w") as order:
        order.write("5")


def _peak() -> int:
    """Return the most memory in bytes that this process has held, as far as it is not forgotten."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Linux hands a parent's ru_maxrss down to its children; this is the process's own.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _processor() -> str:
    """Return the processor's name, as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
