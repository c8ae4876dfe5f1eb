"""Signals that end a run in good order: Ctrl-C, and SIGTERM and SIGUSR1 as Slurm sends them.

SIGUSR1 is what the batch script of ``nubila slurm`` asks for some minutes before the time limit:
the job is put in the queue again. SIGTERM comes when a job is cancelled, which has to stay
cancelled, or preempted, when Slurm itself puts it in the queue again (``--requeue``).
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

__all__ = ["Caught", "catch_signals", "leave_signals", "requeue"]

_NUMBERS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
)
_WAIT = b"\ninterrupted: the state is saved after this step; Ctrl-C again ends the run at once\n"


@dataclass
class Caught:
    """The number of the signal that came, or 0."""

    number: int = 0


@contextmanager
def catch_signals() -> Iterator[Caught]:
    """Note signals in place of ending; only in the main thread, where Python can.

    Raises:
        KeyboardInterrupt: at a Ctrl-C after another signal.
    """
    caught = Caught()
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def note(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if caught.number:
                raise KeyboardInterrupt
            # A handler must not print: it may have interrupted a print. What reads the words may
            # have ended by the same Ctrl-C, as `tee` does.
            with suppress(OSError):
                os.write(2, _WAIT)
        caught.number = number

    # A shell has what it runs in the background ignore Ctrl-C.
    deaf = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    numbers = [number for number in _NUMBERS if not (deaf and number == signal.SIGINT)]
    before: dict[int, Any] = {number: signal.signal(number, note) for number in numbers}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_signals(_worker: int) -> None:
    """Give a worker process that cuts chips its own ways: to end with SIGTERM alone.

    A terminal sends Ctrl-C to workers too, and the step that is to be saved needs their chips.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def requeue(number: int, report: Callable[[str], None]) -> None:
    """Put this Slurm job in the queue again, if it is one and the signal was SIGUSR1."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or number != getattr(signal, "SIGUSR1", None):
        return
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", None) or str(error)
        report(f"job {job} could not be put in the queue again ({why.strip()}); submit it by hand")
    else:
        report(f"job {job} is in the queue again")
