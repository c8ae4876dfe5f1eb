"""Whether a folder holds the mask already, whole and made from the same input in the same way."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import RasterioError

from nubila.errors import OutputError
from nubila.infer.delivery import Task
from nubila.infer.output import FileSet
from nubila.infer.stac import input_hrefs, is_same_mask, is_same_scene
from nubila.raster.gdal import gdal_env
from nubila.scenes import Scene
from nubila.scenes.auxiliary import WarpedSource

__all__ = ["finished_item"]


def finished_item(task: Task, files: FileSet) -> dict[str, Any] | None:
    """Return the STAC item of a mask that need not be made again, None if no mask is there.

    Raises:
        OutputError: the mask that is there is of another scene, made otherwise, or older than a
            file of the scene; or what is there is no item.
    """
    path = files.path("item")
    if not os.path.exists(path):  # noqa: PTH110 (Path.exists raises where the name is too long)
        return None
    item = _read(path)
    if not is_same_mask(item, task.provenance, files.folder):
        raise OutputError(
            f"{path}: {_difference(item, task, files)}. Use --overwrite to replace it, or another "
            "folder to keep both"
        )
    if changed := _changed_since(path, task.scene):
        raise OutputError(
            f"{path}: the mask that is there was made before {changed} was last changed. Use "
            "--overwrite to make it again"
        )
    return item


def _read(path: Path) -> dict[str, Any]:
    try:
        item = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(item, dict):
            raise ValueError(f"expected a STAC item, found {type(item).__name__}")
        kinds = {"properties": dict, "links": list, "assets": dict}
        if wrong := [k for k, kind in kinds.items() if not isinstance(item.get(k), kind)]:
            raise ValueError(f"expected a STAC item, which has {', '.join(wrong)}")
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{path}: is there and does not read: {error}; use --overwrite"
        ) from error
    return item


def _difference(item: Mapping[str, Any], task: Task, files: FileSet) -> str:
    """Say for a person how an item differs from what would be made now."""
    if not is_same_scene(item, task.provenance, files.folder):
        there = ", ".join(input_hrefs(item))
        return f"the mask of another scene with this name is there ({there})"
    return (
        "a mask made with other bands or scaling, another model, version or options is there, or a "
        "file of it is gone"
    )


def _changed_since(item: Path, scene: Scene) -> str:
    """Return a raster of a scene that is younger than an item, or ``""``.

    The agencies' products do not change under one name, and are fetched again without a change.
    """
    sources = [file.source for band in scene.bands.values() for file in band.files]
    if scene.sensor != "unknown":
        sources = [source for source in sources if isinstance(source, WarpedSource)]
    made = item.stat().st_mtime_ns
    seen: set[str] = set()
    for name in dict.fromkeys(source.name for source in sources):
        for file in _with_sources(name, seen):
            if Path(file).stat().st_mtime_ns > made:
                return file
    return ""


def _with_sources(name: str, seen: set[str]) -> Iterator[str]:
    """Give a local raster and the files that GDAL reads for it, such as a VRT's, each once."""
    if name in seen or not os.path.isfile(name):  # noqa: PTH113 (names may be addresses)
        return
    seen.add(name)
    yield name
    try:
        with gdal_env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"), rasterio.open(name) as data:
            found = data.files
    except RasterioError:  # a file beside a raster that is none itself
        return
    for file in found:
        # Programs that only look at a raster keep their statistics in such a file beside it.
        if not file.endswith(".aux.xml"):
            yield from _with_sources(file, seen)
