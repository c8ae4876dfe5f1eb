"""Everything that is wrong with a collection or a manifest, found before an hour is lost.

Headers are read of every file, and of rasters the last block, so that a file cut short shows; masks
are read whole, for their codes. Files are looked at side by side.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from nubila.datasets.codes import values_told
from nubila.datasets.collections import collection_rows
from nubila.datasets.layouts.common import Cells
from nubila.datasets.local import local_env
from nubila.datasets.manifest import check_specs, manifest_rows
from nubila.datasets.row import Row
from nubila.datasets.sample import mask_codes
from nubila.datasets.spec import SampleSpec
from nubila.errors import ManifestError, NubilaError
from nubila.scenes.auxiliary import with_auxiliary
from nubila.scenes.open import open_scene

__all__ = ["CheckResult", "check_collection", "check_manifest"]

_WORKERS = 8


@dataclass(frozen=True)
class CheckResult:
    """What was found.

    Attributes:
        samples: how many were looked at.
        splits: split -> how many of them.
        unlabelled: how many have no mask.
        problems: one line each, in the order of the samples; empty if all is well.
    """

    samples: int
    splits: dict[str, int]
    problems: tuple[str, ...]
    unlabelled: int = 0


def check_collection(name: str, root: str | Path) -> CheckResult:
    """Look over a collection.

    Raises:
        InputError: the name is unknown.
        ManifestError: nothing of the collection is there.
    """
    rows = [(0, cells) for cells in collection_rows(name, root)]
    return _check(f"{name} in {root}", rows, Path(root))


def check_manifest(path: str | Path, root: str | Path | None = None) -> CheckResult:
    """Look over a manifest; arguments as of `read_manifest`.

    Raises:
        ManifestError: it cannot be read at all, or its header is wrong.
    """
    path = Path(path)
    base = Path(root) if root is not None else path.parent
    return _check(str(path), manifest_rows(path), base)


def _check(source: str, rows: Iterable[tuple[int, Cells]], base: Path) -> CheckResult:
    problems: list[str] = []
    specs: list[SampleSpec] = []
    for line, cells in rows:
        try:
            row = Row(source, line, cells, strict=False, unlabelled=True)
            specs.append(row.spec(base))
        except ManifestError as error:
            problems.append(str(error))
    try:
        check_specs(specs)
    except ManifestError as error:
        problems.append(str(error))
    with ThreadPoolExecutor(_WORKERS) as pool:
        for found in pool.map(_problems, specs):
            problems.extend(found)
    splits: dict[str, int] = {}
    for spec in specs:
        splits[spec.split] = splits.get(spec.split, 0) + 1
    # A scene's mask is shared by its patches, and is named once.
    unlabelled = sum(spec.mask is None for spec in specs)
    return CheckResult(len(specs), splits, tuple(dict.fromkeys(problems)), unlabelled)


def _problems(spec: SampleSpec) -> list[str]:
    """Return what is wrong with one sample."""
    absent = [path for path in spec.files if not path.exists()]
    if absent:
        lone = len(absent) < len(spec.files)
        beside = f" (sample {spec.id} has others of its files)" if lone else ""
        return [f"{path}: missing{beside}" for path in absent]
    found = _scene_problems(spec) if spec.scene else _image_problems(spec)
    return found if spec.mask is None else found + _mask_problems(spec, compare=not found)


def _scene_problems(spec: SampleSpec) -> list[str]:
    path = spec.images[0]
    if path.suffix == ".zip" and not zipfile.is_zipfile(path):
        return [f"{path}: unreadable: no whole zip archive; fetch it again"]
    try:
        scene = with_auxiliary(open_scene(path), dict(spec.auxiliary))
        scene.levels(spec.bands, spec.resolution or scene.default_resolution)
    except NubilaError as error:
        return [f"{path}: unreadable: {error}"]
    return []


def _image_problems(spec: SampleSpec) -> list[str]:
    found: list[str] = []
    shapes: dict[Path, tuple[int, ...]] = {}
    for path in spec.images:
        try:
            shapes[path] = _header(path)
        except (RasterioError, ValueError, EOFError, OSError) as error:
            found.append(f"{path}: unreadable: {error}")
    if found:
        return found
    sizes = {path: _size(spec, shape) for path, shape in shapes.items()}
    expected = sizes[spec.images[0]]
    mask = spec.mask if spec.corner is None else None
    if mask is not None and mask.suffix != ".npy":
        with suppress(RasterioError, OSError):  # `_mask_problems` says so
            expected = _header(mask)[-2:]
    for path, size in sizes.items():
        if size != expected:
            found.append(f"{path}: mis-sized: {_text(size)} pixels, expected {_text(expected)}")
    bands = sum(_bands(spec, shape) for shape in shapes.values())
    if bands != len(spec.bands):
        found.append(
            f"{'; '.join(map(str, spec.images))}: {bands} bands, expected {len(spec.bands)}"
        )
    return found


def _header(path: Path) -> tuple[int, ...]:
    """Return a file's shape, its last block having been read."""
    if path.suffix.lower() == ".npy":
        shape: tuple[int, ...] = np.load(path, mmap_mode="r", allow_pickle=False).shape
        return shape
    with local_env(), rasterio.open(path) as data:
        rows, columns = data.block_shapes[-1]
        top = (data.height - 1) // rows * rows
        left = (data.width - 1) // columns * columns
        window = RasterioWindow(left, top, data.width - left, data.height - top)
        data.read(data.count, window=window)
        return data.count, data.height, data.width


def _size(spec: SampleSpec, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return rows and columns of an image whose bands may come first or, in an .npy, last."""
    if len(shape) == 3 and shape[0] != len(spec.bands) and shape[2] == len(spec.bands):
        return shape[:2]
    return shape[-2:]


def _bands(spec: SampleSpec, shape: tuple[int, ...]) -> int:
    if len(shape) == 2:
        return 1
    return shape[2] if _size(spec, shape) == shape[:2] else shape[0]


def _mask_problems(spec: SampleSpec, *, compare: bool) -> list[str]:
    """Return what is wrong with a mask: unreadable, another size, values that no code names.

    Only an array is compared here; a raster's size is known from its header before.
    """
    try:
        codes = mask_codes(spec)
    except ManifestError as error:
        return [str(error)]
    found: list[str] = []
    if compare and spec.images[0].suffix == ".npy":
        size = _size(spec, np.load(spec.images[0], mmap_mode="r", allow_pickle=False).shape)
        if codes.shape != size:
            found.append(
                f"{spec.mask}: mis-sized: {_text(codes.shape)} pixels, its image {_text(size)}"
            )
    if unnamed := spec.codes.unnamed(codes):
        named = ", ".join(str(code) for code in spec.codes.codes)
        found.append(
            f"{spec.mask}: holds values that codes does not name, so that they are ignored: "
            f"{values_told(unnamed)} (named: {named})"
        )
    return found


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)
