"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# An example takes as long as the machine is busy; no test asserts seconds.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# A shell's background jobs ignore Ctrl-C, and so would the commands that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real sample imagery; tests that need it skip by name where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("NUBILA_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real sample imagery at {folder} (set NUBILA_SHARED_DATA)")
    return folder
