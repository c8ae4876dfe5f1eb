"""From a checkpoint to an ONNX file that carries its card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nubila.errors import MissingExtraError
from nubila.export.options import ExportOptions

__all__ = ["ExportOptions", "export_onnx"]


def export_onnx(
    run: str | Path,
    output: str | Path,
    *,
    scores: str | Path | None = None,
    options: ExportOptions | None = None,
    report: Callable[[str], None],
) -> Path:
    """Export a run folder of ``nubila train``; see `nubila.export.onnx.export_onnx`.

    Raises:
        MissingExtraError: PyTorch, onnx or onnxscript is not installed.
    """
    import nubila.nn  # noqa: F401 (first, because it names the extra where PyTorch is missing)

    try:
        import onnxscript  # noqa: F401 (the exporter would fail late and less clearly)
    except ModuleNotFoundError as error:
        raise MissingExtraError("onnxscript", extra="train") from error
    from nubila.export.onnx import export_onnx as run_export

    return run_export(
        Path(run),
        Path(output),
        scores=None if scores is None else Path(scores),
        options=options or ExportOptions(),
        report=report,
    )
