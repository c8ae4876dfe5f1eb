from __future__ import annotations

import pytest


@pytest.fixture
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what each run draws at its end, which takes longer than a toy's training."""
    pytest.importorskip("torch")
    monkeypatch.setattr("nubila.train.record.draw_curves", lambda *_: None)
