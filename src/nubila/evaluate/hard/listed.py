"""Hard cases listed in a manifest.

Besides the columns of every manifest (`nubila.datasets.manifest`) there are

========== ========================================================== ============================
column     holds                                                      where empty or absent
========== ========================================================== ============================
case       the kind of hard case                                      needed
truth      what a person can state without a mask:                    the mask; without one the
           ``clear|water`` of the whole image, or of parts of it      image is only drawn
           ``row,column,height,width=clear|water``, joined by ``;``
window     ``row,column,height,width`` of the image that is used      the whole image
note       what there is to see                                       nothing
========== ========================================================== ============================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nubila.classes import class_set
from nubila.datasets import Sample, SampleSpec, load_sample, read_manifest
from nubila.datasets.sample import unseen
from nubila.errors import InputError
from nubila.evaluate.hard.case import HardImage

__all__ = ["listed_images"]


def listed_images(manifest: str | Path, root: str | Path | None = None) -> tuple[HardImage, ...]:
    """Return the hard cases of a manifest; pixels are read later.

    Args:
        manifest: see the module.
        root: folder that paths are relative to; default the manifest's own.

    Raises:
        ManifestError: as `datasets.read_manifest`, and where a row has no case, or a truth or a
            window that cannot be understood.
    """
    specs = read_manifest(manifest, root=root, unlabelled=True)
    return tuple(_image(spec) for spec in specs)


def _image(spec: SampleSpec) -> HardImage:
    case = spec.tags.get("case", "").strip()
    if not case:
        raise spec.error("case", "empty; expected the kind of hard case, such as 'clear snow'")
    truth, window = _truth(spec), _window(spec, "window", spec.tags.get("window", ""))
    note = spec.tags.get("note", "")
    return HardImage(case, spec.id, "real", note, partial(_sample, spec, truth, window))


_Part = tuple[tuple[slice, slice] | None, int]


def _truth(spec: SampleSpec) -> tuple[_Part, ...]:
    """Return what a person states: (part of the image or None for all of it, set of classes)."""
    parts: list[_Part] = []
    for entry in filter(None, (p.strip() for p in spec.tags.get("truth", "").split(";"))):
        where, sign, names = entry.rpartition("=")
        try:
            bits = class_set(names.split("|"))
        except InputError as error:
            raise spec.error("truth", f"{error} in {entry!r}") from error
        parts.append((_window(spec, "truth", where) if sign else None, bits))
    return tuple(parts)


def _window(spec: SampleSpec, column: str, text: str) -> tuple[slice, slice] | None:
    if not text.strip():
        return None
    try:
        row, first, height, width = (int(part) for part in text.split(","))
    except ValueError as error:
        raise spec.error(column, f"{text!r} is not row,column,height,width") from error
    if min(row, first) < 0 or min(height, width) < 1:
        raise spec.error(column, f"{text!r} has a negative corner or no pixels")
    return slice(row, row + height), slice(first, first + width)


def _sample(
    spec: SampleSpec, truth: tuple[_Part, ...], window: tuple[slice, slice] | None
) -> Sample:
    sample = load_sample(spec)
    image, label = sample.image, sample.label
    if window is not None:
        _check_inside(spec, "window", window, label.shape)
        image, label = image[:, *window], label[window]
    if truth:
        label = _stated(spec, truth, image, sample.bands)
    return replace(sample, image=image, label=label)


def _stated(
    spec: SampleSpec,
    truth: tuple[_Part, ...],
    image: NDArray[np.float32],
    bands: Sequence[str],
) -> NDArray[np.uint8]:
    label = np.zeros(image.shape[1:], np.uint8)
    for part, bits in truth:
        if part is None:
            label[:] = bits
        else:
            _check_inside(spec, "truth", part, label.shape)
            label[part] = bits
    label[unseen(image, bands)] = 0
    return label


def _check_inside(
    spec: SampleSpec, column: str, window: tuple[slice, slice], shape: tuple[int, ...]
) -> None:
    if any(part.stop > size for part, size in zip(window, shape, strict=True)):
        ends = f"{window[0].stop} x {window[1].stop}"
        raise spec.error(
            column, f"it ends at {ends}, outside of the image of {shape[0]} x {shape[1]} pixels"
        )
