"""Loading ONNX model files and running them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import ValidationError

from nubila.errors import InputError, ModelError
from nubila.models_io.card import CARD_KEY, ModelCard

__all__ = ["Model", "load_model"]

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}


@dataclass(frozen=True)
class Model:
    """A loaded model: its card, its file's SHA-256, and a session that any thread may run."""

    card: ModelCard
    path: str
    sha256: str
    provider: str
    session: Any

    def run(
        self, reflectance: NDArray[np.float32], out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Return probabilities (N, C, H, W) for reflectance (N, B, H, W), NaN = no data.

        Args:
            reflectance: contiguous; H and W are multiples of the card's stride.
            out: where to put the probabilities, contiguous; default a new array.

        Raises:
            ModelError: the runtime refuses the input.
        """
        batch, _, height, width = reflectance.shape
        if out is None:
            out = np.empty((batch, len(self.card.classes), height, width), np.float32)
        try:
            # Bound to memory of ours: a fresh array for each run costs a page fault every 4 kB.
            binding = self.session.io_binding()
            binding.bind_cpu_input("reflectance", reflectance)
            binding.bind_output("probabilities", "cpu", 0, np.float32, out.shape, out.ctypes.data)
            self.session.run_with_iobinding(binding)
        except Exception as error:  # ONNX Runtime raises its own C++ classes
            raise ModelError(
                f"{self.path}: ONNX Runtime failed on an input of shape {reflectance.shape}: "
                f"{error}"
            ) from error
        return out


def load_model(path: str | Path, *, provider: str = "cpu", threads: int = 1) -> Model:
    """Load a nubila ONNX file.

    Args:
        path: the ONNX file.
        provider: ``cpu``, ``cuda`` or ``openvino``.
        threads: threads inside one run; the engine uses 1 and runs several tiles side by side.

    Raises:
        ModelError: no such file, not ONNX, cut short, no card, or the provider is not installed.
    """
    file = Path(path)
    if not file.is_file():
        raise ModelError(f"{file}: no such model file")
    session = _session(file, _provider(provider), threads)
    card = _card(file, session.get_modelmeta().custom_metadata_map)
    _check_graph(file, session, card)
    return Model(card, str(file), hashlib.sha256(file.read_bytes()).hexdigest(), provider, session)


def _provider(name: str) -> str:
    wanted = _PROVIDERS.get(name.lower())
    if wanted is None:
        raise ModelError(f"unknown provider {name!r} (known: {', '.join(_PROVIDERS)})")
    if wanted not in onnxruntime.get_available_providers():
        package = {"cuda": "onnxruntime-gpu", "openvino": "onnxruntime-openvino"}[name.lower()]
        raise ModelError(
            f"provider {name!r} is not in the installed ONNX Runtime; "
            f"install {package} in place of onnxruntime"
        )
    return wanted


def _session(file: Path, provider: str, threads: int) -> Any:  # noqa: ANN401 (untyped library)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Memory patterns hold a second arena as large as the first, for nothing gained where tiles
    # all have one shape: 279 bytes a pixel in place of 91, at the same speed (version 1.31).
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=[provider])
    except Exception as error:  # ONNX Runtime raises its own C++ classes
        raise ModelError(
            f"{file}: not an ONNX model that can be loaded (another kind of file, or cut short): "
            f"{str(error).splitlines()[0]}"
        ) from error


def _card(file: Path, metadata: dict[str, str]) -> ModelCard:
    if CARD_KEY not in metadata:
        found = ", ".join(metadata) or "none"
        raise ModelError(
            f"{file}: an ONNX file, but no nubila model: the metadata entry {CARD_KEY!r} is "
            f"missing (found: {found}). Export it with: nubila export"
        )
    try:
        return ModelCard.model_validate_json(metadata[CARD_KEY])
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(p) for p in e['loc']) or 'card'}: {e['msg']}" for e in error.errors()
        )
        raise ModelError(f"{file}: the card in {CARD_KEY!r} does not hold: {problems}") from error
    except InputError as error:  # an unknown band or class; the message has the nearest name
        raise ModelError(f"{file}: the card in {CARD_KEY!r} does not hold: {error}") from error


def _check_graph(file: Path, session: Any, card: ModelCard) -> None:  # noqa: ANN401
    _check_port(file, "input", session.get_inputs(), "reflectance", len(card.bands))
    _check_port(file, "output", session.get_outputs(), "probabilities", len(card.classes))


def _check_port(file: Path, kind: str, ports: Sequence[Any], name: str, channels: int) -> None:
    found = {p.name: p for p in ports}
    if name not in found:
        raise ModelError(f"{file}: the graph has no {kind} {name!r} (found: {', '.join(found)})")
    if found[name].type != "tensor(float)":
        raise ModelError(f"{file}: {kind} {name!r} is a {found[name].type}, not of float32")
    shape = found[name].shape
    if len(shape) != 4 or shape[1] != channels:
        raise ModelError(
            f"{file}: {kind} {name!r} has shape {shape}, but the card names {channels} channels"
        )
