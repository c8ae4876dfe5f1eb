"""Decisions as a table, with the masks that they give as files beside it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePath
from typing import Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from nubila.classes import CLASS_NAMES
from nubila.curate.review.digest import sets_digest
from nubila.curate.review.store import Decision, ReviewStore
from nubila.datasets.tables import check_suffix, write_table
from nubila.errors import OutputError
from nubila.raster.atomic import atomic_path, make_folder
from nubila.raster.gdal import gdal_env

__all__ = ["COLUMNS", "export_decisions", "mask_name", "set_codes", "write_sets"]

COLUMNS: Final = (
    *("sample", "action", "who", "when", "why", "label", "prediction", "result"),
    *("mask", "codes"),
)
_READABLE: Final = 60  # characters of a sample's name in a file's name


def export_decisions(store: ReviewStore, path: str | Path) -> int:
    """Write the decision that counts of each sample as a table, and drawn masks beside it.

    Columns are those of `COLUMNS`; ``mask`` is relative to the table, in the folder
    ``<table's name>_masks``, and ``codes`` says what its values stand for.

    Args:
        store: of the review.
        path: its suffix says what is written, as of `write_table`.

    Returns:
        The number of rows.

    Raises:
        OutputError: the suffix is unknown, or a file cannot be written.
        MissingExtraError: Parquet without pyarrow.
    """
    path = Path(path)
    check_suffix(path)  # before masks are written
    rows = []
    for decision in store.current().values():
        row = _row(decision)
        if (sets := store.mask(decision)) is not None:
            folder = make_folder(path.with_name(f"{path.stem}_masks"))
            name = mask_name(decision.sample, decision.result)
            write_sets(folder / name, sets)
            row |= {"mask": f"{folder.name}/{name}", "codes": set_codes(sets)}
        rows.append(row)
    write_table(path, rows, columns=COLUMNS)
    return len(rows)


def mask_name(sample: str, digest: str) -> str:
    """Return a file name for a sample's mask: another for each sample and for each content."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", PurePath(sample).name)[-_READABLE:]
    return f"{readable}-{hashlib.sha256(sample.encode()).hexdigest()[:8]}-{digest[:8]}.tif"


def set_codes(sets: NDArray[np.uint8]) -> str:
    """Return what the values of a mask of sets stand for, as a manifest's column ``codes``.

    >>> set_codes(np.array([[2, 6]], np.uint8))[-18:]
    '6=cloud|thin cloud'
    """
    found = {int(value) for value in np.unique(sets)} - {0}
    every = sorted(found | {1 << code for code in CLASS_NAMES}, key=lambda s: (s.bit_count(), s))
    named = (f"{s}={'|'.join(n for c, n in CLASS_NAMES.items() if s >> c & 1)}" for s in every)
    return ";".join(("0=ignored", *named))


def write_sets(path: Path, sets: NDArray[np.uint8], like: Path | None = None) -> None:
    """Write (rows, columns) sets of classes as a GeoTIFF of one band.

    A file of this name that holds the same is left as it is.

    Args:
        path: its folder must exist.
        sets: bits as in `classes.class_set`.
        like: an image on the same pixels, whose georeference is taken where it has one.

    Raises:
        OutputError: the file cannot be written.
    """
    if path.is_file() and read_sets_digest(path) == sets_digest(sets):
        return
    rows, columns = sets.shape
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": rows, "width": columns}
    profile |= {"compress": "deflate"} | _place(like, sets.shape)
    with atomic_path(path) as target, gdal_env():
        try:
            with rasterio.open(target, "w", **profile) as data:
                data.write(sets, 1)
        except RasterioError as error:
            raise OutputError(f"{path}: cannot be written: {error.__cause__ or error}") from error


def read_sets_digest(path: Path) -> str | None:
    """Return the digest of a file's sets, or None where it cannot be read."""
    try:
        with gdal_env(), rasterio.open(path) as data:
            return sets_digest(data.read(1))
    except RasterioError:
        return None


def _place(like: Path | None, shape: tuple[int, ...]) -> dict[str, object]:
    if like is None or like.suffix.lower() == ".npy":
        return {}
    try:
        with gdal_env(), rasterio.open(like) as data:
            if data.crs is None or (data.height, data.width) != shape:
                return {}
            return {"crs": data.crs, "transform": data.transform}
    except RasterioError:  # a product's folder or metadata: its pixels have no file of their own
        return {}


def _row(decision: Decision) -> dict[str, str]:
    return dict.fromkeys(COLUMNS, "") | {
        "sample": decision.sample,
        "action": decision.action,
        "who": decision.who,
        "when": decision.time,
        "why": decision.why,
        "label": decision.label,
        "prediction": decision.prediction,
        "result": decision.result,
    }
