"""Opening anything that nubila reads as scenes."""

from __future__ import annotations

import fnmatch
import json
import os
import posixpath
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from nubila.errors import DamagedFileError, InputError, MissingFileError, ProductError
from nubila.raster.names import check_name
from nubila.scenes.archive import Tree, is_archive, is_zip, open_tree
from nubila.scenes.jp2_folder import band_images, open_jp2_folder
from nubila.scenes.location import is_url, unsigned
from nubila.scenes.safe import find_manifest, find_product_xml, open_safe
from nubila.scenes.safe_xml import tile_code
from nubila.scenes.scene import Scene

__all__ = ["open_scene", "open_scenes"]

_ACCEPTED: Final = (
    "a Sentinel-2 product (folder, zip, or its MTD_MSIL1C.xml), a folder of Sentinel-2 band "
    "images, a Landsat Collection 2 product (folder, tar, or its MTL), a raster that GDAL opens, "
    "or a STAC item"
)
_MTL: Final = ("_mtl.txt", "_mtl.json", "_mtl.xml")
_RASTERS: Final = (".tif", ".tiff", ".jp2", ".vrt", ".png", ".img")


def open_scene(
    source: Any,  # noqa: ANN401 (a path, a URL, a mapping or a pystac object)
    *,
    bands: str | Sequence[str] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    nodata: float | None = None,
    granule: str | None = None,
) -> Scene:
    """Open one scene; arguments and errors as for `open_scenes`.

    >>> scene = open_scene("S2A_MSIL2A_20221005T115411_N0400_R023_T29UNU.SAFE")  # doctest: +SKIP

    Raises:
        InputError: the product has several granules and none was chosen.
    """
    scenes = open_scenes(
        source, bands=bands, scale=scale, offset=offset, nodata=nodata, granule=granule
    )
    if len(scenes) > 1:
        listed = "".join(f"\n  {scene.id}" for scene in scenes)
        end = scenes[0].id.rpartition("_")[2]
        by = f"its tile, such as {end}" if tile_code(end) else "its identifier, which ends its name"
        raise InputError(
            f"{scenes[0].path}: a product of {len(scenes)} granules; choose one with granule= by "
            f"{by}:{listed}"
        )
    return scenes[0]


def open_scenes(
    source: Any,  # noqa: ANN401 (a path, a URL, a mapping or a pystac object)
    *,
    bands: str | Sequence[str] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    nodata: float | None = None,
    granule: str | None = None,
) -> tuple[Scene, ...]:
    """Recognise what is given and open it.

    No pixel is read but a few blocks of rasters without a scale, to tell if they are reflectance.

    Args:
        source: a path or URL of a product, raster or STAC item; a list of rasters, one a band,
            or their names joined with ``;``; a STAC item as a mapping or pystac object.
        bands: of a plain raster, in file order; ``-`` leaves one out.
        scale: of a plain raster: reflectance = value * scale + offset.
        offset: see scale.
        nodata: of a plain raster: the value without data.
        granule: of a Sentinel-2 product with several: only this one, by its tile.

    Returns:
        One scene; several for a Sentinel-2 product of several granules.

    Raises:
        MissingFileError: nothing is there, or a file that is needed to open it.
        ProductError: it is nothing that nubila reads.
        DamagedFileError: a file is there but cannot be opened.
        MetadataError: metadata are absent or contradict each other.
        InputError: an option does not apply to what was given.
    """
    for given in source if isinstance(source, (list, tuple)) else [source]:
        if isinstance(given, (str, Path)):
            check_name(given, InputError)
    options = {"bands": bands, "scale": scale, "offset": offset, "nodata": nodata}
    if isinstance(source, Mapping) or hasattr(source, "assets"):
        return _item(source, "the STAC item", granule, options)
    if isinstance(source, (list, tuple)):
        return _raster([str(path) for path in source], granule, options)
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(f"no scene is opened from {source!r}; nubila opens {_ACCEPTED}")
    text = str(source)
    if not text.strip():
        raise InputError(f"an empty name was given; nubila opens {_ACCEPTED}")
    if parts := _joined(text):
        return _raster(parts, granule, options)
    if is_url(text) or text.startswith("/vsi"):
        return _remote(text, granule, options)
    path = Path(source)
    if path.is_dir():
        return _tree(open_tree(path), granule, options)
    if not path.exists():
        raise MissingFileError(f"{path}: no such file or folder (looked in {Path.cwd()})")
    return _file(path, granule, options)


def _joined(text: str) -> list[str]:
    """Return the names that a text joins with ``;``, or none if it is a single name.

    A file may have a ``;`` in its name, and so may a URL.
    """
    if ";" not in text or os.path.exists(text):  # noqa: PTH110 (Path's fails for a long text)
        return []
    parts = [part.strip() for part in text.split(";") if part.strip()]
    remote = [is_url(part) or part.startswith("/vsi") for part in parts]
    return [] if remote[:1] == [True] and not all(remote) else parts


def _file(path: Path, granule: str | None, options: Mapping[str, Any]) -> tuple[Scene, ...]:
    name = path.name.lower()
    if is_archive(path) or (not name.endswith(_RASTERS) and is_zip(path)):
        return _tree(open_tree(path), granule, options)
    if name.endswith(_MTL):
        return _landsat(path, granule, options)
    if name.endswith((".json", ".geojson")):
        return _item(path, str(path), granule, options)
    if name.endswith((".xml", ".safe")):
        _refuse(str(path), {k: v for k, v in options.items() if v is not None})
        return open_safe(path, granule=granule)
    try:
        return _raster([str(path)], granule, options)
    except DamagedFileError as error:
        if path.suffix.lower() in _RASTERS:
            raise
        raise ProductError(
            f"{path}: GDAL knows no raster in it, and it has not the name of a product or an "
            f"item; nubila opens {_ACCEPTED}"
        ) from error


def _tree(tree: Tree, granule: str | None, options: Mapping[str, Any]) -> tuple[Scene, ...]:
    """Open a folder or an archive by what is in it, at the top or one folder down."""
    if found := next(iter(find_product_xml(tree)), find_manifest(tree)):
        _refuse(tree.path, options)
        return _found_in(tree, [found], open_safe(tree, granule=granule))
    names = (name for end in _MTL for name in tree.glob(f"*{end}"))
    if found := next((name for name in names if name.count("/") <= 1), None):
        return _found_in(tree, [found], _landsat(tree, granule, options))
    _refuse_deeper(tree)
    if images := band_images(tree):
        product = _product_above(Path(tree.path))
        if product is not None:
            _refuse(tree.path, options)
            return open_safe(product, granule=granule, folder=_granule_folder(Path(tree.path)))
        _refuse(tree.path, {"bands": options["bands"], "granule": granule})
        given = {key: options[key] for key in ("scale", "offset", "nodata")}
        return _found_in(tree, images, (open_jp2_folder(tree, **given),))
    shown = "".join(f"\n  {name}" for name in tree.names[:5]) or " nothing"
    raise ProductError(
        f"{tree.path}: no product in it: neither MTD_MSIL1C.xml, MTD_MSIL2A.xml or manifest.safe "
        f"(Sentinel-2), nor *_MTL.txt, .json or .xml (Landsat), nor images named like Sentinel-2 "
        f"bands. nubila opens {_ACCEPTED}. It holds:{shown}"
    )


def _found_in(tree: Tree, names: Sequence[str], scenes: tuple[Scene, ...]) -> tuple[Scene, ...]:
    """Return scenes with a note where they were found, if not at the top of a folder."""
    place = posixpath.commonpath([posixpath.dirname(name) for name in names])
    if not place or not Path(tree.path).is_dir():  # in an archive a product has its own folder
        return scenes
    note = f"found further down, in {Path(tree.path, place)}"
    return tuple(replace(scene, notes=(note, *scene.notes)) for scene in scenes)


def _refuse_deeper(tree: Tree) -> None:
    """Refuse to take a folder of products for one; their images are never read without them."""
    patterns = ("*mtd_msil??.xml", "*manifest.safe", *(f"*{end}" for end in _MTL))
    found = {posixpath.dirname(name) for pattern in patterns for name in tree.glob(pattern)}
    if found:
        listed = "".join(f"\n  {name}" for name in sorted(found)[:10])
        more = f"\n  and {len(found) - 10} more" if len(found) > 10 else ""
        # No path leads into an archive.
        advice = "give one" if Path(tree.path).is_dir() else "unpack it and give one"
        raise ProductError(f"{tree.path}: products lie deeper in it; {advice}:{listed}{more}")


def _product_above(folder: Path) -> Path | None:
    """Return the Sentinel-2 product that a folder of images is part of.

    Its XML has the offset; the images alone do not, so they are never read alone.
    """
    if not folder.is_dir():
        return None
    for parent in list(folder.resolve().parents)[:4]:
        # Folders of others above a user's own, such as /home, often cannot be listed.
        with suppress(PermissionError):
            for file in parent.iterdir():
                if fnmatch.fnmatch(file.name.lower(), "mtd_msil??.xml"):
                    return file
    return None


def _granule_folder(folder: Path) -> str | None:
    """Return the name of the granule's folder that a folder of images is or lies in, or None."""
    parts = folder.resolve().parts
    above = [i for i, part in enumerate(parts[:-1]) if part.upper() == "GRANULE"]
    return parts[above[-1] + 1] if above else None


def _remote(url: str, granule: str | None, options: Mapping[str, Any]) -> tuple[Scene, ...]:
    path = url.partition("?")[0].rstrip("/")
    name = posixpath.basename(path).lower()
    # An item's own address has no suffix; a raster may well lie below its item's.
    is_item = "/items/" in path and not name.endswith(_RASTERS)
    if name.endswith((".json", ".geojson")) or is_item:
        return _item(url, url, granule, options)
    if is_archive(name) or name.endswith((".safe", ".xml")):
        raise ProductError(
            f"{unsigned(url)}: products are read from disk; download it first, or give the "
            f"URL of a raster or of a STAC item"
        )
    return _raster([url], granule, options)


def _item(
    item: Any,  # noqa: ANN401 (a path, a mapping or a pystac object)
    name: str,
    granule: str | None,
    options: Mapping[str, Any],
) -> tuple[Scene, ...]:
    _refuse(name, {**options, "granule": granule})
    if isinstance(item, Path):
        _check_item(item)
    from nubila.scenes.stac import open_stac

    return (open_stac(item),)


def _check_item(path: Path) -> None:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ProductError(f"{path}: not JSON ({error}); nubila opens {_ACCEPTED}") from error
    if not (isinstance(content, dict) and "assets" in content):
        raise ProductError(f"{path}: JSON, but no STAC item (no assets); nubila opens {_ACCEPTED}")


def _landsat(
    source: Path | Tree, granule: str | None, options: Mapping[str, Any]
) -> tuple[Scene, ...]:
    _refuse(
        str(source.path if isinstance(source, Tree) else source), {**options, "granule": granule}
    )
    from nubila.scenes.landsat import open_landsat

    return (open_landsat(source),)


def _raster(paths: list[str], granule: str | None, options: Mapping[str, Any]) -> tuple[Scene, ...]:
    if not paths:
        raise InputError("an empty list was given; expected paths of rasters, one a band")
    _refuse(paths[0], {"granule": granule})
    from nubila.scenes.generic import open_raster

    return (open_raster(paths, **options),)


def _refuse(name: str, options: Mapping[str, Any]) -> None:
    """Refuse options that do not apply, rather than leave them unheeded."""
    given = [key for key, value in options.items() if value is not None]
    if given:
        raise InputError(
            f"{name}: {', '.join(given)} cannot be given for it: "
            f"its own metadata say what is needed, or it has no such thing"
        )
