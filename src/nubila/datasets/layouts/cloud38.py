"""38-Cloud and its extension 95-Cloud (Mohajerani and Saeedi 2019 and 2021).

::

    38-Cloud_training/train_{red,green,blue,nir,gt}/<band>_<patch>.TIF
    38-Cloud_test/test_{red,green,blue,nir}/<band>_<patch>.TIF
    38-Cloud_test/Entire_scene_gts/edited_corrected_gts_<scene>.TIF
    95-cloud_training_only_additional_to38-cloud/train_<band>_additional_to38cloud/<band>_<patch>.TIF

A patch is called ``patch_<number>_<row>_by_<column>_<scene>``, rows and columns from 1. Patches
are counts of Landsat 8 Level-1, 0 outside of the scene; masks are 0 or 255. Reflectance at the top
of the atmosphere = (count x 2e-5 - 0.1) / sin(sun elevation), and the sun's elevation is computed
from the scene's row and date, for the files do not hold it.

Test patches have no masks of their own: theirs is cut out of the scene's, which is as large as the
scene, while the patches cover it with a margin of zeros that is the same on both sides but for an
odd pixel, which lies below or right. Training patches that ``*_nonempty.csv`` leaves out hold
nothing but that margin. The one that lies with 95-Cloud's additional patches lists those of
38-Cloud as well, 21,502 names of all 34,701 patches (README of the authors' repository).
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

import rasterio
from rasterio.errors import RasterioError

from nubila.datasets.layouts.common import CLOUD_OR_NOT, Cells, read_listing, relative, stems
from nubila.scenes.sun import sun_elevation

__all__ = ["rows_38", "rows_95"]

_BANDS = ("blue", "green", "red", "nir")
_SUFFIX = ".TIF"
_PATCH = re.compile(
    r"patch_\d+_(?P<row>\d+)_by_(?P<column>\d+)_"
    r"(?P<scene>L\w+?_(?P<place>\d{6})_(?P<day>\d{8})_\w+)"
)


@dataclass(frozen=True)
class _Folder:
    """Patches of one kind: ``<path>/<start>_<band><end>/<band>_<patch>.TIF``."""

    path: Path
    start: str
    end: str = ""

    def file(self, band: str, patch: str) -> Path:
        return self.path / f"{self.start}_{band}{self.end}" / f"{band}_{patch}{_SUFFIX}"

    def patches(self, *bands: str) -> set[str]:
        found = [stems(self.file(b, "").parent, _SUFFIX, f"{b}_") for b in bands]
        return set().union(*found)


def rows_38(root: Path) -> Iterator[Cells]:
    """Yield a row for each patch of 38-Cloud, training and test."""
    yield from _training(root, _Folder(root / "38-Cloud_training", "train"))
    yield from _test(root, _Folder(root / "38-Cloud_test", "test"))


def rows_95(root: Path) -> Iterator[Cells]:
    """Yield a row for each patch of 95-Cloud; its test patches are those of 38-Cloud."""
    more = root / "95-cloud_training_only_additional_to38-cloud"
    yield from _training(root, _Folder(root / "38-Cloud_training", "train"))
    yield from _training(root, _Folder(more, "train", "_additional_to38cloud"))
    yield from _training(root, _Folder(root / "95-cloud_training", "train"))
    yield from _test(root, _Folder(root / "38-Cloud_test", "test"))


def _listed(listings: Iterable[Path]) -> set[str]:
    return {row["name"] for path in listings for row in read_listing(path) if row.get("name")}


def _training(root: Path, folder: _Folder) -> Iterator[Cells]:
    not_empty = {*folder.path.glob("*_nonempty.csv")}
    every = {*folder.path.glob("training_patches_*.csv")} - not_empty
    here, chosen = folder.patches(*_BANDS, "gt") | _listed(every), _listed(not_empty)
    # What is listed may lie in another folder; where nothing of it is here, all of it is missed.
    for patch in sorted((chosen & here) or chosen or here):
        yield _row(root, folder, patch) | {"mask": relative(folder.file("gt", patch), root)}


def _test(root: Path, folder: _Folder) -> Iterator[Cells]:
    truth = folder.path / "Entire_scene_gts"
    known = stems(truth, _SUFFIX, "edited_corrected_gts_")
    patches = folder.patches(*_BANDS)
    by_scene: defaultdict[str, list[str]] = defaultdict(list)
    for patch in sorted(patches | _listed(folder.path.glob("test_patches_*.csv"))):
        found = _PATCH.fullmatch(patch)
        by_scene[found["scene"] if found else patch].append(patch)
    # With a part of the patches nobody can tell where the margin is, so scenes count their rows
    # and columns over all that are there.
    for scene, members in by_scene.items():
        mask = truth / f"edited_corrected_gts_{scene}{_SUFFIX}"
        corners = _corners(folder, mask, members) if scene in known else {}
        for patch in members:
            cells = _row(root, folder, patch) | {"mask": relative(mask, root), "split": "test"}
            yield cells | ({"corner": corners[patch]} if patch in corners else {})


def _corners(folder: _Folder, mask: Path, members: Iterable[str]) -> dict[str, str]:
    places = {patch: found for patch in members if (found := _PATCH.fullmatch(patch))}
    first = next((f for p in places if (f := folder.file(_BANDS[0], p)).is_file()), None)
    shape, size = _shape(mask), _shape(first) if first else None
    if shape is None or size is None:
        return {}
    counts = [max(int(found[axis]) for found in places.values()) for axis in ("row", "column")]
    margin = [(n * side - whole) // 2 for n, side, whole in zip(counts, size, shape, strict=True)]
    return {
        patch: ";".join(
            str((int(found[axis]) - 1) * size[i] - margin[i])
            for i, axis in enumerate(("row", "column"))
        )
        for patch, found in places.items()
    }


def _shape(path: Path) -> tuple[int, int] | None:
    try:
        with rasterio.open(path) as data:
            return data.height, data.width
    except RasterioError:
        return None  # `datasets.check` says what is wrong with it


def _row(root: Path, folder: _Folder, patch: str) -> Cells:
    cells = {
        "image": ";".join(relative(folder.file(band, patch), root) for band in _BANDS),
        "bands": "blue;green;red;nir08",
        "nodata": "0",
        "codes": f"0={CLOUD_OR_NOT};255=cloud|thin cloud",
        "sensor": "landsat-oli",
        "level": "L1TP",
        "resolution": "30",
        "patch": patch,
    }
    if found := _PATCH.fullmatch(patch):
        scale, offset, day = _scaling(found["place"], found["day"])
        cells |= {"scale": scale, "offset": offset, "date": day, "place": found["place"]}
        cells |= {"group": found["scene"], "row": found["row"], "column": found["column"]}
    return cells


@lru_cache(maxsize=256)
def _scaling(place: str, day: str) -> tuple[str, str, str]:
    when = date.fromisoformat(day)
    sine = math.sin(math.radians(sun_elevation(int(place[3:]), when)))
    return f"{2e-5 / sine:.6g}", f"{-0.1 / sine:.6g}", when.isoformat()
