"""The STAC item of a mask (STAC 1.1.0), as plain JSON values; pystac is not needed to write it."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

from rasterio.features import bounds as geometry_bounds
from rasterio.warp import transform

from nubila.classes import CLASS_NAMES
from nubila.infer.area import PROJ_ERRORS
from nubila.infer.decide import PROBABILITY_NO_DATA, PROBABILITY_SCALE
from nubila.infer.legend import VALIDITY_LEGEND, Legend
from nubila.infer.operating import point_of
from nubila.infer.provenance import Provenance
from nubila.infer.statistics import Statistics
from nubila.raster import Grid
from nubila.scenes.footprint import footprint_geometry

__all__ = ["asset_path", "identity", "input_hrefs", "is_same_scene", "item_frame", "stac_item"]

_EXTENSIONS: Final = (
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
)
_COG: Final = "image/tiff; application=geotiff; profile=cloud-optimized"
# Points on a side of an outline that is far from straight in longitude and latitude.
_PIECES: Final = 16
# Launch of Landsat 1, the first scene there can be: the start of "acquired we do not know when".
_FIRST_SCENE: Final = "1972-07-23T00:00:00Z"


def item_frame(provenance: Provenance, grid: Grid) -> dict[str, Any]:
    """Return what an item says before a pixel is judged: of what it is, where, when, made how.

    Args:
        provenance: where the mask comes from.
        grid: of the mask.
    """
    geometry = _geometry(provenance, grid)
    box = {} if geometry is None else {"bbox": _bbox(geometry)}
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(_EXTENSIONS),
        "id": f"{provenance.scene_id}_mask",
        "geometry": geometry,
        **box,
        "properties": {**_times(provenance), **_properties(provenance, grid)},
    }


def stac_item(
    frame: Mapping[str, Any],
    *,
    provenance: Provenance,
    statistics: Statistics,
    legend: Legend,
    files: Mapping[str, Path],
    folder: Path,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the item; hrefs are relative to `folder`, where the item is written.

    Args:
        frame: from `item_frame`.
        provenance: where the mask comes from.
        statistics: of the area.
        legend: of the mask file's values.
        files: ``mask`` and, where written, ``probabilities``, ``validity``, ``style``, ``picture``;
            they are there, whole.
        folder: the item's folder.
        notes: what a person should know of the mask, as ``nubila:notes``.
    """
    return {
        **frame,
        "properties": {**frame["properties"], **_cover(statistics), "nubila:notes": list(notes)},
        "links": _derived_from(provenance, folder),
        "assets": _assets(files, folder, legend, provenance),
    }


def identity(provenance: Provenance) -> dict[str, Any]:
    """Return the properties by which two masks of a scene are the same."""
    return {
        "nubila:model": provenance.card.name,
        "nubila:model_version": provenance.card.version,
        "nubila:model_sha256": provenance.model_sha256,
        "nubila:options": provenance.options.record(),
        "nubila:bands": [band.record() for band in provenance.bands],
        "processing:software": {"nubila": provenance.version},
    }


def is_same_scene(item: Mapping[str, Any], provenance: Provenance, folder: Path) -> bool:
    """Tell whether an item in `folder` is of the same files, in the same order."""
    # Earlier versions wrote paths as they are.
    plain = [_relative(path, folder) if _is_local(path) else path for path in provenance.inputs]
    return input_hrefs(item) in (_input_hrefs_of(provenance, folder), plain)


def input_hrefs(item: Mapping[str, Any]) -> list[str]:
    """Return what an item says that its mask was made from."""
    return [link["href"] for link in item.get("links", []) if link["rel"] == "derived_from"]


def asset_path(asset: Mapping[str, Any], folder: Path) -> Path:
    """Return the file of an asset of an item in `folder`."""
    href = asset["href"]
    plain = folder / href  # earlier versions wrote names as they are
    # Not Path.exists, which raises for what is too long to be a name.
    return plain if os.path.lexists(plain) else folder / os.fsdecode(unquote_to_bytes(href))


def _href(path: str) -> str:
    """Return a path as a URI reference (RFC 3986), in which ``#``, ``%`` and ``?`` say more."""
    return quote(os.fsencode(path))


def _relative(path: str, folder: Path) -> str:
    return Path(os.path.relpath(Path(path).resolve(), folder.resolve())).as_posix()


def _is_local(path: str) -> bool:
    # Not Path.exists, which raises for what is too long to be a name.
    return not ("://" in path or path.startswith("/vsi")) and os.path.exists(path)  # noqa: PTH110


def _cover(statistics: Statistics) -> dict[str, Any]:
    covers = {
        "eo:cloud_cover": _rounded(statistics.cloud_cover),
        "eo:snow_cover": _rounded(statistics.snow_cover),
        "nubila:cover": {name: _rounded(v) for name, v in statistics.cover.items()},
        "nubila:statistics": statistics.record(),
    }
    return {key: value for key, value in covers.items() if value is not None}


def _properties(provenance: Provenance, grid: Grid) -> dict[str, Any]:
    code = _code(grid)
    wkt = grid.crs.to_wkt(version="WKT2_2019") if grid.crs and code is None else None
    found: dict[str, Any] = {
        "title": f"Cloud mask of {provenance.scene_id}",
        "gsd": float(f"{grid.resolution:.8g}"),
        "processing:lineage": f"Masked with model {provenance.card.name} "
        f"{provenance.card.version} by nubila {provenance.version}.",
        "proj:code": code,
        "proj:wkt2": wkt,
        "proj:shape": list(grid.shape),
        "proj:transform": list(grid.transform)[:6],
        "proj:bbox": list(grid.bounds),
        "platform": provenance.platform.lower().replace("_", "-") or None,
        "nubila:sensor": provenance.sensor,
        "nubila:level": provenance.level or None,
        "nubila:baseline": provenance.baseline or None,
    }
    if provenance.options.operating_point is not None:
        point = point_of(provenance.options, provenance.card)
        found["nubila:operating_point"] = point.model_dump(mode="json")
    # proj:code may say that there is none; every other field that is not known is left out.
    kept = {key: value for key, value in found.items() if value is not None or key == "proj:code"}
    return kept | identity(provenance)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _code(grid: Grid) -> str | None:
    authority = grid.crs.to_authority() if grid.crs is not None else None
    return ":".join(authority) if authority else None


def _times(provenance: Provenance) -> dict[str, Any]:
    if provenance.acquired is not None:
        return {"datetime": _utc(provenance.acquired)}
    written = [Path(path).stat().st_mtime for path in provenance.inputs if _is_local(path)]
    # The scene was there before the last of its files was last written.
    last = datetime.fromtimestamp(max(written), UTC) if written else datetime.now(UTC)
    return {"datetime": None, "start_datetime": _FIRST_SCENE, "end_datetime": _utc(last)}


def _utc(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _geometry(provenance: Provenance, grid: Grid) -> dict[str, Any] | None:
    """Return the scene's own footprint, or the outline of the grid, in longitude and latitude."""
    if provenance.footprint is not None and provenance.options.area is None:
        return dict(provenance.footprint)
    if grid.crs is None:
        return None
    try:
        placed = _outline(grid, 1)
        if _turns_far(placed) or (grid.crs.is_geographic and grid.bounds[2] - grid.bounds[0] > 90):
            placed = _outline(grid, _PIECES)
    except PROJ_ERRORS:  # a CRS without a place on Earth
        return None
    if not all(math.isfinite(value) for point in placed for value in point):
        return None
    return footprint_geometry(placed)


def _outline(grid: Grid, pieces: int) -> list[tuple[float, float]]:
    """Return longitude and latitude of points around a grid, so many on each side."""
    rows, columns = grid.shape
    corners = ((0, 0), (0, rows), (columns, rows), (columns, 0), (0, 0))
    points = [
        grid.transform * (x + (to_x - x) * n / pieces, y + (to_y - y) * n / pieces)
        for (x, y), (to_x, to_y) in itertools.pairwise(corners)
        for n in range(pieces)
    ]
    # Point by point: GDAL would close a polygon across the antimeridian the wrong way round.
    longitudes, latitudes = transform(grid.crs, "OGC:CRS84", *zip(*points, strict=True))
    return [(round(x, 7), round(y, 7)) for x, y in zip(longitudes, latitudes, strict=True)]


def _turns_far(ring: Sequence[tuple[float, float]]) -> bool:
    """Tell whether a side goes over many degrees of longitude, as near a pole."""
    return any(
        30 < (x - next_x) % 360 < 330
        for (x, _), (next_x, _) in itertools.pairwise([*ring, ring[0]])
    )


def _bbox(geometry: Mapping[str, Any]) -> list[float]:
    """Return west, south, east, north; west above east across the antimeridian (RFC 7946, 5.2)."""
    west, south, east, north = geometry_bounds(geometry)
    if (west, east) == (-180, 180) and geometry["type"] == "MultiPolygon":
        parts = [
            geometry_bounds({"type": "Polygon", "coordinates": part})
            for part in geometry["coordinates"]
        ]
        west = min(part[0] for part in parts if part[2] == 180)
        east = max(part[2] for part in parts if part[0] == -180)
        if west <= east:  # all around
            return [-180, south, 180, north]
    return [west, south, east, north]


def _derived_from(provenance: Provenance, folder: Path) -> list[dict[str, str]]:
    hrefs = _input_hrefs_of(provenance, folder)
    return [{"rel": "derived_from", "href": href} for href in hrefs]


def _input_hrefs_of(provenance: Provenance, folder: Path) -> list[str]:
    """Return paths of this machine relative to `folder`, and everything else as it is."""
    return [
        _href(_relative(path, folder)) if _is_local(path) else path for path in provenance.inputs
    ]


def _assets(
    files: Mapping[str, Path], folder: Path, legend: Legend, provenance: Provenance
) -> dict[str, Any]:
    details: dict[str, dict[str, Any]] = {
        "mask": {
            "title": "Classes",
            "type": _COG,
            "roles": ["data", "cloud", "cloud-shadow", "snow-ice", "water-mask"],
            "data_type": legend.dtype,
            "nodata": legend.nodata,
            "classification:classes": _classes(legend),
        },
        "probabilities": {
            "title": "Probability of each class",
            "type": _COG,
            "roles": ["data"],
            "data_type": "uint8",
            "nodata": PROBABILITY_NO_DATA,
            "raster:scale": PROBABILITY_SCALE,
            "raster:offset": 0,
            "bands": [{"name": CLASS_NAMES[code]} for code in provenance.card.class_codes],
        },
        "validity": {
            "title": "Why a pixel has a class or none",
            "type": _COG,
            "roles": ["metadata", "data-mask", "saturation"],
            "data_type": "uint8",
            "nodata": VALIDITY_LEGEND.nodata,
            "classification:classes": _classes(VALIDITY_LEGEND),
        },
        "style": {"title": "QGIS style", "type": "application/xml", "roles": ["metadata"]},
        "picture": {"title": "Image and mask", "type": "image/png", "roles": ["overview"]},
    }
    return {
        name: {
            "href": f"./{_href(path.relative_to(folder).as_posix())}",
            **details[name],
            "file:size": path.stat().st_size,
        }
        for name, path in files.items()
    }


def _classes(legend: Legend) -> list[dict[str, Any]]:
    classes: list[dict[str, Any]] = [
        {
            "value": int(entry.value),
            "name": entry.name.replace(" ", "_").replace(",", ""),
            "title": entry.name,
            "color_hint": "{:02X}{:02X}{:02X}".format(*entry.colour),
        }
        for entry in legend.entries
    ]
    if legend.nodata not in legend.names:
        no_data = {"value": legend.nodata, "name": "no_data", "title": "no data", "nodata": True}
        classes.append(no_data)
    return classes
