"""Classes of NumPy arrays at once, of Dask arrays block by block, with a halo around each."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import NO_DATA
from nubila.infer import predict
from nubila.models_io import Model, find_model, load_model

__all__ = ["classes_of", "known_model"]

# Least side of a Dask block without its halo: smaller ones would mostly compute halos.
_LEAST_BLOCK: Final = 512


def known_model(name: str | None) -> Model:
    """Return a model, the one kept from an earlier call if its file is the same."""
    path = find_model(name).resolve()
    state = path.stat()
    return _loaded(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _loaded(path: Path, mtime_ns: int, size: int) -> Model:
    # Time and size are there as keys: a file that was replaced by another is loaded anew.
    return load_model(path)


def classes_of(values: Any, settings: dict[str, Any], halo: int | None, stride: int) -> Any:  # noqa: ANN401 (NumPy or Dask)
    """Return classes (..., rows, columns) for values (..., bands, rows, columns).

    Without a halo an image is one block, however it came.
    """
    if isinstance(values, np.ndarray):
        return _classes_of_block(values, settings | {"threads": None})
    from dask.array.overlap import overlap, trim_internal

    bands_axis = values.ndim - 3
    if halo is None:
        halo, stride = 0, max(values.shape[-2:])
    blocks = values.rechunk(
        {
            **dict.fromkeys(range(bands_axis), 1),
            bands_axis: -1,
            bands_axis + 1: _block_size(values.chunks[-2], halo, stride),
            bands_axis + 2: _block_size(values.chunks[-1], halo, stride),
        }
    )
    # Of one block an axis has no neighbours, and Dask refuses a halo wider than the array.
    sides = [halo if n > 1 else 0 for n in blocks.numblocks[-2:]]
    depth = dict(enumerate([0] * (bands_axis + 1) + sides))
    classes = overlap(blocks, depth=depth, boundary="none").map_blocks(
        _classes_of_block,
        settings,
        dtype=np.uint8,
        drop_axis=bands_axis,
        meta=np.empty((0,) * (values.ndim - 1), np.uint8),
    )
    trimmed = dict(enumerate([0] * bands_axis + sides))
    return trim_internal(classes, trimmed, boundary="none")


def _block_size(chunks: tuple[int, ...], halo: int, stride: int) -> tuple[int, ...]:
    """Return block sizes whose edges lie on the network's stride, none smaller than the halo."""
    length = sum(chunks)
    size = max(max(chunks), halo, _LEAST_BLOCK)
    size = -(-size // stride) * stride
    sizes = [size] * (length // size)
    rest = length - sum(sizes)
    if rest and (rest >= halo or not sizes):
        sizes.append(rest)
    elif rest:
        sizes[-1] += rest
    return tuple(sizes)


def _classes_of_block(values: NDArray[Any], settings: dict[str, Any]) -> NDArray[np.uint8]:
    """Return classes of one block; leading dimensions such as time are taken one by one."""
    classes = np.full((*values.shape[:-3], *values.shape[-2:]), NO_DATA, np.uint8)
    loaded = settings | {"model": known_model(settings["model"])}
    for index in np.ndindex(values.shape[:-3]):
        classes[index] = predict(values[index], **loaded).classes
    return classes
