"""From a checkpoint to an ONNX file that carries its card."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from nubila.errors import MissingExtraError
from nubila.export.options import ExportOptions

__all__ = ["ExportOptions", "export_onnx", "need_extra"]


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
        MissingExtraError: as `need_extra`.
    """
    need_extra()
    from nubila.export.onnx import export_onnx as run_export

    return run_export(
        Path(run),
        Path(output),
        scores=None if scores is None else Path(scores),
        options=options or ExportOptions(),
        report=report,
    )


def need_extra() -> None:
    """Raise if what the modules of this package import is not there; call it before them.

    Raises:
        MissingExtraError: PyTorch, onnx or onnxscript is not installed.
    """
    import nubila.nn  # noqa: F401 (it names the extra where PyTorch is missing)

    for name in ("onnx", "onnxscript"):  # without the latter the exporter would fail late
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise MissingExtraError(name, extra="train") from error
