"""Whether a folder holds the mask already, whole and made from the same input in the same way.

If it was made otherwise, what differs is told: one of a dozen options may have been forgotten.
"""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import rasterio
from rasterio.errors import RasterioError

from nubila.errors import OutputError
from nubila.infer.delivery import Task
from nubila.infer.output import FileSet
from nubila.infer.provenance import MaskOptions, Provenance
from nubila.infer.stac import asset_path, identity, input_hrefs, is_same_scene
from nubila.raster.gdal import gdal_env
from nubila.scenes import Scene
from nubila.scenes.auxiliary import WarpedSource

__all__ = ["finished_item", "lost_files", "renewal_notes"]

# Of what is the same or not, what people call it.
_WORDS: Final = {
    "nubila:model": "the model",
    "nubila:model_version": "the model's version",
    "nubila:model_sha256": "the model's file (SHA-256)",
    "nubila:options": "the options",
    "nubila:bands": "the bands",
    "processing:software": "the version of nubila",
    "zero_fill": "that 0 in every band is no data",
}


def finished_item(task: Task, files: FileSet) -> dict[str, Any] | None:
    """Return the STAC item of the very mask that would be made now, None if no mask is there.

    Its files may be gone or cut short: see `lost_files`.

    Raises:
        OutputError: the mask that is there is of another scene, made otherwise, or older than a
            file of the scene; or what is there is no item.
    """
    path = files.path("item")
    if not os.path.exists(path):  # noqa: PTH110 (Path.exists raises where the name is too long)
        return None
    item = _read(path)
    if difference := _difference(item, task, files):
        raise OutputError(
            f"{path}: {difference}. Use --overwrite to replace it, or another folder to keep both"
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
    """Say for a person how an item differs from what would be made now; empty if it does not."""
    if not is_same_scene(item, task.provenance, files.folder):
        there = ", ".join(input_hrefs(item))
        return f"the mask of another scene with this name is there ({there})"
    told = "; ".join(_differences(item["properties"], task.provenance))
    return told and f"a mask made otherwise is there: {told}"


def _differences(there: Mapping[str, Any], provenance: Provenance) -> Iterator[str]:
    """Say what a mask that is there was made with, and what would be taken now."""
    for key, now in identity(provenance).items():
        was = there.get(key)
        if was == now:
            continue
        if key == "nubila:options" and isinstance(was, dict):
            default = {name: _plain(value) for name, value in vars(MaskOptions()).items()}
            yield from _changed("option ", default | was, default | now)
        elif key == "nubila:bands" and was and _names(was) == _names(now):
            yield from _changed_bands(was, now)
        elif key == "nubila:bands":
            yield _told(_WORDS[key], _names(was), _names(now))
        else:
            yield _told(_WORDS[key], was, now)


def _changed(what: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys((*now, *was)):
        if was.get(name) != now.get(name):
            yield _told(f"{what}{_WORDS.get(name, name)}", was.get(name), now.get(name))


def _changed_bands(was: Sequence[Any], now: Sequence[Any]) -> Iterator[str]:
    """Tell of each change once, with the bands that it is about unless it is about all."""
    told: dict[str, list[str]] = {}
    for one, other in zip(was, now, strict=True):
        both = ({**band, "zero_fill": band.get("zero_fill", False)} for band in (one, other))
        for change in _changed("", *both):
            told.setdefault(change, []).append(other["name"])
    for change, names in told.items():
        yield change if len(names) == len(now) else f"of {', '.join(names)} {change}"


def _names(bands: Any) -> Any:  # noqa: ANN401 (what an item has)
    """Return the names of an item's bands, or what it has in their place."""
    if isinstance(bands, list) and all(isinstance(b, dict) and "name" in b for b in bands):
        return [band["name"] for band in bands]
    return bands


def _told(what: str, was: Any, now: Any) -> str:  # noqa: ANN401 (values of JSON)
    return f"{what} was {_shown(was)}, is now {_shown(now)}"


def _shown(value: Any) -> str:  # noqa: ANN401 (a value of JSON)
    if value in (None, [], {}):
        return "not given"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return textwrap.shorten(text, 70, placeholder=" ...")


def _plain(value: Any) -> Any:  # noqa: ANN401 (an option's default)
    """Return a value as JSON gives it back."""
    return json.loads(json.dumps(value))


def lost_files(item: Mapping[str, Any], folder: Path) -> list[str]:
    """Return the names of a mask's files that are gone or cut short.

    A file that is smaller than it was written is read: another program may have saved it again,
    and what reads whole is left as it is. A style may be changed by people, and is only to be
    there.

    Raises:
        OutputError: there are such files, and of the others one was changed by somebody: to make
            all anew would replace it.
    """
    lost, changed = [], []
    for kind, asset in item["assets"].items():
        path = asset_path(asset, folder)
        if not path.is_file():
            lost.append(path.name)
            continue
        size, written = path.stat().st_size, asset.get("file:size")
        if written is None or size == written:
            continue
        if kind != "style" and size < written and not _reads_whole(path):
            lost.append(path.name)
        else:
            changed.append(path)
    if lost and changed:
        raise OutputError(
            f"{changed[0]}: was changed since the mask was made, of which {', '.join(lost)} is "
            "gone or cut short. Use --overwrite to make all its files anew, or another folder to "
            "keep what is there"
        )
    return lost


def _reads_whole(path: Path) -> bool:
    """Tell whether a raster or picture can be read to its end, its overviews too."""
    try:
        with gdal_env(), rasterio.open(path) as data:
            levels = range(len(data.overviews(1)))
            _read_blocks(data)
        for level in levels:
            with gdal_env(), rasterio.open(path, OVERVIEW_LEVEL=level) as data:
                _read_blocks(data)
    except RasterioError:
        return False
    return True


def _read_blocks(data: rasterio.DatasetReader) -> None:
    for _, window in data.block_windows():
        data.read(window=window)


def _changed_since(item: Path, scene: Scene) -> str:
    """Return a raster of a scene that is younger than an item, or ``""``.

    The agencies' products do not change under one name, and are fetched again without a change:
    see `renewal_notes`.
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


def renewal_notes(task: Task, item: Path) -> tuple[str, ...]:
    """Return a note if a file of a product is younger than an item.

    Most such are copies of the same, but the copy that was masked may have been a damaged one.
    """
    made = item.stat().st_mtime_ns
    sources = (file.source.name for band in task.scene.bands.values() for file in band.files)
    for name in dict.fromkeys((*task.provenance.inputs, *sources)):
        # Names may be addresses, or of what is in an archive.
        if os.path.isfile(name) and Path(name).stat().st_mtime_ns > made:  # noqa: PTH113
            return (
                f"{name} was written after this mask was made; if the copy before was damaged, "
                "use --overwrite to make it again",
            )
    return ()


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
