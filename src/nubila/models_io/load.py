"""Loading ONNX model files and running them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import ValidationError

from nubila.errors import InputError, ModelError
from nubila.models_io.card import CARD_KEY, ModelCard
from nubila.models_io.registry import find_model

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

    @cached_property
    def batch(self) -> int | None:
        """Tiles that the graph takes at once, None where any number will do."""
        first = self.session.get_inputs()[0].shape[0]
        return first if isinstance(first, int) else None

    def run(
        self,
        reflectance: NDArray[np.float32],
        out: NDArray[np.float32] | None = None,
        statistics: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Return probabilities (N, C, H, W) for reflectance (N, B, H, W), NaN = no data.

        Of a graph that gives classes or a mask, they are 1 for the class and 0 for the others.

        Args:
            reflectance: contiguous; H and W are multiples of the card's stride, or its tile.
            out: where to put the probabilities, contiguous; default a new array.
            statistics: (S, B) of the whole scene, in the card's order of both.

        Raises:
            ModelError: the runtime refuses the input, or statistics are missing.
        """
        if out is None:
            batch, _, height, width = reflectance.shape
            out = np.empty((batch, len(self.card.classes), height, width), np.float32)
        if self.card.statistics and statistics is None:
            raise ModelError(
                f"{self.path}: needs {', '.join(self.card.statistics)} of the whole scene; give "
                f"them as statistics (see nubila.scenes.statistics)"
            )
        try:
            if self.batch is None:
                self._bound(reflectance, out, statistics)
            else:
                self._in_batches(reflectance, out, statistics, self.batch)
        except Exception as error:  # ONNX Runtime raises its own C++ classes
            raise ModelError(
                f"{self.path}: ONNX Runtime failed on an input of shape {reflectance.shape}: "
                f"{error}"
            ) from error
        return out

    def _in_batches(
        self,
        reflectance: NDArray[np.float32],
        out: NDArray[np.float32],
        statistics: NDArray[np.float32] | None,
        batch: int,
    ) -> None:
        """Run as many tiles at once as the graph takes; no data fill up the last batch."""
        for first in range(0, len(reflectance), batch):
            part, target = reflectance[first : first + batch], out[first : first + batch]
            if len(part) == batch:
                self._bound(part, target, statistics)
                continue
            filled = np.full((batch, *part.shape[1:]), np.nan, np.float32)
            filled[: len(part)] = part
            found = np.empty((batch, *target.shape[1:]), np.float32)
            self._bound(filled, found, statistics)
            target[...] = found[: len(part)]

    def _bound(
        self,
        reflectance: NDArray[np.float32],
        out: NDArray[np.float32],
        statistics: NDArray[np.float32] | None,
    ) -> None:
        # Bound to memory of ours: a fresh array for each run costs a page fault every 4 kB.
        binding = self.session.io_binding()
        binding.bind_cpu_input("reflectance", reflectance)
        if self.card.statistics and statistics is not None:
            every = np.broadcast_to(statistics, (len(reflectance), *statistics.shape))
            binding.bind_cpu_input("statistics", np.ascontiguousarray(every, np.float32))
        name = self.card.output
        if name == "probabilities":
            binding.bind_output(name, "cpu", 0, np.float32, out.shape, out.ctypes.data)
            self.session.run_with_iobinding(binding)
            return
        binding.bind_output(name)
        self.session.run_with_iobinding(binding)
        _to_probabilities(binding.copy_outputs_to_cpu()[0], self.card, out)


def _to_probabilities(found: NDArray[Any], card: ModelCard, out: NDArray[np.float32]) -> None:
    """Fill in the softmax of logits (N, C, H, W), or 1 for the class of classes (N, H, W)."""
    if card.output == "logits":
        np.exp(found - found.max(axis=1, keepdims=True), out=out)
        out /= out.sum(axis=1, keepdims=True)
        return
    for place, code in enumerate(card.class_codes):
        out[:, place] = found == code


def load_model(
    model: str | Path | None = None, *, provider: str = "cpu", threads: int = 1
) -> Model:
    """Load a shipped model, or a nubila ONNX file.

    Args:
        model: name of a shipped model, or path of an ONNX file; default the first that ships.
        provider: ``cpu``, ``cuda`` or ``openvino``.
        threads: threads inside one run; the engine uses 1 and runs several tiles side by side.

    Raises:
        ModelError: no such model, not ONNX, cut short, no card, or the provider is not installed.
    """
    file = find_model(model)
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
    inputs, outputs = session.get_inputs(), session.get_outputs()
    bands, sides = len(card.bands), (card.tile, card.tile)
    _check_port(file, "input", inputs, "reflectance", (None, bands, *sides))
    if card.statistics:
        _check_port(file, "input", inputs, "statistics", (None, len(card.statistics), bands))
    if card.output in ("classes", "mask"):
        _check_port(file, "output", outputs, card.output, (None, *sides), "tensor(uint8)")
    else:
        _check_port(file, "output", outputs, card.output, (None, len(card.classes), *sides))


def _check_port(
    file: Path,
    kind: str,
    ports: Sequence[Any],
    name: str,
    expected: tuple[int | None, ...],
    dtype: str = "tensor(float)",
) -> None:
    """Hold a port to its name, type and shape; None is a side of which the card says nothing."""
    found = {p.name: p for p in ports}
    if name not in found:
        raise ModelError(f"{file}: the graph has no {kind} {name!r} (found: {', '.join(found)})")
    if found[name].type != dtype:
        what = {"tensor(float)": "float32"}.get(dtype, dtype)
        raise ModelError(f"{file}: {kind} {name!r} is a {found[name].type}, not of {what}")
    shape = found[name].shape
    # A side may have no number in the graph where the runtime cannot work it out.
    agree = len(shape) == len(expected) and all(
        e is None or s == e or (kind == "output" and not isinstance(s, int))
        for s, e in zip(shape, expected, strict=True)
    )
    if not agree:
        said = " x ".join("any" if e is None else str(e) for e in expected)
        raise ModelError(f"{file}: {kind} {name!r} has shape {shape}, but by the card it is {said}")
