"""Processes that are killed at a chosen call, as a power cut would: nothing of theirs is tidied."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

__all__ = ["files_of", "killed_at", "needs_fork"]

needs_fork = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks safely")

_SECONDS = 300  # after which a child that is never killed counts as failed


def killed_at(place: str, call: int, run: Callable[[], object]) -> None:
    """Run in a process of its own, which is killed by SIGKILL when a function is called.

    Args:
        place: dotted name of the function, where it is looked up.
        call: number of the call, from 1, that never returns.
        run: what the process does.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside other threads
        child = os.fork()
    if child == 0:
        try:
            signal.alarm(_SECONDS)
            _set_trap(place, call)
            run()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"{place} was not called {call} times"
    assert os.WTERMSIG(status) == signal.SIGKILL


def _set_trap(place: str, call: int) -> None:
    """Put a function in the place of another that does the same until it is called for a time."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)  # the threads of before the fork are not there any more
    module, _, name = place.rpartition(".")
    owner: Any
    try:
        owner = importlib.import_module(module)
    except ModuleNotFoundError:  # a method
        module, _, kind = module.rpartition(".")
        owner = getattr(importlib.import_module(module), kind)
    found, left = getattr(owner, name), call

    def trap(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return found(*arguments, **named)

    setattr(owner, name, trap)


def files_of(folder: Path) -> dict[str, Path]:
    """Return every file in a folder by its relative path."""
    return {str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file()}
