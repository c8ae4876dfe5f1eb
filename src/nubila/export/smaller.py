"""Model files with fewer bits: weights in half precision, convolutions in 8-bit integers."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nubila.export.graph import write_card
from nubila.models_io import ModelCard

__all__ = ["halve", "quantise"]

_LEAST: Final = 256  # weights; smaller tensors (biases, scales) gain nothing and may need the range
_HALF_LIMIT: Final = float(np.finfo(np.float16).max)
_PERCENTILE: Final = 99.999  # of the values of an activation that 8-bit steps reach


def halve(model: Path, card: ModelCard, target: Path) -> None:
    """Write a model with its weights in half precision, computed with in single precision.

    Inputs and outputs stay float32. ONNX Runtime brings the weights back to single precision when
    it loads the file, so that it is as fast as the original: its processor kernels have no
    half-precision convolution, and a graph of float16 throughout runs slower there.

    Args:
        model: the original.
        card: of the new file.
        target: the file to write.
    """
    proto = onnx.load(model)
    graph, casts = proto.graph, []
    for place, tensor in enumerate(graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _LEAST or np.abs(values).max() > _HALF_LIMIT:
            continue
        half = numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}_half")
        casts.append(helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT))
        graph.initializer[place].CopyFrom(half)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    write_card(proto, card, target)


def quantise(
    model: Path,
    card: ModelCard,
    target: Path,
    inputs: Iterable[dict[str, NDArray[np.float32]]],
) -> None:
    """Write a model whose convolutions compute with 8-bit integers (static quantisation, QDQ).

    Weights are scaled by output channel, activations by the range that they have on the inputs
    (Jacob et al. 2018, arXiv:1712.05877), but for one value in 100,000: the largest are rare, and
    coarsen the steps of all others (Wu et al. 2020, arXiv:2004.09602, section 5.2). Inputs and
    outputs stay float32. Weights take seven of the eight bits: without VNNI, x86 processors add two
    products of 8 bits each in 16 bits, which the full range would overflow, and the same file would
    give other answers there.

    Args:
        model: the original.
        card: of the new file.
        target: the file to write.
        inputs: of real images, for the ranges of activations.
    """
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, _quiet():
        ready, made = Path(folder) / "ready.onnx", Path(folder) / "made.onnx"
        quant_pre_process(str(model), str(ready), skip_symbolic_shape=True)
        quantize_static(
            str(ready),
            str(made),
            _Reader(inputs),
            calibrate_method=CalibrationMethod.Percentile,
            # Despite its name for any method: one image's activations at a time, and not all, which
            # are gigabytes for a large network.
            extra_options={"CalibPercentile": _PERCENTILE, "CalibStridedMinMax": 1},
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "ConvTranspose", "MatMul"],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        write_card(onnx.load(made), card, target)


class _Reader:
    """Inputs one after the other, in parts, as ONNX Runtime's calibration asks for them."""

    def __init__(self, inputs: Iterable[dict[str, NDArray[np.float32]]]) -> None:
        self._inputs = list(inputs)
        self._part = iter(self._inputs)

    def __len__(self) -> int:
        return len(self._inputs)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Give only some of the inputs, until told otherwise."""
        self._part = iter(self._inputs[start_index:end_index])

    def get_next(self) -> dict[str, Any] | None:
        """Return the next input, None after the last."""
        return next(self._part, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back the advice of ONNX Runtime's quantisation, which it logs and prints."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(before)
