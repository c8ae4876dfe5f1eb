"""What was understood of a scene, as plain data for people and programs."""

from __future__ import annotations

import math
from typing import Any

from nubila.scenes.scene import Band, Scene

__all__ = ["describe"]


def describe(scene: Scene) -> dict[str, Any]:
    """Return what a reader understood: nothing is read but what opening has read already.

    Returns:
        JSON-ready: id, path, sensor, platform, level, baseline, acquired (ISO 8601), crs, shape
        (rows, columns), resolution and default_resolution in metres, bounds in the CRS, footprint
        (GeoJSON), sun (degrees), bands (a list of mappings), masks, missing (files by band, of
        bands without any), notes.
    """
    return {
        "id": scene.id,
        "path": scene.path,
        "sensor": scene.sensor,
        "platform": scene.platform,
        "level": scene.level,
        "baseline": scene.baseline,
        "acquired": scene.acquired.isoformat() if scene.acquired else None,
        "crs": scene.crs.to_string() if scene.crs else None,
        "shape": list(scene.shape),
        "resolution": round(scene.resolution, 6),
        "default_resolution": scene.default_resolution or round(scene.resolution, 6),
        "bounds": [round(value, 6) for value in scene.grid.bounds],
        "footprint": dict(scene.footprint) if scene.footprint else None,
        "sun": (
            {"elevation": scene.sun[0], "azimuth": scene.sun[1]} if scene.sun is not None else None
        ),
        "bands": [_describe_band(band) for band in scene.bands.values()],
        "masks": sorted(scene.masks),
        "missing": {name: list(paths) for name, paths in scene.missing.items()},
        "notes": list(scene.notes),
    }


def _describe_band(band: Band) -> dict[str, Any]:
    return {
        "name": band.name,
        "label": band.label,
        "resolutions": [round(file.grid.resolution, 6) for file in band.files],
        "files": [file.source.name for file in band.files],
        "scale": band.scale,
        "offset": band.offset,
        "scale_from": band.scale_from,
        # JSON has no NaN; STAC writes it as a text too.
        "nodata": str(band.nodata) if math.isnan(band.nodata or 0.0) else band.nodata,
        "saturated": "flags" if band.saturation is not None else band.saturated,
        "missing": [path for _, path in band.missing],
    }
