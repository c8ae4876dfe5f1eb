from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from nubila.datasets import read_manifest
from nubila.errors import InputError
from nubila.evaluate import evaluate, write_report, write_run_report
from nubila.evaluate.svg import _ticks, curves
from nubila.models_io.load import Model


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder of 1000 steps without scores."""
    folder = tmp_path / "first try"
    folder.mkdir()
    (folder / "recipe.yaml").write_text("model: {name: compact}  # <tiny>\n")
    (folder / "environment.json").write_text(json.dumps({"python": "3.11", "threads": 2}))
    rows = ["step,name,value"]
    rows += [f"{n},loss,{1 / n}\n{n},lr,0.001" for n in range(1, 1001)]
    rows += ["500,cloud_iou,0.7125", "500,cloud_iou/alps,nan", "1000,cloud_iou,0.65"]
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_a_run_without_scores(run: Path) -> None:
    text = write_run_report(run).read_text()
    assert "<h1>first try</h1>" in text
    assert "1000 steps" in text
    # The best is that of step 500, and a figure that was never one has none.
    assert "<td class=n>71.2</td><td class=n>500</td><td class=n>65.0</td>" in text
    assert "&lt;tiny&gt;" in text
    assert text.count("<svg") == 3
    assert "<script" not in text


def test_a_run_with_scores(run: Path, model: Model, scenes: Path) -> None:
    specs = read_manifest(scenes)
    write_report(evaluate(model, specs), model, specs, run / "scores")
    text = write_run_report(run).read_text()
    assert "IoU of cloud, all pixels" in text
    assert text.count("data:image/") == 1
    (run / "scores/scores.json").write_text('{"overall": {}}')
    with pytest.raises(InputError, match="write it again"):
        write_run_report(run)


def test_what_is_missing_or_wrong(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no recipe\.yaml"):
        write_run_report(tmp_path)
    (run / "metrics.csv").write_text("step,name,value\n1,loss,low\n")
    with pytest.raises(InputError, match=r"metrics\.csv: expected rows of step, name, value"):
        write_run_report(run)
    (run / "metrics.csv").unlink()
    (run / "environment.json").unlink()
    assert "Recipe" in write_run_report(run).read_text()


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.5341, 1.095), (-3e-4, 2e-3), (7, 7), (0, 0), (0, 123456)]
)
def test_ticks_hold_the_values(low: float, high: float) -> None:
    ticks = _ticks(low, high)
    assert ticks[0] <= low <= high <= ticks[-1]
    assert 3 <= len(ticks) <= 9
    steps = [b - a for a, b in itertools.pairwise(ticks)]
    assert steps == pytest.approx([steps[0]] * len(steps))


def test_long_curves_are_thinned() -> None:
    text = curves("loss", {"loss": [(n, 1.0) for n in range(100_000)]})
    assert 200 < text.count("L") < 500
    assert curves("loss", {"loss": [(1, float("nan"))]}) == ""
