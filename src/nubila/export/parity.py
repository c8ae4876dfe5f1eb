"""Holding a model file to PyTorch on real images."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from nubila.errors import NubilaError
from nubila.export.calibrate import Calibration
from nubila.export.graph import Graph, Reference
from nubila.models_io import Model, ModelCard
from nubila.train.data import Labelled, pad

__all__ = ["TOLERANCES", "check_parity", "feeds"]

# The largest difference allowed; of classes and masks the share of pixels that differ, where two
# classes are as probable as each other.
TOLERANCES: Final = {"probabilities": 1e-4, "logits": 1e-3, "classes": 1e-3, "mask": 1e-3}

_LARGEST: Final = 512  # pixels of a side; whole scenes of the collections would take minutes


def feeds(
    samples: Sequence[Labelled],
    card: ModelCard,
    *,
    batch: int | None = None,
    largest: int = _LARGEST,
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Give the inputs of a graph for the middle of each sample.

    Args:
        samples: real images.
        card: says size and statistics.
        batch: images that the graph takes at once: the sample so many times; None = once.
        largest: rows and columns at most, where the graph does not fix them.
    """
    for sample in samples:
        image = sample.image.astype(np.float32)
        most = card.tile or -(-largest // card.stride) * card.stride
        rows, columns = (max(0, (n - most) // 2) for n in image.shape[1:])
        part = image[:, rows : rows + most, columns : columns + most]
        if card.tile is None:
            part = pad(part, card.stride)
        else:
            missing = [(0, 0), *((0, most - n) for n in part.shape[1:])]
            part = np.pad(part, missing, constant_values=np.float32(np.nan))
        found = {"reflectance": np.repeat(part[None], batch or 1, axis=0)}
        if card.statistics:
            numbers = sample.scene_statistics(card.statistics)
            found["statistics"] = np.repeat(numbers[None], batch or 1, axis=0)
        yield found


def check_parity(
    graph: Graph, fitted: Calibration, model: Model, samples: Sequence[Labelled]
) -> float:
    """Return the largest difference between PyTorch and a model file on real images.

    PyTorch runs the network as trained, batch norms and all, with its own softmax.

    Args:
        graph: holds the network as trained, not folded.
        fitted: its calibration.
        model: the file.
        samples: to compare on.

    Raises:
        NubilaError: they differ by more than `TOLERANCES`, either gives a number that is none, or
            there is no sample to compare on.
    """
    twin = copy.deepcopy(graph.network).eval()
    twin.temperature, twin.biases = fitted.temperature, fitted.biases
    reference = Reference(twin, graph.classes, graph.shape)
    output, differences = model.card.output, []
    for inputs in feeds(samples, model.card, batch=model.batch):
        (found,) = model.session.run([output], inputs)
        with torch.inference_mode():
            expected = reference(*(torch.from_numpy(v) for v in inputs.values())).numpy()
        differences.append(_difference(found, expected))
    # Without an image nothing was held to anything: NaN, which is no better than too much.
    worst = float(np.max(differences)) if differences else math.nan
    if not worst <= TOLERANCES[output]:
        raise NubilaError(
            f"the file's {output} differ from PyTorch's by {worst:.2e}, more than "
            f"{TOLERANCES[output]:g}; nothing was written"
        )
    return worst


def _difference(found: NDArray[Any], expected: NDArray[Any]) -> float:
    if found.dtype == np.uint8:
        return float((found != expected).mean())
    return float(np.abs(found - expected).max())
