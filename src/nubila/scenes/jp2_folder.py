"""Bare folders of Sentinel-2 band images, without the product's XML: read with assumptions."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from nubila.bands import SENSORS
from nubila.errors import ProductError
from nubila.raster.gdal import open_source
from nubila.scenes.archive import Tree, open_tree
from nubila.scenes.grids import common_grid
from nubila.scenes.safe import default_resolution, image_of
from nubila.scenes.safe_xml import tile_code
from nubila.scenes.scaling import given_scaling
from nubila.scenes.scene import Band, BandFile, Scene

__all__ = ["band_images", "open_jp2_folder"]

_BANDS: Final = SENSORS["sentinel-2-msi"].bands
_QUANTIFICATION: Final = 10_000.0  # of every Sentinel-2 product so far


def band_images(tree: Tree) -> tuple[str, ...]:
    """Return the images named like a Sentinel-2 band (``T33UUU_20170216T102101_B02.jp2``)."""
    return tuple(
        name
        for name in tree.glob("*.jp2")
        if image_of(posixpath.splitext(name)[0]) is not None and tile_code(_base(name))
    )


def open_jp2_folder(
    source: str | Path | Tree,
    *,
    scale: float | None = None,
    offset: float | None = None,
    nodata: float | None = None,
) -> Scene:
    """Open the band images of one tile; `Scene.notes` says what was assumed.

    Args:
        source: a folder or archive.
        scale: reflectance = count * scale + offset; default 1/10000.
        offset: see scale; default 0.
        nodata: count without data; default 0.

    Raises:
        ProductError: no such images, of more than one tile and date, or a band twice.
        DamagedFileError: an image cannot be opened.
        GridError: the images do not lie on the same ground.
        InputError: scale, offset or nodata is no usable number.
    """
    scale, offset, nodata = given_scaling(scale, offset, nodata)
    tree = source if isinstance(source, Tree) else open_tree(source)
    names = band_images(tree)
    stem = _stem(tree, names)
    files: dict[str, list[BandFile]] = {}
    for name in names:
        opened, info = open_source(tree.gdal_path(name))
        label, _ = image_of(posixpath.splitext(name)[0]) or ("", 0)
        files.setdefault(label, []).append(BandFile(opened, info.grid))
    level = "L1C" if "B10" in files else ""
    assumed = {
        "scale": 1 / _QUANTIFICATION if scale is None else scale,
        "offset": 0.0 if offset is None else offset,
        "nodata": 0.0 if nodata is None else nodata,
    }
    bands = {
        name: _band(tree, label, sorted(files[label], key=lambda f: f.grid.resolution), assumed)
        for label, (name, _) in _BANDS.items()
        if label in files
    }
    if not bands:
        raise ProductError(f"{tree.path}: of the bands' images only SCL is there")
    return Scene(
        id=stem,
        path=tree.path,
        sensor="sentinel-2-msi",
        level=level,
        bands=bands,
        grid=common_grid(tree.path, bands),
        acquired=_date(stem),
        default_resolution=default_resolution(bands),
        notes=_notes(level, scale, offset, nodata),
        masks={"scl": files["SCL"][0]} if "SCL" in files else {},
    )


def _band(tree: Tree, label: str, files: list[BandFile], assumed: dict[str, float]) -> Band:
    resolutions = [f.grid.resolution for f in files]
    if len(set(resolutions)) < len(resolutions):
        listed = "".join(f"\n  {f.source.name}" for f in files)
        raise ProductError(f"{tree.path}: band {label} is there more than once:{listed}")
    name, native = _BANDS[label]
    return Band(
        name=name,
        label=label,
        files=tuple(files),
        scale=assumed["scale"],
        offset=assumed["offset"],
        scale_from="assumed or given, not read: there is no XML beside the images",
        nodata=assumed["nodata"],
        resolution=native,
    )


def _stem(tree: Tree, names: Iterable[str]) -> str:
    """Return the part of the names before the band, which all must share."""
    stems = sorted({re.split(r"_(?:B\d\d|B8A|SCL)(?:_\d\dm)?\.", _base(n))[0] for n in names})
    if len(stems) == 1:
        return stems[0]
    if not stems:
        raise ProductError(f"{tree.path}: no image named like a Sentinel-2 band in it")
    listed = "".join(f"\n  {stem}" for stem in stems)
    raise ProductError(
        f"{tree.path}: band images of several scenes; put each into its own folder:{listed}"
    )


def _base(name: str) -> str:
    return posixpath.basename(name)


def _date(stem: str) -> datetime | None:
    found = re.search(r"\d{8}T\d{6}", stem)
    try:
        return datetime.strptime(found[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC) if found else None
    except ValueError:
        return None


def _notes(
    level: str, scale: float | None, offset: float | None, nodata: float | None
) -> tuple[str, ...]:
    notes = ["no product XML beside the images; date and tile are taken from their names"]
    if level:
        notes.append("assumed, not read: Level-1C, because B10 is there")
    else:
        notes.append("level unknown: there is no B10")
    if scale is None:
        notes.append("assumed, not read: quantification 10000 (give --scale if it is another)")
    if offset is None:
        notes.append(
            "assumed, not read: offset 0, which is wrong for baseline 04.00 and later, processed "
            "from 25 January 2022 (give --offset -0.1 for those)"
        )
    if nodata is None:
        notes.append("assumed, not read: count 0 is no data")
    return tuple(notes)
