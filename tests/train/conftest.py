from __future__ import annotations

from pathlib import Path

import pytest

from tests.toy_run import write_toy_recipe


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A recipe of a few steps on three generated images."""
    return write_toy_recipe(tmp_path)
